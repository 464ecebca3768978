"""Contenders train in turns, an epoch at a time, so that their ratios hold while the machine's speed drifts.

Each is a process of its own, in whatever environment it needs: it waits for a line before its turn, and answers with
the seconds that the turn took. The others are stopped meanwhile, threads of progress bars included.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

WARM_UP = 2  # turns that are not counted: the first compiles, and the last batch of one may be short


class Clock:
    """Is told when epochs begin and end."""

    def begin(self) -> None:
        """An epoch begins."""

    def end(self) -> None:
        """It has ended."""


class TurnClock(Clock):
    """Lets a contender's epochs wait for their turns; to be made first, since what is printed later goes nowhere."""

    def __init__(self, epochs: int = 1) -> None:
        self._epochs, self._done = epochs, 0  # of a turn
        self._answers = os.fdopen(os.dup(1), "w")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.environ["TTY_COMPATIBLE"] = "1"  # progress bars are drawn as they are for a user

    def begin(self) -> None:
        """Wait for the turn, unless in the midst of it."""
        if self._done % self._epochs == 0:
            sys.stdin.readline()
            self._began = perf_counter()

    def end(self) -> None:
        """Report, where that was the last epoch of the turn."""
        self._done += 1
        if self._done % self._epochs == 0:
            print(perf_counter() - self._began, file=self._answers, flush=True)


def race(commands: Mapping[str, Sequence[str]], turns: int) -> list[dict[str, float]]:
    """Seconds of each contender, turn by turn.

    Args:
        commands: what starts each.
        turns: that count.

    Raises:
        RuntimeError: a contender ended early; with the last of what it said.
    """
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory()))
        processes = {}
        for number, (name, command) in enumerate(commands.items()):
            said = opened.enter_context(open(folder / f"{number}.txt", "w+"))
            processes[name] = subprocess.Popen(
                [*command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
            )
            opened.callback(processes[name].kill)
        taken = []
        for turn in range(WARM_UP + turns):
            row = {}
            for number, (name, process) in enumerate(processes.items()):
                assert process.stdin is not None
                assert process.stdout is not None
                process.send_signal(signal.SIGCONT)
                process.stdin.write("go\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise RuntimeError(f"{name} ended early:\n{(folder / f'{number}.txt').read_text()[-2000:]}")
                row[name] = float(answer)
                if turn:  # in the first round the others may still be importing
                    process.send_signal(signal.SIGSTOP)
            taken.append(row)
        return taken[WARM_UP:]
