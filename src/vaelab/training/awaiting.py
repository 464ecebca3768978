"""Handle signals while torch waits for the other processes of a run, when Python's own handlers do not run."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic
from typing import NoReturn

import lightning.pytorch as L
from torch.distributed.constants import default_pg_timeout

from vaelab.signals import is_first
from vaelab.stopped_processes import StoppedProcesses, say_last

ANSWER = 3.0  # seconds for the process to end by itself
LOOK = 0.5  # seconds between looks
EXIT: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGHUP: 129}


@contextmanager
def ending_while_others_are_awaited(trainer: L.Trainer, failed: Callable[[str], None]) -> Iterator[None]:
    """End with one message if a signal arrives, or another process is stopped, while processes wait for each other.

    torch waits for the others within its own code for up to half an hour. Python runs a signal handler only between two
    of its instructions, so it would not run until the wait is over. The system writes the signal to a file at once, and
    a thread reads it.

    Args:
        trainer: of the run.
        failed: records in the run folder why the run has ended.
    """
    main = threading.current_thread() is threading.main_thread()
    if trainer.world_size < 2 or not main:
        yield
        return
    strategy = trainer.strategy
    set_up = strategy.setup_environment

    def set_up_environment() -> None:
        watch.meeting.set()
        try:
            set_up()
        finally:
            watch.meeting.clear()

    strategy.setup_environment = set_up_environment  # type: ignore[method-assign]
    reading, writing = os.pipe()
    watch = _Watch(reading, failed, getattr(strategy, "_timeout", None) or default_pg_timeout)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=watch.run, name="signals before the meeting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        strategy.setup_environment = set_up  # type: ignore[method-assign]
        watch.over.set()
        thread.join()
        os.close(writing)
        os.close(reading)


class _Watch:
    """Watches for signals and for the other processes during the wait."""

    def __init__(self, reading: int, failed: Callable[[str], None], patience: timedelta) -> None:
        self.meeting, self.over = threading.Event(), threading.Event()
        self._reading, self._failed, self._patience = reading, failed, patience.total_seconds()

    def run(self) -> None:
        """Watch until the wait is over."""
        stopped = StoppedProcesses()
        began: float | None = None
        told: tuple[int, float] | None = None  # the exit code after the first signal, and its time
        while not self.over.is_set():
            ready, _, _ = select.select([self._reading], [], [], LOOK)
            read = os.read(self._reading, 1) if ready else b""
            code = EXIT.get(read[0]) if read else None
            if not self.meeting.is_set():
                began = told = None
                continue
            now = monotonic()
            began = now if began is None else began
            told = told or (None if code is None else (code, now))
            if told is not None and now - told[1] > ANSWER:
                self._end("interrupted while waiting for the other processes of this run", told[0])
            stopped.end_if_lost(self._failed)
            if now - began > self._patience:
                self._end(f"the other processes of this run have not come within {self._patience:.0f} seconds", 1)

    def _end(self, why: str, code: int) -> NoReturn:
        if is_first():
            say_last(why, self._failed)
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
