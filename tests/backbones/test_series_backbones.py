"""Backbones of series: exact shapes at any length, gaps that reach neither code nor gradient, padding that is none."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nan

from vaelab.backbones.conv1d import Conv1dDecoder, Conv1dEncoder
from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.backbones.transformer import TransformerDecoder, TransformerEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.likelihoods import Gaussian
from vaelab.models import VAE
from vaelab.models.schedules import Constant

SHAPES = [(1, 1), (2, 3), (1, 16), (3, 37), (12, 64), (2, 3, 21)]
BACKBONES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "conv1d": (Conv1dEncoder, Conv1dDecoder, {"widths": [4, 8, 8], "activation": "silu"}),
    "gru": (GRUEncoder, GRUDecoder, {"width": 8, "layers": 1}),
    "transformer": (TransformerEncoder, TransformerDecoder, {"width": 8, "layers": 2, "heads": 2}),
}


def spec(shape: tuple[int, ...], has_missing: bool = True) -> DataSpec:
    return DataSpec("x", "series", shape, "real", has_missing=has_missing)


def encoder(name: str, about: DataSpec, size: int = 5) -> Any:
    torch.manual_seed(0)
    return BACKBONES[name][0](about.shape, size, spec=about, **BACKBONES[name][2])


def decoder(name: str, about: DataSpec, parameters: int = 1) -> Any:
    torch.manual_seed(0)
    sequence = {} if name == "conv1d" else {"spec": about, "word_dropout": 0.0}
    return BACKBONES[name][1](5, (parameters, *about.shape), **sequence, **BACKBONES[name][2])


@pytest.mark.parametrize(("name", "shape", "has_missing"), product(BACKBONES, SHAPES, [False, True]))
def test_any_length_decodes_to_its_own_shape(name: str, shape: tuple[int, ...], has_missing: bool) -> None:
    code = encoder(name, spec(shape, has_missing))(torch.randn(2, *shape))
    assert code.shape == (2, 5)
    assert decoder(name, spec(shape, has_missing), 3)(code).shape == (2, 3, *shape)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_whole_input_and_the_whole_code_matter(name: str) -> None:
    about = spec((2, 19))
    x = torch.randn(1, 2, 19, requires_grad=True)
    (to_values,) = torch.autograd.grad(encoder(name, about)(x).square().sum(), x)
    assert (to_values != 0).all()
    z = torch.randn(1, 5, requires_grad=True)
    (to_code,) = torch.autograd.grad(decoder(name, about)(z).square().sum(), z)
    assert (to_code != 0).all()


@pytest.mark.parametrize("name", BACKBONES)
def test_a_missing_value_is_not_the_same_as_a_zero(name: str) -> None:
    x = torch.zeros(1, 2, 19)
    missing = x.clone()
    missing[0, 1, 7] = nan
    encode = encoder(name, spec((2, 19)))
    assert not torch.allclose(encode(x), encode(missing), atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_no_gap_reaches_a_gradient(name: str) -> None:
    """Not even that of a series without any value, and nothing is learnt from what is missing."""
    about = spec((2, 19))
    x = torch.randn(4, 2, 19)
    x[0, 0, 3] = x[1, :, 5:7] = x[2, :, 11:] = x[3] = nan
    model = VAE(encoder(name, about, 10), decoder(name, about), Gaussian(about, "learned"), 5, Constant())
    batch = Batch(x, x, torch.zeros(4).long(), x, ExampleNoise(0, range(4)), 1.0)
    terms = model(batch)
    assert torch.isfinite(terms.loss).all()
    terms.loss.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert terms.log_likelihood[3] == 0


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_padding_changes_nothing(name: str) -> None:
    about = spec((2, 19))
    encode = encoder(name, about)
    x = torch.randn(3, 2, 11)
    padded = torch.full((3, 2, 19), nan)
    padded[..., :11] = x
    torch.testing.assert_close(encode(padded), encode(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_series_are_decoded_from_the_code_alone(name: str) -> None:
    assert not getattr(decoder(name, spec((2, 19))), "autoregressive", False)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_example_does_not_feel_its_neighbours(name: str) -> None:
    about = spec((2, 19))
    x = torch.randn(4, 2, 19)
    x[1, :, 9:] = x[2, 0, 4] = nan
    encode, decode = encoder(name, about), decoder(name, about)
    codes = encode(x)
    torch.testing.assert_close(codes, torch.cat([encode(row[None]) for row in x]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decode(codes), torch.cat([decode(z[None]) for z in codes]), rtol=1e-4, atol=1e-5)
