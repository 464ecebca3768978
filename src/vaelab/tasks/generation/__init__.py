"""Task generation: the likelihood of data under a model, and the similarity of its samples to data."""

from vaelab.tasks.generation.task import Generation

__all__ = ["Generation"]
