"""Resizing of images before feature extraction."""

import torch
from torch import Tensor
from torch.nn import functional as F


def limit_side(images: Tensor, longest: int) -> Tensor:
    """`(B, C, H, W)` shrunk with an antialiasing filter until no side is longer than `longest`; or unchanged."""
    size = limited_size(images.shape[-2:], longest)
    if size == tuple(images.shape[-2:]):
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def limited_size(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Height and width of the output of `limit_side`."""
    height, width = size
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_tensorflow1(images: Tensor, side: int) -> Tensor:
    """`(B, C, H, W)` to `(B, C, side, side)` as TensorFlow 1 resizes, and therefore as in the FID literature.

    Output pixel i is read at i * H / side, without the usual half-pixel shift and without antialiasing.
    """
    batch, _, height, width = images.shape
    rows, columns = (
        (2 * torch.arange(side, device=images.device, dtype=images.dtype) * extent / side + 1) / extent - 1
        for extent in (height, width)
    )
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(
        images, grid.expand(batch, -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
