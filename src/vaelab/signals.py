"""Signals that end a process: with one line before a run begins, as an exception while it is prepared.

Needs nothing but the standard library, since it also runs where nothing else is installed.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep
from types import FrameType
from typing import Any, NoReturn

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # Windows lacks two of them

ENDS_WITH = "VAELAB_ENDS_WITH"
"""Environment variable: the process that started this one, which ends soon after it."""
_LOOK = 1.0  # seconds between looks at that process
_PATIENCE = 60.0  # seconds to end by itself once it is gone
NOT_BEGUN = "interrupted before the run began"


class Terminated(KeyboardInterrupt):
    """Told to end by a signal other than Ctrl-C's. What stops for Ctrl-C stops for it too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = _code(number)


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 + the number of the signal, as shells and schedulers expect: 130 after Ctrl-C, 143 after SIGTERM."""
    return stop.exit_code if isinstance(stop, Terminated) else 128 + signal.SIGINT


@contextmanager
def ending_at_once() -> Iterator[None]:
    """While modules are imported, a signal ends the process with one line and without a run folder.

    An exception in the middle of an import may be swallowed by the module that it hits, or come out as an ImportError.
    """
    with _handling(_end, ENDING):
        yield


@contextmanager
def raising_when_told_to_end() -> Iterator[None]:
    """While a run is prepared, every signal that ends a process raises, as Ctrl-C does anyway.

    Raises:
        Terminated: there was such a signal, and nothing else has taken over its handling since.
    """

    with _handling(raise_terminated, [number for number in ENDING if number != signal.SIGINT]):
        yield


def raise_terminated(number: int, frame: FrameType | None) -> None:
    """The handler of signals while a run is prepared; the run itself may take its place.

    Raises:
        Terminated: nothing else has taken over the signal.
    """
    if signal.getsignal(number) is raise_terminated:  # else called by Lightning's handler, which knows when to stop
        raise Terminated(number)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], Any], numbers: Any) -> Iterator[None]:
    """Handle signals, except those that the process was started to ignore, such as SIGHUP under nohup."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        known = {number: signal.getsignal(number) for number in numbers}
        before = {number: old for number, old in known.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    hear_signals()
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def holding_signals() -> Iterator[None]:
    """Keep back the signals that end a process; a process that is started meanwhile keeps them until `hear_signals`."""
    if hasattr(signal, "pthread_sigmask"):  # Windows lacks it
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        hear_signals()


def hear_signals() -> None:
    """Hear the signals that were kept back while this process started, and those that come."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def end_with_parent() -> None:
    """End when the process is gone that `VAELAB_ENDS_WITH` names: it may be killed before it can end this one.

    The variable is taken out: the other processes of a run over several devices end with its first one.
    """
    parent = os.environ.pop(ENDS_WITH, "")
    if parent.isdecimal():
        threading.Thread(target=_watch_parent, args=(int(parent),), name="parent", daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_PATIENCE)
    os._exit(_code(signal.SIGTERM))


def _end(number: int, frame: FrameType | None) -> NoReturn:
    if folders := sys.modules.get("vaelab.run_folder"):
        folders.discard_unstarted()
    if _is_first():
        os.write(2, f"error: {NOT_BEGUN}\n".encode())  # a stream may be in the middle of writing something else
    os._exit(_code(number))


def _code(number: int) -> int:
    """128 + the number; SIGUSR1 is how schedulers announce a SIGTERM, and ends as that."""
    return 128 + (signal.SIGTERM if number == getattr(signal, "SIGUSR1", None) else number)


def say(line: str) -> None:
    """One line for the person at the keyboard; the other processes of a run over several devices stay silent."""
    if _is_first():
        print(line, file=sys.stderr, flush=True)


def _is_first() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"
