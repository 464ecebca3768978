"""How much of a corruption is undone."""

from vaelab.tasks.denoising.task import Denoising

__all__ = ["Denoising"]
