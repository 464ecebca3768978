"""The comparison of two runs: the verdict, and the likely cause of a difference."""

from dataclasses import asdict, dataclass
from typing import Any

from vaelab.errors import printable
from vaelab.notes import counted, some
from vaelab.rerun.causes import Difference, differences, not_recorded, same_start
from vaelab.rerun.compared_run import ComparedRun, at
from vaelab.rerun.curves import Courses, courses, training_losses
from vaelab.rerun.numbers import ROUNDING, Match, Number, numbers_of_both

FILE = "rerun.json"
DIFFERS = 3  # exit code


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs, `then` (the first) and `now` (the second).

    Attributes:
        then: the folder of the first run.
        now: the folder of the second run.
        numbers: the validation and test metrics.
        courses: the training losses; None if the runs have no logged step in common.
        same_start: whether they began with the same weights; None if that is not recorded.
        first_loss: the loss of the first step; None unless both recorded it.
        differences: the differences between their records.
        not_recorded: what only one of them recorded, by the run that did not record it.
        unreadable: files that are missing or damaged, with their folder.
        hints: why results may differ although the records do not.
    """

    then: str
    now: str
    numbers: list[Number]
    courses: Courses | None
    same_start: bool | None
    first_loss: Number | None
    differences: list[Difference]
    not_recorded: dict[str, list[str]]
    unreadable: list[str]
    hints: list[str]

    @property
    def match(self) -> Match | None:
        """How well the runs match: by their metrics, or by their training losses if they share no metric.

        None if there is nothing to compare.
        """
        found = {number.match for number in self.numbers} - {Match.ONLY_THEN, Match.ONLY_NOW}
        if not found and self.courses is not None:
            by_losses = Match.SAME if self.courses.differs is None else Match.ROUNDING
            found = {Match.DIFFERENT if self.courses.beyond_rounding is not None else by_losses}
        return next((one for one in (Match.DIFFERENT, Match.ROUNDING, Match.SAME) if one in found), None)

    @property
    def exit_code(self) -> int:
        """0 if the metrics match, bit for bit or up to rounding; else 3."""
        return 0 if self.match in (Match.SAME, Match.ROUNDING) else DIFFERS

    @property
    def verdict(self) -> str:
        """The verdict in one line."""
        matches = [number.match for number in self.numbers]
        shared = [found for found in matches if found not in (Match.ONLY_THEN, Match.ONLY_NOW)]
        alone = len(matches) - len(shared)
        beside = f"; {counted(alone, 'number')} in only one of the runs" if alone else ""
        if self.match is None:
            return f"nothing to compare: the runs share no number and no training step{beside}"
        if not shared:
            assert self.courses is not None
            losses = counted(self.courses.logged, "logged training loss", "logged training losses")
            return f"{self.match}: {losses}; there are no other numbers to compare{beside}"
        if self.match == Match.SAME:
            return f"{Match.SAME}: all {counted(len(shared), 'number')}{beside}"
        if self.match == Match.ROUNDING:
            exact = shared.count(Match.SAME)
            return (
                f"{Match.ROUNDING} (relative difference <= {ROUNDING:g}): all {counted(len(shared), 'number')}, "
                f"{exact} of them the same bit for bit{beside}"
            )
        return f"{Match.DIFFERENT}: {shared.count(Match.DIFFERENT)} of {counted(len(shared), 'number')}{beside}"

    @property
    def course(self) -> str:
        """Describe the first step at which the training losses differ; empty if unknown."""
        found = self.courses
        if found is None:
            return ""
        if found.differs is None:
            losses = counted(found.logged, "logged loss", "logged losses")
            return f"training: equal in {losses}, up to step {found.last}"
        first = ", the first step that both logged" if found.differs == found.first else ""
        line = f"training: the loss first differs at step {found.differs}{first}: {found.then:.9g} then, "
        line += f"{found.now:.9g} now"
        if found.beyond_rounding is None:
            line += "; never by more than rounding"
        elif found.beyond_rounding != found.differs:
            line += f"; by more than rounding since step {found.beyond_rounding}"
        return line

    @property
    def start(self) -> str:
        """Describe how the runs began; empty if it is not recorded."""
        if self.same_start is None:
            return ""
        weights = "the same weights" if self.same_start else "different weights"
        if self.first_loss is None:
            return f"start: {weights}"
        then, now = self.first_loss.then, self.first_loss.now
        if self.first_loss.match == Match.SAME:
            return f"start: {weights}; equal loss at the first step"
        where = "; so the data, their order or the noise differ, not the initial weights" if self.same_start else ""
        return f"start: {weights}; the loss at the first step is {then:.9g} then, {now:.9g} now{where}"

    @property
    def why(self) -> str:
        """Name the likely cause of different results in one line; empty if they are equal."""
        if self.match in (Match.SAME, None):
            return ""
        causes = [one for one in self.differences if one.changes_numbers]
        if causes:
            names = some([one.what for one in causes if one.kind == causes[0].kind], 5)
            return f"the likeliest cause: {causes[0].kind}" + (f", {names}" if names != causes[0].kind else "")
        if self.hints:
            return f"nothing recorded differs; {'; '.join(self.hints)}"
        if self.not_recorded:
            return "the records of both runs agree; the cause may be something that only one of them recorded"
        return (
            "nothing recorded differs, so the results should be equal. This is probably a bug in vaelab; "
            "please report it with both run folders"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "repeats": self.then,
            "verdict": self.verdict,
            "match": None if self.match is None else str(self.match),
            "numbers": [asdict(n) | {"difference": n.difference, "match": str(n.match)} for n in self.numbers],
            "training_loss": None if self.courses is None else asdict(self.courses),
            "same_first_weights": self.same_start,
            "first_loss": None if self.first_loss is None else asdict(self.first_loss),
            "why": self.why,
            "differences": [asdict(one) for one in self.differences],
            "not_recorded": self.not_recorded,
            "unreadable": self.unreadable,
        }


def compared(then: ComparedRun, now: ComparedRun) -> Comparison:
    """Compare two runs."""
    return Comparison(
        str(then.folder),
        str(now.folder),
        numbers_of_both(then.numbers, now.numbers),
        courses(training_losses(then.folder), training_losses(now.folder)),
        same_start(then, now),
        _first_loss(then, now),
        differences(then, now),
        not_recorded(then, now),
        [f"{printable(str(run.folder), 300)}: {line}" for run in (then, now) for line in run.contents.broken],
        _hints(then, now),
    )


def _first_loss(then: ComparedRun, now: ComparedRun) -> Number | None:
    """Return the first loss of the first part of each run, if both recorded it."""
    found = [at(run.parts[0], ["first_loss"]) if run.parts else None for run in (then, now)]
    before, after = (value if isinstance(value, float) else None for value in found)
    return None if before is None or after is None else Number("first_loss", before, after)


def _hints(then: ComparedRun, now: ComparedRun) -> list[str]:
    """Return what makes results differ between equal runs on one machine."""
    found = []
    on_gpu = any(run.told("machine", "cuda") for run in (then, now))
    if on_gpu and any(run.contents.config.get("trainer.deterministic") is not True for run in (then, now)):
        found.append("a GPU sums in a different order each time, unless trainer.deterministic=true")
    compiled = any(run.told("compiled_from") for run in (then, now))
    if compiled and any(run.contents.config.get("compile") == "auto" for run in (then, now)):
        found.append("compile=auto decides by measured speed; compile=false gives the same bits each time")
    return found
