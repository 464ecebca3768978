"""Environment variables that set the number of threads: the order of sums, and so the last bits, depend on them.

Imports no heavy modules: libraries read the variables when they are imported.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST = 256  # largest number of threads that a file may set


def thread_variables() -> dict[str, str]:
    """Return the variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


@contextmanager
def threads_as_recorded(recorded: Mapping[str, Any]) -> Iterator[list[str]]:
    """Set the variables as in a recorded run. Variables that are already set keep their values.

    Args:
        recorded: the recorded result of `thread_variables`; invalid numbers of threads are ignored.

    Yields:
        The variables that were set, such as `OMP_NUM_THREADS=1`.
    """
    chosen = {
        name: text
        for name in VARIABLES
        if name not in os.environ and isinstance(text := recorded.get(name), str) and _is_count(text)
    }
    os.environ.update(chosen)
    try:
        yield [f"{name}={text}" for name, text in chosen.items()]
    finally:
        for name in chosen:
            os.environ.pop(name, None)


def _is_count(text: str) -> bool:
    return len(text) <= 3 and text.isdecimal() and text.isascii() and 1 <= int(text) <= MOST
