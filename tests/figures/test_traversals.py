"""Where in a latent space pictures are taken from."""

import pytest
import torch
from torch import Tensor

from vaelab.figures import traversals
from vaelab.latents.paths import slerp
from vaelab.models import AE, VAE
from vaelab.tasks.generation.figures import _interpolations


def decoded(seen: list[Tensor], codes: Tensor) -> Tensor:
    seen.append(codes.clone())
    return torch.zeros(len(codes), 1, 2, 2)


def test_traversals_lie_around_the_codes_and_not_around_0() -> None:
    seen: list[Tensor] = []
    code, middle, spread = (
        torch.tensor([9.0, -4.0, 1.0]),
        torch.tensor([10.0, -5.0, 1.0]),
        torch.tensor([1.0, 2.0, 0.0]),
    )
    traversals(lambda codes: decoded(seen, codes), code, middle, spread)
    assert len(seen) == 2  # the dimension that does not vary is left out
    second, first = seen  # the widest first
    torch.testing.assert_close(first[:, 0], torch.linspace(7, 13, 11))
    torch.testing.assert_close(second[:, 1], torch.linspace(-11, 1, 11))
    assert (first[:, 1:] == code[1:]).all()
    assert (second[:, [0, 2]] == code[[0, 2]]).all()


@pytest.mark.parametrize("kind", [AE, VAE])
def test_arcs_go_around_the_prior_or_around_the_codes_of_an_autoencoder(kind: type) -> None:
    seen: list[Tensor] = []
    model = kind.__new__(kind)
    torch.nn.Module.__init__(model)
    model.posterior = kind.own_posterior()
    model.decode = lambda codes: decoded(seen, codes)
    middle = torch.tensor([10.0, 0.0])
    codes = torch.tensor([[11.0, 0.0], [10.0, 1.0]])
    _interpolations(model, codes, middle)
    around = torch.zeros(2) if kind is VAE else middle
    torch.testing.assert_close(seen[1], around + slerp(codes[0] - around, codes[1] - around, 11))
    if kind is AE:
        torch.testing.assert_close((seen[1] - middle).norm(dim=1), torch.ones(11))
