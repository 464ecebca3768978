"""Task denoising: how much of a corruption the model removes."""

from vaelab.tasks.denoising.task import Denoising

__all__ = ["Denoising"]
