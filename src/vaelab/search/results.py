"""What a search leaves: a table, the best command line, `search.csv`, figures and `sweep.html`."""

import shlex
import sys
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vaelab.atomic_write import write_file
from vaelab.csv_text import csv_text
from vaelab.record.page import fold, page
from vaelab.record.page import table as html_table
from vaelab.record.pictures import gallery
from vaelab.search.settings import Search
from vaelab.search.space import Range
from vaelab.search.study import SharedStudy, TrialRecord
from vaelab.secrets import redact_override, redact_text
from vaelab.terminal import console

SHOWN = 10  # trials in the table on the terminal
FRONT = 5  # command lines of a Pareto front on the terminal
CSV, PAGE = "search.csv", "sweep.html"
_ORDER = ("done", "pruned", "failed", "running", "waiting")
_NAMED = {"waiting": "not done"}


class Results:
    """The trials of a search, as they are now.

    Args:
        search: what was searched.
        study: of its workers.
        program: how a run is started: `python train.py`.
        flags: of every run.
    """

    def __init__(self, search: Search, study: SharedStudy, program: Sequence[str], flags: Sequence[str]) -> None:
        self.search = search
        self._study = study
        self._program, self._flags = program, flags
        self.trials = study.trials()
        self.best = study.best()

    @property
    def failed(self) -> list[TrialRecord]:
        """Trials that failed and were not run again."""
        return [trial for trial in self.trials if trial.fate == "failed" and not trial.replaced]

    @property
    def missing(self) -> list[TrialRecord]:
        """Trials that wait or run."""
        return [trial for trial in self.trials if trial.fate in ("waiting", "running")]

    @property
    def summary(self) -> str:
        """Such as `12 done, 5 pruned, 1 failed`."""
        counts = {fate: sum(t.fate == fate and not t.replaced for t in self.trials) for fate in _ORDER}
        return ", ".join(f"{count} {_NAMED.get(fate, fate)}" for fate, count in counts.items() if count)

    def command(self, trial: TrialRecord) -> str:
        """What trains the model of a trial again, on its own, and tests it."""
        words = [redact_override(word) for word in [*self.search.words, *(trial.words or [])]]
        return shlex.join([*self._program, *self._flags, *words])

    def show(self) -> None:
        """Print the table and the best command line."""
        from rich.table import Table

        out = console(width=None if sys.stdout.isatty() else 200)
        out.print(f"\nsearch: {self.summary}", soft_wrap=True)
        ranked = self._ranked()
        if ranked:
            names = [objective.name for objective in self.search.objectives]
            table = Table("trial", *names, *self.search.space)
            for heading in table.columns[1 : 1 + len(names)]:
                heading.justify = "right"
            for trial in ranked[: max(SHOWN, len(self.best))]:
                mark = " *" if trial.number in self.best else ""
                values = [f"{value:.5g}" for value in trial.values]
                table.add_row(f"{trial.number}{mark}", *values, *self._settings(trial))
            out.print(table)
        if self.failed:
            table = Table("failed trial", "why", *self.search.space)
            for trial in self.failed:
                table.add_row(str(trial.number), trial.error, *self._settings(trial))
            out.print(table)
        best = [trial for trial in ranked if trial.number in self.best]
        for trial in best[:FRONT]:
            out.print(f"{'Pareto front' if len(self.search.objectives) > 1 else 'best'}, trial {trial.number}:")
            out.print(f"  {self.command(trial)}", soft_wrap=True)
        if len(best) > FRONT:
            out.print(f"and {len(best) - FRONT} more in {self.search.folder / CSV}", soft_wrap=True)
        if best:
            folder = self.search.folder / str(best[0].number)
            evaluate = shlex.join([*self._program, *self._flags, "train=false", f"ckpt_path={folder}"])
            whose = "its numbers" if len(best) == 1 else "the numbers of the first"
            out.print(f"{whose} on the test split, by which no trial was chosen:")
            out.print(f"  {evaluate}", soft_wrap=True)

    def write(self) -> None:
        """`search.csv`, the figures as PNG, and the page."""
        from vaelab.search.figures import search_figures  # matplotlib takes a while

        folder = self.search.folder
        write_file(folder / CSV, self._csv())
        pictures: dict[str, bytes] = {}
        for name, figure in search_figures(self.search, self.trials, self.best, self._study.importance()).items():
            buffer = BytesIO()
            figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
            pictures[name] = buffer.getvalue()
            write_file(folder / f"{name}.png", pictures[name])
        write_file(folder / PAGE, self._page(pictures))

    def _ranked(self) -> list[TrialRecord]:
        """Trials that are done, the best first; of several objectives the front first."""
        first = self.search.objectives[0]
        sign = -1.0 if first.better == "max" else 1.0
        done = [trial for trial in self.trials if trial.fate == "done"]
        return sorted(done, key=lambda trial: (trial.number not in self.best, sign * trial.values[0], trial.number))

    def _settings(self, trial: TrialRecord) -> list[str]:
        return [_shown(trial.params.get(key)) for key in self.search.space]

    def _csv(self) -> str:
        names = [objective.name for objective in self.search.objectives]
        head = [
            "trial",
            "outcome",
            *names,
            *self.search.space,
            "best",
            "validations",
            "seconds",
            "folder",
            "command",
            "why",
        ]
        lines: list[list[Any]] = []
        for trial in self.trials:
            values: list[Any] = [*trial.values] or [None] * len(names)
            line = [trial.number, _NAMED.get(trial.fate, trial.fate), *values]
            line += [trial.params.get(key) for key in self.search.space]
            line += ["yes" if trial.number in self.best else "", len(trial.reported) or None, trial.seconds or None]
            folder = self.search.folder / str(trial.number)
            line += [str(folder) if folder.is_dir() else "", self.command(trial) if trial.words else "", trial.error]
            lines.append(line)
        return csv_text(head, lines)

    def _page(self, pictures: dict[str, bytes]) -> str:
        best = [trial for trial in self._ranked() if trial.number in self.best]
        parts = []
        for trial in best:
            title = (
                f"<h2>{'Pareto front, trial' if len(self.search.objectives) > 1 else 'Best: trial'} {trial.number}</h2>"
            )
            if len(best) == 1:
                parts += [title, self._code(trial)]
        parts.append(self._table([*self._ranked(), *(t for t in self.trials if t.fate != "done")]))
        parts.append(gallery(pictures))
        folds = []
        if len(best) > 1:
            lines = "".join(f"<h3>trial {trial.number}</h3>{self._code(trial)}" for trial in best)
            folds.append(fold("command lines of the Pareto front", lines, unfolded=len(best) <= FRONT))
        folds.append(fold("the space", self._space()))
        parts.append('<div class="folds">' + "\n".join(folds) + "</div>")
        names = ", ".join(
            f"{one.name} ({'more' if one.better == 'max' else 'less'} is better)" for one in self.search.objectives
        )
        about = f"{len(self.trials)} trials: {self.summary}. Searched for: {names}, of the validation split."
        return page(f"Search {self.search.folder.name}", about, self.search.command, parts)

    def _code(self, trial: TrialRecord) -> str:
        return f'<div class="command"><code>{escape(self.command(trial))}</code></div>'

    def _table(self, trials: Sequence[TrialRecord]) -> str:
        objectives = self.search.objectives
        head = ['<th scope="col">trial</th>', '<th scope="col" data-kind="text">outcome</th>']
        for one in objectives:
            below = f"<small>{'more' if one.better == 'max' else 'less'} is better</small>"
            head.append(f'<th scope="col" class="n" data-better="{one.better}">{escape(one.name)}{below}</th>')
        head += [f'<th scope="col">{escape(key)}</th>' for key in self.search.space]
        head.append('<th scope="col" class="n">seconds</th>')
        rows = []
        for trial in trials:
            wins = trial.number in self.best
            cells = f"<td>{escape(self._outcome(trial))}</td>"
            for place in range(len(objectives)):
                if not trial.values:
                    cells += "<td></td>"
                    continue
                value = trial.values[place]
                text = f"<b>{value:.5g}</b>" if wins else f"{value:.5g}"
                cells += f'<td class="n{" best" if wins else ""}" data-value="{value!r}">{text}</td>'
            for key in self.search.space:
                given = trial.params.get(key)
                data = f' data-value="{given!r}"' if isinstance(given, int | float) else ""
                cells += (
                    f'<td class="n"{data}>{escape(_shown(given))}</td>' if data else f"<td>{escape(_shown(given))}</td>"
                )
            seconds = (
                f'<td class="n" data-value="{trial.seconds!r}">{trial.seconds:.0f}</td>'
                if trial.seconds
                else "<td></td>"
            )
            rows.append(f'<tr><th scope="row">{self._link(trial)}</th>{cells}{seconds}</tr>')
        return html_table("trials", head, rows, "sortable compared")

    def _outcome(self, trial: TrialRecord) -> str:
        if trial.fate == "pruned":
            return f"pruned after {len(trial.reported)} validations"
        if trial.fate == "failed":
            return f"failed: {redact_text(trial.error)}" + (", run again later" if trial.replaced else "")
        return _NAMED.get(trial.fate, trial.fate)

    def _link(self, trial: TrialRecord) -> str:
        report = Path(str(trial.number), "report.html")
        if not (self.search.folder / report).is_file():
            return str(trial.number)
        return f'<a href="{quote(report.as_posix())}">{trial.number}</a>'

    def _space(self) -> str:
        rows = []
        for key, entry in self.search.space.items():
            ends = entry.ends(key)
            shown = ", ".join(word.partition("=")[2] for word in ends)
            if isinstance(entry, Range):
                values = [word.partition("=")[2] for word in ends]
                shown = f"{values[0]} to {values[1]}" + (", by orders of magnitude" if entry.log else "")
            rows.append(f'<tr><th scope="row">{escape(key)}</th><td>{escape(shown)}</td></tr>')
        return html_table("the space", ['<th scope="col">key</th>', '<th scope="col">values</th>'], rows)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
