"""What latents know of their examples."""

from vaelab.tasks.embedding.task import Embedding

__all__ = ["Embedding"]
