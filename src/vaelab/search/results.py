"""The results of a search: rows of trials, and the table, `search.csv`, figures and `sweep.html` made from them."""

import shlex
from collections.abc import Sequence
from html import escape
from math import isfinite

from vaelab.atomic_write import write_file
from vaelab.notes import counted
from vaelab.record.page import table as html_table
from vaelab.record.sweep import Status
from vaelab.search.settings import Search
from vaelab.search.space import Choices, Range
from vaelab.search.study import Fate, SharedStudy, TrialRecord
from vaelab.secrets import redact_override, redact_text
from vaelab.sweep_page.csv_file import as_csv
from vaelab.sweep_page.end import PAGE, write
from vaelab.sweep_page.outcomes import Entry, Key, Measure, Outcomes, Ranking
from vaelab.sweep_page.terminal import show

CSV = "search.csv"
__all__ = ["CSV", "PAGE", "Results"]
_STATUS: dict[Fate, Status] = {
    "done": Status.DONE,
    "pruned": Status.PRUNED,
    "failed": Status.FAILED,
    "running": Status.RUNNING,
    "waiting": Status.NOT_STARTED,
}
_NAMED = {"waiting": "not done"}


class Results:
    """The current trials of a search.

    Args:
        search: the search.
        study: the study of its workers.
        program: how a run is started: `python train.py`.
        flags: the flags of every run.
    """

    def __init__(self, search: Search, study: SharedStudy, program: Sequence[str], flags: Sequence[str]) -> None:
        self.search = search
        self._study = study
        self._program, self._flags = program, flags
        self.trials = study.trials()
        self.best = study.best()

    @property
    def failed(self) -> list[TrialRecord]:
        """Return trials that failed and were not run again."""
        return [trial for trial in self.trials if trial.fate == "failed" and not trial.replaced]

    @property
    def missing(self) -> list[TrialRecord]:
        """Return trials that wait or run."""
        return [trial for trial in self.trials if trial.fate in ("waiting", "running")]

    @property
    def summary(self) -> str:
        """Return a summary such as `12 done, 5 pruned, 1 failed`."""
        counts = {fate: sum(t.fate == fate and not t.replaced for t in self.trials) for fate in _STATUS}
        return ", ".join(f"{count} {_NAMED.get(fate, fate)}" for fate, count in counts.items() if count)

    def command(self, trial: TrialRecord) -> str:
        """Return the command that trains and tests the model of a trial again."""
        words = [redact_override(word) for word in [*self.search.words, *(trial.words or [])]]
        return shlex.join([*self._program, *self._flags, *words])

    def show(self) -> None:
        """Print the table and the best command line."""
        show(self._outcomes(), CSV)

    def write(self) -> None:
        """Write `search.csv`, the figures as PNG, and the page.

        Raises:
            OSError: the folder cannot be written.
        """
        write(self._outcomes(self._study.importance()), CSV, self._space())

    def write_csv(self) -> None:
        """Write only `search.csv`, which is fast.

        Raises:
            OSError: the folder cannot be written.
        """
        write_file(self.search.folder / CSV, as_csv(self._outcomes()))

    def _outcomes(self, importance: Sequence[dict[str, float]] = ()) -> Outcomes:
        entries = {trial.number: self._entry(trial) for trial in self.trials}
        ranked = tuple(entries[trial.number] for trial in self._ranked())
        best = tuple(number for number in self.best if len(entries[number].numbers) == len(self.search.objectives))
        measures = tuple(Measure(one.name, one.better) for one in self.search.objectives)
        shares = tuple(importance) if any(importance) else ()
        return Outcomes(
            "trial", self.search.folder, self.search.command, self.summary, tuple(entries.values()), self._keys(),
            frozenset(), (Ranking(measures, ranked, best, "", shares),),
        )  # fmt: skip

    def _entry(self, trial: TrialRecord) -> Entry:
        values = zip(self.search.objectives, trial.values, strict=False)
        return Entry(
            trial.number,
            _STATUS[trial.fate],
            self._outcome(trial),
            dict(trial.params),
            {objective.name: value for objective, value in values if isfinite(value)},
            str(trial.number),
            self.command(trial) if trial.words else "",
            redact_text(trial.error),
            trial.seconds or None,
            dict(trial.reported),
            trial.replaced,
        )

    def _ranked(self) -> list[TrialRecord]:
        """Return finished trials, the best first; with several objectives, the Pareto front first."""
        first = self.search.objectives[0]
        sign = -1.0 if first.better == "max" else 1.0
        done = [trial for trial in self.trials if trial.fate == "done"]
        return sorted(done, key=lambda trial: (trial.number not in self.best, sign * trial.values[0], trial.number))

    def _keys(self) -> tuple[Key, ...]:
        return tuple(
            Key(key, tuple(entry.names))
            if isinstance(entry, Choices)
            else Key(key, (), entry.low, entry.high, entry.log)
            for key, entry in self.search.space.items()
        )

    def _outcome(self, trial: TrialRecord) -> str:
        if trial.fate == "pruned":
            return f"pruned after {counted(len(trial.reported), 'validation')}"
        if trial.fate == "failed":
            return "failed" + (", run again later" if trial.replaced else "")
        return _NAMED.get(trial.fate, trial.fate)

    def _space(self) -> str:
        rows = []
        for key, entry in self.search.space.items():
            ends = entry.ends(key)
            shown = ", ".join(word.partition("=")[2] for word in ends)
            if isinstance(entry, Range):
                values = [word.partition("=")[2] for word in ends]
                shown = f"{values[0]} to {values[1]}" + (", on a logarithmic scale" if entry.log else "")
            rows.append(f'<tr><th scope="row">{escape(key)}</th><td>{escape(shown)}</td></tr>')
        return html_table("the space", ['<th scope="col">key</th>', '<th scope="col">values</th>'], rows)
