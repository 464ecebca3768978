"""Task embedding: how well latents represent their examples."""

from vaelab.tasks.embedding.task import Embedding

__all__ = ["Embedding"]
