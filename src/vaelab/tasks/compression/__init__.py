"""Task compression: the distortion of a code, and its rate in bits."""

from vaelab.tasks.compression.task import Compression

__all__ = ["Compression"]
