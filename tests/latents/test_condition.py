"""A model that is given labels: they change what it decodes, and one without is the null that it has learned."""

from typing import Any

import pytest
import torch

from vaelab.backbones import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from vaelab.backbones.backbone import Encoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import ConfigError
from vaelab.latents import LabelCondition, LatentGroup, LatentSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, VAE, Model

IMAGES = DataSpec("images", "image", (1, 8, 8), "unit", 256, classes=("a", "b", "c"))
SIZE = 5
CONDITION: dict[str, Any] = {"condition": "label", "condition_size": SIZE, "condition_dropout": 0.5}


def network(kind: str, grid: bool = False, **settings: Any) -> Model:
    torch.manual_seed(0)
    shape = (2, 2, 2) if grid else (3,)
    code = (2 * shape[0] if kind == "vae" else shape[0], *shape[1:])
    if grid:
        encoder: Encoder = ConvEncoder(IMAGES.shape, code, [4, 6], activation="silu")
    else:
        encoder = MLPEncoder(IMAGES.shape, code, [8], condition_size=SIZE, activation="relu")
    read = (shape[0] + SIZE, *shape[1:])
    decoder = (
        ConvDecoder(read, (1, 1, 8, 8), [4, 6], activation="silu")
        if grid
        else MLPDecoder(read, (1, 1, 8, 8), [8], activation="relu")
    )
    latent, likelihood = LatentSpec((LatentGroup(shape),)), Gaussian(IMAGES, 0.5)
    return (VAE if kind == "vae" else AE)(encoder, decoder, likelihood, latent, **CONDITION | settings)


def images(labels: list[int]) -> Batch:
    x = torch.rand(len(labels), *IMAGES.shape, generator=torch.Generator().manual_seed(1))
    return Batch(x, x, torch.tensor(labels), x, ExampleNoise(0, range(len(labels))), 1.0)


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("kind", ["ae", "vae"])
def test_the_label_changes_what_is_decoded_and_how_likely_an_example_is(kind: str, grid: bool) -> None:
    model = network(kind, grid).eval()
    batch = images([0] * 6)
    with torch.no_grad():
        z = model.sample_latent(6, seed=0)
        one, other = (model.decode(z, torch.full((6,), label)) for label in (0, 2))
        assert ((one - other).abs().flatten(1).amax(1) > 1e-4).all()
        first, second = (model.log_likelihood(z, batch.target, torch.full((6,), label)) for label in (0, 2))
        assert (first != second).all()
        drawn = [model.sample(z, torch.Generator().manual_seed(0), torch.full((6,), label)) for label in (0, 2)]
        assert not torch.equal(*drawn)
        assert (model.terms(batch).loss != model.terms(images([2] * 6)).loss).all()


def test_a_missing_label_is_the_null_and_no_class() -> None:
    condition = LabelCondition(IMAGES, SIZE)
    assert condition.embedding.weight.shape == (4, SIZE)
    embedded = condition(torch.tensor([0, 1, 2, -1, -1]))
    assert torch.equal(embedded[3], condition.embedding.weight[3])
    assert torch.equal(embedded[3], embedded[4])
    assert len(embedded.unique(dim=0)) == 4
    model = network("vae").eval()
    with torch.no_grad():
        z = model.sample_latent(3, seed=0)
        assert torch.equal(model.decode(z), model.decode(z, torch.full((3,), -1)))


def test_labels_are_taken_away_in_training_only_and_the_same_ones_at_each_look() -> None:
    model, batch = network("vae"), images([1] * 400)
    kept = model.condition_of(batch)
    assert kept is not None
    assert set(kept.tolist()) == {-1, 1}
    assert (kept == -1).float().mean().item() == pytest.approx(0.5, abs=0.08)
    again = model.condition_of(batch)
    assert again is not None
    assert torch.equal(kept, again)
    model.eval()
    assert model.condition_of(batch) is batch.label
    assert network("vae", condition_dropout=0.0).train().condition_of(batch) is batch.label


def test_the_null_is_trained_too() -> None:
    model = network("vae")
    model.terms(images([0, 1, 2] * 20)).loss.mean().backward()
    assert model.condition is not None
    gradient = model.condition.embedding.weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).all()


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="condition=label: rows has no labels; leave condition out"):
        LabelCondition(DataSpec("rows", "table", (9,), "real"), SIZE)
