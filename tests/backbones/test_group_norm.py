"""Group normalisation is torch's own, whatever the layout of images and the precision."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vaelab.backbones.group_norm import GroupNorm, _Normalise, group_norm


def gradients(layer: nn.GroupNorm, x: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    return [y, *torch.autograd.grad(y, [x, layer.weight, layer.bias], dy)]


@pytest.mark.parametrize("channels", range(1, 70))
def test_group_norm_fits_any_width(channels: int) -> None:
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups == 1 or channels // norm.num_groups >= 4


@pytest.mark.parametrize("shape", [(3, 8, 5, 7), (2, 16, 1, 1), (1, 4, 2, 9)])
def test_fast_path_is_exact_in_double_precision(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True) + 2
    weight, bias = torch.randn(2, shape[1], dtype=torch.float64, requires_grad=True).unbind()
    ours = _Normalise.apply(x, weight, bias, 2, 1e-5)
    theirs = F.group_norm(x, 2, weight, bias, 1e-5)
    dy = torch.randn_like(theirs)
    # Sums are taken in single precision.
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for mine, other in zip(*(torch.autograd.grad(y, [x, weight, bias], dy) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=2e-4)


# Small images with few channels a group, whose forward pass is ours; large ones, and many channels, whose is torch's.
@pytest.mark.parametrize("shape", [(4, 32, 16, 16), (2, 32, 32, 40), (4, 128, 4, 4)])
def test_channels_last_bfloat16_takes_it_and_is_as_near_the_truth_as_torch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = group_norm(shape[1])
    nn.init.normal_(layer.weight)
    x = (3 * torch.randn(shape) + 1).bfloat16().to(memory_format=torch.channels_last)
    dy = torch.randn(shape).bfloat16().to(memory_format=torch.channels_last)
    truth = gradients(layer, x.float(), dy.float())
    fast, plain = gradients(layer, x, dy), gradients(_plain(layer), x, dy)
    assert "Normalise" in type(layer(x.clone(memory_format=torch.preserve_format).requires_grad_()).grad_fn).__name__
    for ours, theirs, exact in zip(fast, plain, truth, strict=True):
        assert ours.dtype == theirs.dtype
        errors = [(values.float() - exact).square().mean().sqrt() / exact.std() for values in (ours, theirs)]
        assert errors[0] < max(1.5 * errors[1], 0.004)


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (2, 32, 3, 3)])
def test_second_gradients_are_torchs_too(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(2, shape[1]).unbind()
    x = torch.randn(shape, requires_grad=True)
    seconds = []
    for normalised in (_Normalise.apply(x, weight, bias, 2, 1e-5), F.group_norm(x, 2, weight, bias)):
        (first,) = torch.autograd.grad(normalised.square().sum() + normalised.sin().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        seconds.append(second)
    torch.testing.assert_close(*seconds, rtol=1e-3, atol=1e-3)


def test_other_precisions_and_layouts_are_torchs_own() -> None:
    x = torch.randn(2, 8, 4, 4)
    layer = GroupNorm(2, 8)
    for values in (x, x.to(memory_format=torch.channels_last), x.bfloat16(), x.double()):
        layer.to(values.dtype)
        assert torch.equal(layer(values), _plain(layer)(values))


def _plain(layer: nn.GroupNorm) -> nn.GroupNorm:
    plain = nn.GroupNorm(layer.num_groups, layer.num_channels, dtype=layer.weight.dtype)
    plain.load_state_dict(layer.state_dict())
    return plain
