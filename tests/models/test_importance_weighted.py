"""Bounds and gradients of importance-weighted objectives, against the plain ones on the same draws."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import ConfigError
from vaelab.likelihoods import Gaussian
from vaelab.models import VAE, ImportanceWeighted
from vaelab.models.schedules import Capacity, FreeBits

SAMPLES = 6
Gradients = dict[str, Tensor]


def made(estimator: str | None = None, groups: int = 1, elbo: float = 0.0, **settings: Any) -> VAE:
    """With the same weights each time; a plain importance-weighted VAE without an estimator."""
    torch.manual_seed(0)
    likelihood = Gaussian(DataSpec("sensors", "table", (6,), "real"), 0.5)
    parts: dict[str, Any] = {
        "encoder": MLPEncoder((6,), 6, [8], "tanh"), "decoder": MLPDecoder(3, (1, 6), [8], "tanh"),
        "likelihood": likelihood, "latent": 3, "samples": SAMPLES,
    }  # fmt: skip
    if estimator is None:
        return VAE(**parts | {"bound": "iwae"} | settings)
    chosen: Any = {"estimator": estimator, "groups": groups, "elbo": elbo}
    return ImportanceWeighted(**parts | chosen | settings)


def gradients(model: VAE, batch: Batch) -> tuple[Tensor, Gradients]:
    loss = model.train().terms(batch).loss
    model.zero_grad()
    loss.mean().backward()
    return loss.detach(), {name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None}


def same(one: Gradients, other: Gradients, module: str) -> bool:
    names = [name for name in one if name.startswith(module)]
    assert names
    return all(torch.allclose(one[name], other[name], atol=1e-5, rtol=1e-4) for name in names)


def test_the_ends_are_the_elbo_and_the_plain_bound(make_batch: Callable[..., Batch], rows: Tensor) -> None:
    batch = make_batch(rows)
    bound, elbo = gradients(made(), batch), gradients(made(bound="elbo"), batch)
    for model, (loss, of_plain) in [
        (made("miwae", 1), bound), (made("miwae", SAMPLES), elbo),
        (made("ciwae", elbo=0.0), bound), (made("ciwae", elbo=1.0), elbo),
        (made("piwae", 1), bound),
    ]:  # fmt: skip
        found, own = gradients(model, batch)
        # the ELBO of a VAE has the exact KL, that of weights its estimate by the draws
        exact = of_plain is not elbo[1]
        assert torch.allclose(found, loss, atol=1e-4) or not exact
        assert same(own, of_plain, "decoder")
        assert same(own, of_plain, "encoder") or not exact


def test_more_draws_in_a_group_make_a_tighter_bound(make_batch: Callable[..., Batch], rows: Tensor) -> None:
    losses = [float(gradients(made("miwae", groups), make_batch(rows))[0].mean()) for groups in (1, 2, 3, 6)]
    assert losses == sorted(losses)


def test_piwae_trains_the_decoder_by_one_bound_and_the_encoder_by_the_other(
    make_batch: Callable[..., Batch], rows: Tensor
) -> None:
    batch = make_batch(rows)
    loss, partly = gradients(made("piwae", 3), batch)
    (whole_loss, whole), (_, grouped) = gradients(made(), batch), gradients(made("miwae", 3), batch)
    assert torch.allclose(loss, whole_loss, atol=1e-5)
    assert same(partly, whole, "decoder")
    assert same(partly, grouped, "encoder")
    assert not same(partly, whole, "encoder")


def test_the_doubly_reparameterised_gradient_has_the_same_mean_and_less_noise(rows: Tensor) -> None:
    x = rows[:1].expand(4_000, -1)
    noise = ExampleNoise(0, range(4_000))
    batch = Batch(x, x, torch.full((4_000,), -1), x, noise, 1.0)
    (loss, plain), (own, doubly) = gradients(made(), batch), gradients(made("dreg"), batch)
    assert torch.allclose(loss, own, atol=1e-4)
    assert same(plain, doubly, "decoder")
    each = {}
    for name, estimator in (("plain", None), ("doubly", "dreg")):
        found = []
        for number in range(0, 4_000, 40):
            part = Batch(x[:40], x[:40], batch.label[:40], x[:40], ExampleNoise(0, range(number, number + 40)), 1.0)
            _, of_part = gradients(made(estimator), part)
            found.append(torch.cat([g.flatten() for n, g in of_part.items() if n.startswith("encoder")]))
        each[name] = torch.stack(found)
    error = (each["plain"].var(0) / 100 + each["doubly"].var(0) / 100).sqrt()
    apart = (each["plain"].mean(0) - each["doubly"].mean(0)).abs() / error.clamp(min=1e-9)
    assert float((apart > 3.5).double().mean()) < 0.02
    assert float(each["doubly"].var(0).sum()) < 0.7 * float(each["plain"].var(0).sum())


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_the_encoder_learns_by_its_own_bound_however_far_the_weights_are_apart(
    make_batch: Callable[..., Batch], rows: Tensor, scale: float
) -> None:
    batch = make_batch(scale * rows)
    (_, partly), (_, grouped) = gradients(made("piwae", 3), batch), gradients(made("miwae", 3), batch)
    size = max(float(gradient.abs().max()) for name, gradient in grouped.items() if name.startswith("encoder"))
    for name, gradient in grouped.items():
        if name.startswith("encoder"):
            assert torch.allclose(partly[name], gradient, atol=1e-5 * size), name


@pytest.mark.parametrize("estimator", ["miwae", "dreg"])
@pytest.mark.parametrize("schedule", [FreeBits(nats=1.0), Capacity(5.0, 100)])
def test_a_price_of_the_kl_is_refused_where_there_is_none(estimator: str, schedule: Any) -> None:
    with pytest.raises(ConfigError, match=r"model/schedule=capacity and free_bits do not apply"):
        made(estimator, schedule=schedule)
    assert made(estimator).remedies() == ["model.beta=0.1"]


def test_groups_that_do_not_divide_the_draws_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.groups=4 and model\.samples=6"):
        made("miwae", 4)
