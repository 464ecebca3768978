"""Memory allocation for tensors on a CPU."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep memory that a step frees, for the next step.

    By default it returns blocks of 32 MiB and more to the system at once, and the next step has a page fault for each
    of their pages: a product of two images of 33 MB took 21 ms instead of 4. Other C libraries are not changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _NEVER)
    mallopt(_TRIM_THRESHOLD, _NEVER)
