"""Signals while jobs run elsewhere: they are noted, so that nothing is interrupted in the middle."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from vaelab.signals import ENDING, Terminated, handling, silence_lost_output


@dataclass
class Told:
    """What signals have told this process.

    Attributes:
        signal: the first one; None for none.
        impatient: whether Ctrl-C was pressed after it.
    """

    signal: int | None = None
    impatient: bool = False

    @property
    def exit_code(self) -> int:
        """128 + the signal; 0 for none."""
        return 0 if self.signal is None else Terminated(self.signal).exit_code


@contextmanager
def listening(told: Told | None = None) -> Iterator[Told]:
    """Note the signals that end a process, except those that it was started to ignore, such as SIGHUP under nohup.

    Args:
        told: takes the note; a new one if there is none yet.
    """
    heard = Told() if told is None else told

    def note(number: int, frame: FrameType | None) -> None:
        silence_lost_output()
        heard.impatient = heard.impatient or (heard.signal is not None and number == signal.SIGINT)
        heard.signal = heard.signal or number

    with handling(note, ENDING):
        yield heard
