"""What is wrong with a model of somebody's own is said before it is trained, by class and method."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import ConfigError
from vaelab.latents import Gaussian as GaussianPosterior
from vaelab.latents import StandardNormal
from vaelab.latents.draw import GroupDraw
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, VAE
from vaelab.models.phases import Phase
from vaelab.models.trial import refuse_ill_formed

ROWS = DataSpec("rows", "table", (5,), "real")


def batch() -> Batch:
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    return Batch(x, x, torch.zeros(2).long(), x, ExampleNoise(0, range(2)), 1.0)


def made(kind: type[VAE] = VAE, **parts: Any) -> VAE:
    encoder, decoder = MLPEncoder((5,), 6, [4], activation="relu"), MLPDecoder(3, (1, 5), [4], activation="relu")
    return kind(encoder, decoder, Gaussian(ROWS, 1.0), 3, **parts)


def adding(term: str, value: Any) -> type[VAE]:
    class Mine(VAE):
        def penalties(self, batch: Batch, inferred: Any, draw: Any, scheduled: Any = None) -> dict[str, Tensor]:
            return super().penalties(batch, inferred, draw) | {term: value(draw.groups[-1].z)}

    return Mine


@pytest.mark.parametrize(
    ("term", "value", "message"),
    [
        ("kl", lambda z: z.square().flatten(1).sum(1), "a penalty of Mine has the name kl, which every model uses"),
        ("model_loss", lambda z: z.square().flatten(1).sum(1), "has the name model_loss"),
        ("extra", lambda z: z.square().mean(), r"Mine: its term loss is|its term extra is of shape \[\]"),
        ("extra", lambda z: z[:, :, :1].square().flatten(1), r"is of shape \[2, .\]: should be one number for each"),
        ("extra", lambda z: 1.0, r"its term extra is a float"),
    ],
)
def test_a_penalty_is_one_number_for_each_example_with_a_name_of_its_own(term: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        refuse_ill_formed(made(adding(term, value)), batch())


def test_a_penalty_in_order_is_let_through_and_the_mode_is_left() -> None:
    model = made(adding("extra", lambda z: z.square().flatten(1).sum(1)))
    assert model.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    refuse_ill_formed(model, batch())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_statistic_of_the_batch_that_is_no_term_is_named() -> None:
    class Misspelt(adding("extra", lambda z: z.square().flatten(1).sum(1))):  # type: ignore[misc]
        batch_terms = frozenset({"extre"})

    with pytest.raises(
        ConfigError, match=r"Misspelt\.batch_terms names extre, which is not one of its terms: .* extra"
    ):
        refuse_ill_formed(made(Misspelt), batch())


def test_an_error_of_its_own_is_told_with_its_place() -> None:
    class Forgetful(VAE):
        def penalties(self, *arguments: Any, **settings: Any) -> Any:
            pass

    with pytest.raises(ConfigError, match=r"model: Forgetful fails on 2 examples, at .*vae\.py:\d+: AttributeError"):
        refuse_ill_formed(made(Forgetful), batch())


def test_parts_that_the_model_has_not_are_named() -> None:
    class Misspelt(VAE):
        def moves(self) -> dict[str, tuple[str, ...]]:
            return super().moves() | {"extra": ("enkoder",)}

    class Critic(VAE):
        extra_phases = (Phase("critic", ("critik",)),)

    class Taken(VAE):
        extra_phases = (Phase("model"),)

    for kind, message in ((Misspelt, "extra trains enkoder"), (Critic, "critik"), (Taken, "its own name")):
        with pytest.raises(ConfigError, match=message):
            refuse_ill_formed(made(kind), batch())


def test_draws_have_the_shape_of_the_latent() -> None:
    class Flat(GaussianPosterior):
        def draw(self, *arguments: Any, **settings: Any) -> GroupDraw:
            drawn = super().draw(*arguments, **settings)
            return GroupDraw(drawn.z[:, 0], drawn.rate, drawn.parts, drawn.p, drawn.q)

    class Unequal(GaussianPosterior):
        noise: ClassVar[Any] = "gaussian"

    class Short(StandardNormal):
        def sample(self, count: int, shape: Any, *more: Any, **settings: Any) -> Tensor:
            return super().sample(count, (shape[0] - 1,), *more, **settings)

    with pytest.raises(
        ConfigError, match=r"Flat\.draw: z is of shape \[2, 3\]: should be \(B, S, \*shape\), here \[2, 3, 3\]"
    ):
        refuse_ill_formed(made(posterior=Flat()), batch())
    with pytest.raises(ConfigError, match=r"Unequal\.noise=gaussian: should be normal, uniform or None"):
        made(posterior=Unequal())
    with pytest.raises(ConfigError, match=r"Short\.sample, as flat codes is of shape \[2, 2\]"):
        refuse_ill_formed(made(prior=Short()), batch())


def test_a_normal_prior_has_no_closed_form_for_what_is_not_normal() -> None:
    class Record:
        mean = log_variance = torch.zeros(4, 3)

    assert StandardNormal().distribution().kl(Record()) is None


def test_an_autoencoder_is_in_order() -> None:
    encoder, decoder = MLPEncoder((5,), 3, [4], activation="relu"), MLPDecoder(3, (1, 5), [4], activation="relu")
    model: nn.Module = AE(encoder, decoder, Gaussian(ROWS, 1.0), 3)
    refuse_ill_formed(model, batch())  # type: ignore[arg-type]
