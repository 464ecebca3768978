"""How likely data is under a model, and how close its samples are to data."""

from vaelab.tasks.generation.task import Generation

__all__ = ["Generation"]
