"""What is lost through a code, and how many bits it costs."""

from vaelab.tasks.compression.task import Compression

__all__ = ["Compression"]
