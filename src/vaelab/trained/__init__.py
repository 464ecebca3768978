"""A trained model, ready for use: it takes files and objects, and returns the same kind."""

from vaelab.trained.trained import Trained, load

__all__ = ["Trained", "load"]
