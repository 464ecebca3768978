"""Images that are halved on the way to a latent code, and doubled on the way back."""

from collections.abc import Sequence

from torch import Tensor, nn

from vaelab.backbones.backbone import Shape, as_shape

Size = tuple[int, int]  # height and width


def convolution(before: int, after: int, size: Size, halves: bool) -> nn.Conv2d:
    """A 3 x 3 convolution of an image of `size`, which keeps that or halves it, rounding up.

    A side of one pixel stays as it is, so its stride is 1. The function is the same with 2, but torch 2.13 then leaves
    numbers of other memory in the gradient of the weights, in bfloat16 on a processor with channels last.
    """
    stride = tuple(2 if halves and side > 1 else 1 for side in size)
    return nn.Conv2d(before, after, 3, stride=(stride[0], stride[1]), padding=1)


def halvings(height: int, width: int, times: int) -> list[Size]:
    """Sizes of an image that is halved, rounding up, `times` times: `times + 1` of them."""
    sizes = [(height, width)]
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def halvings_to(height: int, width: int, shape: Shape, widths: int) -> int:
    """How often an image is halved on the way to a code of a shape: to the cells of a grid, or, for a vector, `widths`.

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
            f"widths: {widths} of them halve the image to {most} cells at most, not to {'x'.join(map(str, cells))}; "
            "give more widths or a smaller latent.downsample"
        )
    return sizes.index((cells[0], cells[1]))


def sizes_up(sizes: Sequence[Size], stages: int) -> list[Size]:
    """The size that each stage of a decoder gives, for `halvings` of an image.

    Where there are more stages than halvings, the first keep the smallest size.
    """
    return [*[sizes[-1]] * (stages - (len(sizes) - 1)), *sizes[-2::-1]]


def to_code(channels: int, size: Size, shape: Shape) -> list[nn.Module]:
    """Layers from the smallest map, `(B, channels, *size)`, to a code: one linear layer, or for a grid one of 1 x 1."""
    code = as_shape(shape)
    if len(code) > 1:
        return [nn.Conv2d(channels, code[0], 1)]
    return [nn.Flatten(), nn.Linear(channels * size[0] * size[1], code[0])]


def from_code(shape: Shape, channels: int, size: Size) -> list[nn.Module]:
    """Layers from a code to the smallest map, `(B, channels, *size)`: one linear layer, or for a grid one of 3 x 3."""
    code = as_shape(shape)
    if len(code) > 1:
        return [nn.Conv2d(code[0], channels, 3, padding=1)]
    return [nn.Linear(code[0], channels * size[0] * size[1]), nn.Unflatten(1, (channels, *size))]


def cropped(images: Tensor, height: int, width: int) -> Tensor:
    """`(..., H, W)` cut to a size; as it is where it has that, since the gradient of a cut is a copy."""
    return images if images.shape[-2:] == (height, width) else images[..., :height, :width]
