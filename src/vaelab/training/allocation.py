"""Where the memory of tensors comes from on a processor."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one.

    It hands blocks of 32 MiB and more back to the system at once, and the next step waits for each of their pages
    anew: a product of two images of 33 MB took 21 ms instead of 4. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _NEVER)
    mallopt(_TRIM_THRESHOLD, _NEVER)
