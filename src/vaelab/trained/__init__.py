"""What a run has trained, as a tool: files and objects in, the same kind out."""

from vaelab.trained.trained import Trained, load

__all__ = ["Trained", "load"]
