"""Categorical codes: their draws, their KL, and their relaxation."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.latents import GroupDraw, GumbelSoftmax, Uniform

SHAPES = [(4,), (8,), (4, 2, 3), (8, 2, 3)]


def made(**settings: Any) -> GumbelSoftmax:
    return GumbelSoftmax(**{"categories": 4, "initial": 1.0, "final": 0.1, "steps": 10, "hard": False} | settings)


def codes(*shape: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def drawn(posterior: GumbelSoftmax, code: Tensor, samples: int, scheduled: Any = None) -> GroupDraw:
    prior = Uniform()
    prior.bind(posterior.group(tuple(code.shape[1:])), None, None)  # type: ignore[arg-type]
    noise = torch.rand(len(code), samples, *code.shape[1:], generator=torch.Generator().manual_seed(1))
    return posterior.draw(posterior(code), prior.distribution(), noise, samples, scheduled or {})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_indices_and_z_name_each_other(shape: tuple[int, ...]) -> None:
    posterior, code = made(), codes(5, *shape)
    q, group = posterior(code), posterior.group(shape)
    assert q.indices.shape == (5, *(group.indices or ()))
    assert torch.equal(posterior.from_indices(q.indices), q.mean)
    found = drawn(posterior, code, 3)
    assert found.indices is not None
    assert torch.equal(posterior.from_indices(found.indices.flatten(0, 1)), found.z.flatten(0, 1))
    assert torch.equal(found.z.unflatten(2, (-1, 4)).sum(3), torch.ones_like(found.z.unflatten(2, (-1, 4))[:, :, :, 0]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kl_is_exact_and_the_mean_of_its_estimate(shape: tuple[int, ...]) -> None:
    posterior, code = made(), codes(2, *shape)
    share = code.unflatten(1, (-1, 4)).softmax(2)
    entropy = -torch.special.xlogy(share, share).sum(2)
    found = drawn(posterior, code, 4_000)
    assert found.rate is not None
    assert found.log_ratio is not None
    torch.testing.assert_close(found.rate, (log(4) - entropy).flatten(1).sum(1), atol=1e-4, rtol=1e-4)
    error = found.log_ratio.std(1) / 4_000**0.5
    assert (((-found.log_ratio).mean(1) - found.rate).abs() < 4 * error).all()


def test_categories_are_drawn_as_often_as_they_are_likely() -> None:
    posterior, code = made(), codes(1, 4)
    frequencies = drawn(posterior, code, 20_000).z.mean(1)
    torch.testing.assert_close(frequencies, code.softmax(1), atol=0.015, rtol=0)


def test_a_low_temperature_comes_to_the_category_and_a_hard_draw_is_it() -> None:
    code = codes(50, 8).requires_grad_()
    ones = drawn(made(), code, 1).z
    distances = [
        float((drawn(made(), code, 1, {"temperature": t}).z - ones).detach().abs().mean()) for t in (5.0, 1.0, 0.01)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01
    hard, soft = (drawn(made(hard=of), code, 1, {"temperature": 0.7}).z for of in (True, False))
    assert torch.allclose(hard.detach(), ones.detach())
    weights = torch.arange(8.0)
    of_hard, of_soft = (torch.autograd.grad((z * weights).sum(), code, retain_graph=True)[0] for z in (hard, soft))
    torch.testing.assert_close(of_hard, of_soft)


def test_the_temperature_falls_to_its_end_and_stays() -> None:
    found = [made().scheduled(step)["temperature"] for step in (0, 5, 10, 100)]
    assert found == pytest.approx([1.0, 0.1**0.5, 0.1, 0.1])


def test_a_size_that_is_no_multiple_is_refused_with_one_that_is() -> None:
    with pytest.raises(ConfigError, match=r"latent_dim=6: latent_dim should be a multiple of it, such as 8"):
        made().group((6,))
