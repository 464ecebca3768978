"""Backbones fit any size, are the same in training and evaluation, and start where they should."""

from itertools import product
from typing import Any

import pytest
import torch

from vaelab.backbones import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder, ResNetDecoder, ResNetEncoder
from vaelab.backbones.halvings import halvings
from vaelab.backbones.resnet import ResidualBlock

SHAPES = [(1, 8, 8), (2, 27, 31), (3, 1, 5), (3, 64, 48), (1, 79, 79)]
ENCODERS = {
    "mlp": (MLPEncoder, {"hidden": [12], "activation": "relu"}),
    "conv": (ConvEncoder, {"widths": [4, 8, 8], "activation": "silu"}),
    "resnet": (ResNetEncoder, {"widths": [4, 8, 8], "blocks": 1}),
}
DECODERS = {
    "mlp": (MLPDecoder, {"hidden": [12], "activation": "relu"}),
    "conv": (ConvDecoder, {"widths": [4, 8, 8], "activation": "silu"}),
    "resnet": (ResNetDecoder, {"widths": [4, 8, 8], "blocks": 2}),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("encoder", "decoder"), product(ENCODERS, DECODERS))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pair_decodes_exactly_its_own_shape(encoder: str, decoder: str, shape: tuple[int, int, int]) -> None:
    cls, settings = ENCODERS[encoder]
    encode = cls(shape, 5, **settings)
    cls, settings = DECODERS[decoder]
    decode = cls(5, (3, *shape), **settings)
    code = encode(torch.randn(2, *shape))
    assert code.shape == (2, 5)
    assert decode(code).shape == (2, 3, *shape)


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("name", ENCODERS)
def test_training_and_evaluation_mode_agree(name: str, shape: tuple[int, int, int]) -> None:
    x, z = torch.randn(3, *shape), torch.randn(3, 5)
    for (cls, settings), first, second, given in (
        (ENCODERS[name], shape, 5, x),
        (DECODERS[name], 5, (2, *shape), z),
    ):
        module = cls(first, second, **settings)
        trained = module.train()(given)
        torch.testing.assert_close(module.eval()(given), trained, rtol=0, atol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_example_does_not_feel_its_neighbours(name: str) -> None:
    shape = (2, 9, 7)
    x, z = torch.randn(4, *shape), torch.randn(4, 5)
    for (cls, settings), first, second, given in ((ENCODERS[name], shape, 5, x), (DECODERS[name], 5, (2, *shape), z)):
        module = cls(first, second, **settings)
        each = torch.cat([module(row.unsqueeze(0)) for row in given])
        torch.testing.assert_close(module(given), each, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_whole_input_and_the_whole_code_matter(name: str) -> None:
    """Every pixel reaches the code and every code value reaches every pixel."""
    shape = (2, 9, 7)
    cls, settings = ENCODERS[name]
    x = torch.randn(1, *shape, requires_grad=True)
    (to_pixels,) = torch.autograd.grad(cls(shape, 5, **settings)(x).square().sum(), x)
    assert (to_pixels != 0).all()
    cls, settings = DECODERS[name]
    z = torch.randn(1, 5, requires_grad=True)
    (to_code,) = torch.autograd.grad(cls(5, (2, *shape), **settings)(z).square().sum(), z)
    assert (to_code != 0).all()


def test_no_hidden_layer_is_a_linear_map() -> None:
    encode, decode = (
        MLPEncoder((2, 3, 4), 5, hidden=[], activation="relu"),
        MLPDecoder(5, (2, 3, 4), hidden=[], activation="relu"),
    )
    for module, shape in ((encode, (2, 3, 4)), (decode, (5,))):
        a, b = torch.randn(2, 1, *shape)
        origin = module(torch.zeros(1, *shape))
        combined = module(2 * a - 3 * b) - origin
        torch.testing.assert_close(combined, 2 * (module(a) - origin) - 3 * (module(b) - origin), rtol=1e-4, atol=1e-5)


def test_a_hidden_layer_is_not_linear() -> None:
    module = MLPEncoder((6,), 5, hidden=[8], activation="relu")
    a = torch.randn(1, 6)
    assert not torch.allclose(module(a) + module(-a), 2 * module(torch.zeros(1, 6)), atol=1e-3)


def test_a_gated_layer_multiplies_one_map_by_the_sigmoid_of_another() -> None:
    encoder = MLPEncoder((1, 2, 3), 4, hidden=[5], activation="glu")
    _, hidden, _, last = encoder.net
    x = torch.randn(7, 1, 2, 3)
    value, gate = (x.flatten(1) @ hidden.weight.T + hidden.bias).split(5, dim=1)
    torch.testing.assert_close(encoder(x), last(value * gate.sigmoid()))


def test_residual_blocks_start_as_the_identity_and_can_leave_it() -> None:
    block = ResidualBlock(8)
    x = torch.randn(2, 8, 5, 3)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    block(x).square().sum().backward()
    assert block.branch[-1].weight.grad.abs().sum() > 0


def test_halvings_round_up() -> None:
    assert halvings(79, 6, 4) == [(79, 6), (40, 3), (20, 2), (10, 1), (5, 1)]


@pytest.mark.parametrize("kind", [ConvEncoder, ResNetEncoder])
@pytest.mark.parametrize("size", [(1, 8, 8), (1, 12, 1)])
def test_a_side_of_one_pixel_is_halved_no_further_and_its_gradient_is_one(kind: Any, size: tuple[int, ...]) -> None:
    """torch leaves numbers of other memory in the gradient of a strided convolution of one pixel, in bfloat16."""
    torch.manual_seed(0)
    more = {"activation": "silu"} if kind is ConvEncoder else {"blocks": 1}
    encoder = kind(size, (4,), widths=[8, 8, 8, 8, 8], **more)
    x = torch.rand(32, *size)
    encoder(x).square().sum().backward()
    expected = {name: weight.grad.clone() for name, weight in encoder.named_parameters()}
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    for _ in range(3):
        encoder.zero_grad()
        torch.full((8, 8, 3, 3), torch.nan, dtype=torch.bfloat16)  # what lies in memory that is given back
        with torch.autocast("cpu", torch.bfloat16):
            loss = encoder(x.to(memory_format=torch.channels_last)).square().sum()
        loss.backward()
        for name, weight in encoder.named_parameters():
            error = float((weight.grad - expected[name]).norm() / expected[name].norm().clamp(min=1e-3))
            assert error < 0.5, f"{name}: {error}"  # of groups of four values, in bfloat16
