"""Signals that end a process: with one line before a run begins, as an exception while it is prepared.

Needs nothing but the standard library, since it also runs where nothing else is installed.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import sleep
from types import FrameType
from typing import Any, NoReturn

from vaelab.living_process import born_of, is_alive

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # Windows lacks two of them

ENDS_WITH = "VAELAB_ENDS_WITH"
"""Environment variable: the number and the start of the process that started this one, which ends soon after it."""
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
def ending_at_once(message: str = NOT_BEGUN) -> Iterator[None]:
    """While modules are imported, a signal ends the process with one line and without a run folder.

    An exception in the middle of an import may be swallowed by the module that it hits, or come out as an ImportError.

    Args:
        message: the line.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        if folders := sys.modules.get("vaelab.run_folder"):
            folders.discard_unstarted()
        if is_first():
            os.write(2, f"error: {message}\n".encode())  # a stream may be in the middle of writing something else
        os._exit(_code(number))

    with handling(end, ENDING):
        yield


@contextmanager
def raising_when_told_to_end() -> Iterator[None]:
    """While a run is prepared, every signal that ends a process raises, as Ctrl-C does anyway.

    Raises:
        Terminated: there was such a signal, and nothing else has taken over its handling since.
    """

    with handling(raise_terminated, [number for number in ENDING if number != signal.SIGINT]):
        yield


def raise_terminated(number: int, frame: FrameType | None) -> None:
    """The handler of signals while a run is prepared; the run itself may take its place.

    Raises:
        Terminated: nothing else has taken over the signal.
    """
    if signal.getsignal(number) is raise_terminated:  # else called by Lightning's handler, which knows when to stop
        raise Terminated(number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], Any], numbers: Any) -> Iterator[None]:
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


def ends_with_this_process() -> str:
    """The value of `VAELAB_ENDS_WITH` for a process that should end with this one."""
    return f"{os.getpid()}:{born_of(os.getpid()) or ''}"


def end_with_parent() -> None:
    """End when the process is gone that `VAELAB_ENDS_WITH` names: it may be killed before it can end this one.

    Without the variable nothing is watched: a run or a search that a user has started outlives its shell if the shell
    or `nohup` lets it. The first process of a run sets it for those that it starts for other devices. The variable is
    taken out: what a run starts in the background is its own affair.
    """
    parent, _, born = os.environ.pop(ENDS_WITH, "").partition(":")
    if parent.isdecimal():
        begun = int(born) if born.isdecimal() else None
        threading.Thread(target=_watch, args=(int(parent), begun), name="parent", daemon=True).start()


def _watch(parent: int, born: int | None) -> None:
    """Wait for the end of a process. It need not have started this one directly: a wrapper may stand between them."""
    direct = os.getppid() == parent
    while is_alive(parent, born) is not False and not (direct and os.getppid() != parent):
        sleep(_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_PATIENCE)
    os._exit(_code(signal.SIGTERM))


def _code(number: int) -> int:
    """128 + the number; SIGUSR1 is how schedulers announce a SIGTERM, and ends as that."""
    return 128 + (signal.SIGTERM if number == getattr(signal, "SIGUSR1", None) else number)


def silence_lost_output() -> bool:
    """Whether the terminal or program that read this process's output is gone.

    What is printed there from now on goes nowhere: it would be an error each time, and end the saving.
    """
    lost = False
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError, AttributeError):
            handle = stream.fileno()  # type: ignore[union-attr]
            watched = select.poll()
            watched.register(handle, 0)  # POLLERR and POLLHUP are always told
            if watched.poll(0):
                os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
                lost = True
    return lost


def say(line: str) -> None:
    """One line for the person at the keyboard; the other processes of a run over several devices stay silent."""
    if is_first():
        print(line, file=sys.stderr, flush=True)


def is_first() -> bool:
    """Whether this is the only process of a run, or the first: by torchrun, by Lightning, by SLURM."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def is_first_of_node() -> bool:
    """Whether this is the first process of a run on its machine: what is wrong there, it can say for the others."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))
