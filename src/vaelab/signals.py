"""Signals that end a process: one line before a run begins, an exception while it is prepared.

Needs only the standard library, since it also runs if nothing else is installed.
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
"""Environment variable: id and start time of the parent process; this process ends soon after the parent."""
_LOOK = 1.0  # seconds between checks of that process
_PATIENCE = 60.0  # seconds for a normal end after the parent has ended
NOT_BEGUN = "interrupted before the run began"


class Terminated(KeyboardInterrupt):
    """A signal other than SIGINT has asked this process to end. Code that handles Ctrl-C handles it too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = _code(number)


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 + the number of the signal, as shells and schedulers expect: 130 after Ctrl-C, 143 after SIGTERM."""
    return stop.exit_code if isinstance(stop, Terminated) else 128 + signal.SIGINT


@contextmanager
def ending_at_once(message: str = NOT_BEGUN) -> Iterator[None]:
    """During imports, end the process on a signal with one line and without a run folder.

    An exception during an import may be suppressed by the module, or be turned into an ImportError.

    Args:
        message: the line to print.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        if folders := sys.modules.get("vaelab.run_folder"):
            folders.discard_unstarted()
        if is_first():
            os.write(2, f"error: {message}\n".encode())  # a Python stream may be in the middle of another write
        os._exit(_code(number))

    with handling(end, ENDING):
        yield


@contextmanager
def raising_when_told_to_end() -> Iterator[None]:
    """While a run is prepared, raise an exception on every signal that ends a process, as Ctrl-C does anyway.

    Raises:
        Terminated: there was such a signal, and no other handler has been installed since.
    """

    with handling(raise_terminated, [number for number in ENDING if number != signal.SIGINT]):
        yield


def raise_terminated(number: int, frame: FrameType | None) -> None:
    """Handle signals while a run is prepared; the run itself may install another handler.

    Raises:
        Terminated: no other handler is installed for the signal.
    """
    if (
        signal.getsignal(number) is raise_terminated
    ):  # else it was called by Lightning's handler, which decides when to stop
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
    """Block the signals that end a process; a child process started meanwhile blocks them until `hear_signals`."""
    if hasattr(signal, "pthread_sigmask"):  # Windows lacks it
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        hear_signals()


def hear_signals() -> None:
    """Unblock the signals that were blocked while this process started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def ends_with_this_process() -> str:
    """Return the value of `VAELAB_ENDS_WITH` for a process that should end together with this one."""
    return f"{os.getpid()}:{born_of(os.getpid()) or ''}"


def end_with_parent() -> None:
    """End this process after the process that `VAELAB_ENDS_WITH` names, which may be killed before it can end this one.

    Without the variable nothing is watched, so a run that a user started may outlive its shell, for example under
    `nohup`. The first process of a run sets the variable for the processes of other devices. It is removed here, so
    that background processes of a run do not inherit it.
    """
    parent, _, born = os.environ.pop(ENDS_WITH, "").partition(":")
    if parent.isdecimal():
        begun = int(born) if born.isdecimal() else None
        threading.Thread(target=_watch, args=(int(parent), begun), name="parent", daemon=True).start()


def _watch(parent: int, born: int | None) -> None:
    """Wait for the end of a process. It need not be the direct parent: there may be a wrapper process between them."""
    direct = os.getppid() == parent
    while is_alive(parent, born) is not False and not (direct and os.getppid() != parent):
        sleep(_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_PATIENCE)
    os._exit(_code(signal.SIGTERM))


def _code(number: int) -> int:
    """Return 128 + the number. Schedulers announce a SIGTERM by SIGUSR1, so both give the code of SIGTERM."""
    return 128 + (signal.SIGTERM if number == getattr(signal, "SIGUSR1", None) else number)


def silence_lost_output() -> bool:
    """Whether the terminal or program that read this process's output has ended.

    Further output is discarded then: it would raise an error each time, and interrupt saving.
    """
    lost = False
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError, AttributeError):
            handle = stream.fileno()  # type: ignore[union-attr]
            watched = select.poll()
            watched.register(handle, 0)  # POLLERR and POLLHUP are always reported
            if watched.poll(0):
                os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
                lost = True
    return lost


def say(line: str) -> None:
    """Print one line for the user; only the first process of a run on several devices prints."""
    if is_first():
        print(line, file=sys.stderr, flush=True)


def is_first() -> bool:
    """Whether this is the only or first process of a run, according to torchrun, Lightning or SLURM."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def is_first_of_node() -> bool:
    """Whether this is the first process of a run on its machine, which reports errors of the machine for all."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))
