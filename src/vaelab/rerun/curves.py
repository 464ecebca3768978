"""The first step at which the training losses of two runs differ."""

import csv
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from vaelab.rerun.compared_run import read_text
from vaelab.rerun.numbers import Match, match

FILE = "metrics.csv"
LOSSES = ("train/loss_step", "train/loss")  # the mean since the last log, and the mean of an epoch
Place = tuple[int, str]  # a step and the name of a loss
LARGEST = 2**28  # bytes of the largest file that is read


@dataclass(frozen=True)
class Courses:
    """The training losses at steps that both runs logged. Each is a mean over the steps before its log.

    Attributes:
        logged: the number of shared logged losses.
        first: the first shared step.
        last: the last shared step.
        differs: the first step at which the losses are not equal bit for bit; None if all are equal.
        then: the loss of the first run at that step.
        now: the loss of the second run at that step.
        beyond_rounding: the first step at which they differ by more than rounding; None if there is none.
    """

    logged: int
    first: int
    last: int
    differs: int | None = None
    then: float | None = None
    now: float | None = None
    beyond_rounding: int | None = None


def training_losses(folder: Path) -> dict[Place, float]:
    """Read the logged training losses, as far as the file can be read; empty if there is no file."""
    found: dict[Place, float] = {}
    try:
        for row in csv.DictReader(StringIO(read_text(folder / FILE, LARGEST) or "", newline="")):
            for name in LOSSES:
                if row.get(name):
                    found[int(row["step"]), name] = float(row[name])
    except (ValueError, KeyError, TypeError, csv.Error):  # truncated or edited
        pass
    return found


def courses(then: dict[Place, float], now: dict[Place, float]) -> Courses | None:
    """Compare the losses of two runs; None if they share no step."""
    shared = sorted(then.keys() & now.keys(), key=lambda place: (place[0], LOSSES.index(place[1])))
    if not shared:
        return None
    matches = [(place, match(then[place], now[place])) for place in shared]
    parted = next((place for place, found in matches if found != Match.SAME), None)
    beyond = next((step for (step, _), found in matches if found == Match.DIFFERENT), None)
    first, last = shared[0][0], shared[-1][0]
    if parted is None:
        return Courses(len(shared), first, last)
    return Courses(len(shared), first, last, parted[0], then[parted], now[parted], beyond)
