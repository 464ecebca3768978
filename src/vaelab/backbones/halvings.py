"""Sizes and layers of networks that halve an image on the way to a latent code, and double it on the way back."""

from collections.abc import Sequence

from torch import Tensor, nn

from vaelab.backbones.backbone import Shape, as_shape

Size = tuple[int, int]  # height and width


def convolution(before: int, after: int, size: Size, halves: bool) -> nn.Conv2d:
    """A 3 x 3 convolution of an image of `size`, which keeps the size or halves it, rounding up.

    A side of one pixel is not halved, so its stride is 1. Stride 2 would give the same function, but with torch 2.13 in
    bfloat16, channels-last, on a CPU, the gradient of the weights would then contain uninitialised memory.
    """
    stride = tuple(2 if halves and side > 1 else 1 for side in size)
    return nn.Conv2d(before, after, 3, stride=(stride[0], stride[1]), padding=1)


def halvings(height: int, width: int, times: int) -> list[Size]:
    """The `times + 1` sizes of an image that is halved `times` times, rounding up."""
    sizes = [(height, width)]
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def halvings_to(height: int, width: int, shape: Shape, widths: int) -> int:
    """How often an image is halved to get a code of a shape: to the cells of a grid, or, for a vector, `widths` times.

    Raises:
        ValueError: no number of halvings up to `widths` gives the cells of the grid.
    """
    cells = as_shape(shape)[1:]
    if not cells:
        return widths
    sizes = halvings(height, width, widths)
    if cells not in sizes[1:]:
        most = "x".join(map(str, sizes[-1]))
        raise ValueError(
            f"widths: {widths} of them can halve the image down to {most} cells, not to {'x'.join(map(str, cells))}; "
            "give more widths or a smaller latent.downsample"
        )
    return sizes.index((cells[0], cells[1]))


def sizes_up(sizes: Sequence[Size], stages: int) -> list[Size]:
    """The output size of each stage of a decoder, for the `halvings` of an image.

    If there are more stages than halvings, the first stages keep the smallest size.
    """
    return [*[sizes[-1]] * (stages - (len(sizes) - 1)), *sizes[-2::-1]]


def to_code(channels: int, size: Size, shape: Shape) -> list[nn.Module]:
    """Layers from the smallest map, `(B, channels, *size)`, to a code: a linear layer, or a 1 x 1 one for a grid."""
    code = as_shape(shape)
    if len(code) > 1:
        return [nn.Conv2d(channels, code[0], 1)]
    return [nn.Flatten(), nn.Linear(channels * size[0] * size[1], code[0])]


def from_code(shape: Shape, channels: int, size: Size) -> list[nn.Module]:
    """Layers from a code to the smallest map, `(B, channels, *size)`: a linear layer, or a 3 x 3 one for a grid."""
    code = as_shape(shape)
    if len(code) > 1:
        return [nn.Conv2d(code[0], channels, 3, padding=1)]
    return [nn.Linear(code[0], channels * size[0] * size[1]), nn.Unflatten(1, (channels, *size))]


def cropped(images: Tensor, height: int, width: int) -> Tensor:
    """`(..., H, W)` cropped to a size; unchanged if it already has it, since the gradient of a crop is a copy."""
    return images if images.shape[-2:] == (height, width) else images[..., :height, :width]
