"""Figures, drawn without a display."""

from vaelab.figures.curves import loss_curves
from vaelab.figures.images import image_grid, reconstructions, traversals

__all__ = ["image_grid", "loss_curves", "reconstructions", "traversals"]
