"""The codes of a split are encoded once, in its order, uncorrupted, and anew for other weights."""

from typing import Any

import pytest
import torch

import in_memory
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.corruptions import Gaussian as GaussianNoise
from vaelab.data.module import DataModule
from vaelab.evaluation.encoded import encoded
from vaelab.latents import FSQ, LatentSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, VAE, Model


@pytest.fixture(scope="module")
def data() -> DataModule:
    return in_memory.digits()


def network(data: DataModule, kind: str = "vae") -> Model:
    torch.manual_seed(0)
    decoder, likelihood = MLPDecoder(3, (1, *data.spec.shape), [8], activation="relu"), Gaussian(data.spec, 0.5)
    encoder = MLPEncoder(data.spec.shape, 6 if kind == "vae" else 3, [8], activation="relu")
    if kind == "ae":
        return AE(encoder, decoder, likelihood, 3).eval()
    if kind == "vae":
        return VAE(encoder, decoder, likelihood, 3).eval()
    posterior = FSQ([4, 4, 4])
    return VAE(encoder, decoder, likelihood, LatentSpec((posterior.group((3,)),)), posterior=posterior).eval()


@pytest.fixture
def calls(data: DataModule, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Splits that were read."""
    seen: list[str] = []
    original = data.batches

    def batches(split: str, *more: Any, **settings: Any) -> Any:
        seen.append(split)
        return original(split, *more, **settings)

    monkeypatch.setattr(data, "batches", batches)
    return seen


def test_unchanged_weights_are_encoded_once_and_others_anew(data: DataModule, calls: list[str]) -> None:
    model = network(data)
    first = encoded(model, data, "test")
    assert encoded(model, data, "test") is first
    encoded(model, data, "val")
    assert calls == ["test", "val"]

    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    second = encoded(model, data, "test")
    assert calls == ["test", "val", "test"]
    assert not torch.equal(first.codes, second.codes)

    model.load_state_dict(network(data).state_dict())
    assert torch.equal(encoded(model, data, "test").codes, first.codes)
    assert len(calls) == 4


def test_other_draws_and_other_data_have_codes_of_their_own(data: DataModule) -> None:
    model = network(data)
    first, other = encoded(model, data, "test"), encoded(model, data, "test", seed=1)
    assert torch.equal(first.codes, other.codes)
    assert not torch.equal(first.draws, other.draws)
    split = in_memory.digits(split_seed=5)
    assert not torch.equal(encoded(model, split, "test").codes, first.codes)


@pytest.mark.parametrize("kind", ["ae", "vae", "fsq"])
def test_rows_are_in_the_order_of_the_split(data: DataModule, kind: str) -> None:
    model = network(data, kind)
    with torch.no_grad():
        found, inferred = encoded(model, data, "test"), model.infer(data.clean("test"))
    assert torch.equal(found.index, data.split["test"])
    assert torch.equal(found.label, data.labels("test"))
    torch.testing.assert_close(found.codes, model.code(inferred))
    assert (found.indices is not None) == (kind == "fsq")
    if found.indices is not None:
        assert torch.equal(found.indices, model.indices(inferred).flatten(1))
        torch.testing.assert_close(model.from_indices(found.indices), found.codes)
        assert found.rates is not None
        torch.testing.assert_close(found.rates, torch.tensor([64.0]).double().log())
    if kind != "vae":
        assert torch.equal(found.draws, found.codes)
        assert found.variance is None
    assert (found.rates is None) == (kind == "ae")


def test_codes_are_those_of_clean_examples_in_a_run_that_corrupts(data: DataModule) -> None:
    model = network(data)
    noisy = in_memory.digits(corruption=GaussianNoise(0.5))
    batch = next(noisy.batches("test"))
    assert not torch.equal(batch.x, batch.target)
    torch.testing.assert_close(encoded(model, noisy, "test").codes, encoded(model, data, "test").codes)


def test_a_draw_belongs_to_its_example_whatever_the_batch() -> None:
    small, large = in_memory.digits(batch_size=64), in_memory.digits(batch_size=512)
    first, second = (encoded(network(data), data, "test").draws for data in (small, large))
    torch.testing.assert_close(first, second)
    train = encoded(network(small), small, "train")
    noise = [found.draws - found.codes for found in (train, encoded(network(small), small, "test"))]
    assert not torch.allclose(noise[0][:50], noise[1][:50], atol=0.01)
