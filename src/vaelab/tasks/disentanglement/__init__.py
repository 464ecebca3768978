"""Task disentanglement: whether single latent variables stand for single factors of variation."""

from vaelab.tasks.disentanglement.task import Disentanglement

__all__ = ["Disentanglement"]
