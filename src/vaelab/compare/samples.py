"""Samples of compared image models, side by side."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vaelab.compare.table import Row
from vaelab.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 16  # samples of each model
SEED = 0


def draw_samples(rows: Iterable[Row]) -> "Figure":
    """Draw samples of each model, one row of images for each row of the comparison.

    If the run fitted a prior to its codes, they come from that, and otherwise from the model's own prior. A row with
    several runs shows its first one.

    Raises:
        ConfigError: a model does not generate images.
        UserError: a run has no readable model.
    """
    import numpy as np
    import torch
    from PIL import Image

    from vaelab.figures.images import reconstructions
    from vaelab.trained import load

    drawn = {}
    for row in rows:
        folder = row.members[0].folder
        images = load(folder).sample(SHOWN, seed=SEED)
        if not isinstance(images, list) or not all(isinstance(image, Image.Image) for image in images):
            raise ConfigError(f"--samples: {folder}: is not a model of images; leave --samples out")
        pixels = torch.from_numpy(np.stack([np.atleast_3d(np.asarray(image)) for image in images]))
        drawn[row.label] = pixels.movedim(3, 1) / 255
    return reconstructions(drawn)
