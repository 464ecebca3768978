"""Generated images of one shape each, in all combinations of five factors of variation."""

from itertools import product
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.factors import Factors
from vaelab.data.module import Binarize, DataModule, DataSettings

SIDE = 32  # pixels
SAMPLES = 8  # along each side of a pixel, of which the share inside the shape is its grey level
SHAPES = ("ellipse", "rectangle", "triangle")
RADII = np.linspace(4.0, 8.5, 4)  # pixels from the centre to the farthest point of a shape
# A quarter of a turn without its end. No shape is like itself after less than half a turn, so no two images are alike.
ANGLES = np.arange(8) * np.pi / 16
SHIFTS = np.arange(-7, 8, 2)  # whole pixels from the centre, so that a shape keeps its pixels wherever it stands
NAMES = ("shape", "scale", "orientation", "position_x", "position_y")
SIZES = (len(SHAPES), len(RADII), len(ANGLES), len(SHIFTS), len(SHIFTS))


class Shapes(DataModule):
    """6,144 grey images of 32 x 32 pixels: a white shape on black, in the manner of dSprites (Matthey et al., 2017).

    The factors are shape (3), scale (4), orientation (8), position_x (8) and position_y (8). Every combination occurs
    once, and the last factor changes fastest. The label is the shape. No files are read or written: each run draws the
    same images, in less than a second.
    """

    def __init__(
        self, binarize: Binarize | None, normal: list[str | int] | None, **settings: Unpack[DataSettings]
    ) -> None:
        super().__init__(binarize, normal, **settings)

    def load(self) -> Examples:
        """Draw the set."""
        values = torch.from_numpy(drawn_shapes()).unsqueeze(1)
        factors = torch.tensor(list(product(*map(range, SIZES))))
        spec = DataSpec("shapes", "image", (1, SIDE, SIDE), "unit", 256, SHAPES)
        splits = {"train": range(len(values))}
        return Examples(values, factors[:, 0].clone(), spec, splits, factors=Factors(NAMES, SIZES, factors))


def drawn_shapes() -> NDArray[np.uint8]:
    """`(6144, 32, 32)` grey levels, in the order of the factors."""
    images = np.empty((*SIZES, SIDE, SIDE), np.uint8)
    for shape, scale, angle in np.ndindex(*SIZES[:3]):
        centred = drawn_shape(SHAPES[shape], float(RADII[scale]), float(ANGLES[angle]))
        for x, y in np.ndindex(*SIZES[3:]):  # nothing goes over the edge: 7 + 8.5 pixels are less than half a side
            images[shape, scale, angle, x, y] = np.roll(centred, (SHIFTS[y], SHIFTS[x]), (0, 1))
    return images.reshape(-1, SIDE, SIDE)


def drawn_shape(shape: str, radius: float, angle: float) -> NDArray[np.uint8]:
    """One shape in the middle of an image, `(32, 32)` grey levels; a pixel is as bright as its share of the shape.

    Args:
        shape: one of `SHAPES`.
        radius: pixels from the centre to the farthest point.
        angle: radians, anticlockwise.
    """
    places = (np.arange(SIDE * SAMPLES) + 0.5) / SAMPLES - SIDE / 2
    right, up = places[None, :], -places[:, None]
    along = (np.cos(angle) * right + np.sin(angle) * up) / radius
    across = (np.cos(angle) * up - np.sin(angle) * right) / radius
    if shape == "ellipse":
        inside = along**2 + (2 * across) ** 2 <= 1
    elif shape == "rectangle":
        inside = (np.abs(along) <= np.sqrt(0.8)) & (np.abs(across) <= np.sqrt(0.2))  # twice as long as wide
    else:
        inside = (along >= -0.8) & (3 * np.abs(across) <= 1 - along)  # isosceles, all corners at radius 1
    share = inside.reshape(SIDE, SAMPLES, SIDE, SAMPLES).mean((1, 3))
    return np.round(255 * share).astype(np.uint8)
