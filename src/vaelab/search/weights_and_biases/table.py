"""The output at the end of a sweep of W&B: a table of the trials in its folder, and the best command line."""

import os
import shlex
import sys
from collections.abc import Sequence

from vaelab.quoting import quoted
from vaelab.search.weights_and_biases.record import SweepRecord
from vaelab.search.weights_and_biases.trials import SeenTrial
from vaelab.secrets import redact_override, redact_text
from vaelab.terminal import console

SHOWN = 10  # trials in the table
_SAID = {"stopped": "ended early by W&B", "interrupted": "interrupted", "failed": "failed", "running": "running"}


def best_trial(record: SweepRecord, trials: Sequence[SeenTrial]) -> SeenTrial | None:
    """The finished trial with the best number; None if there is none."""
    ranked = _ranked(record, trials)
    return ranked[0][1] if ranked else None


def print_trials(record: SweepRecord, trials: Sequence[SeenTrial], flags: Sequence[str]) -> None:
    """Print a table of the trials and the best command line.

    Args:
        record: the record of the sweep.
        trials: the trials in its folder.
        flags: the flags of every run.
    """
    from rich.table import Table

    name, out = record.metric, console(width=None if sys.stdout.isatty() else 200)
    counts = {fate: sum(trial.fate == fate for trial in trials) for fate in ("done", *_SAID)}
    parts = [f"{count} {_SAID.get(fate, fate)}" for fate, count in counts.items() if count]
    out.print(f"\nsweep: {', '.join(parts) or 'no trial ran here'}", soft_wrap=True)
    ranked = _ranked(record, trials)
    if ranked:
        table = Table("trial", name, *record.keys)
        for number, trial in ranked[:SHOWN]:
            values = dict(word.split("=", 1) for word in trial.record.words if "=" in word)
            shown = [redact_text(values.get(key, "")) for key in record.keys]
            table.add_row(trial.record.id, f"{number:.5g}", *shown)
        out.print(table)
    lost = [trial for trial in trials if trial.fate not in ("done", "running")]
    if lost:
        table = Table("trial", "outcome", "values", "why")
        for trial in lost:
            table.add_row(trial.record.id, _SAID[trial.fate], " ".join(trial.record.proposed), trial.error)
        out.print(table)
    if ranked:
        program = ["python", "train.py"] if os.path.isfile("train.py") else ["vaelab", "train"]
        best = ranked[0][1]
        words = [redact_override(word) for word in [*record.words, *best.record.proposed]]
        out.print(f"best, trial {best.record.id}:")
        out.print(f"  {shlex.join([*program, *flags, *words])}", soft_wrap=True)
        folder = record.folder / best.record.id
        out.print("its numbers on the test split, by which no trial was chosen:")
        evaluate = shlex.join([*program, *flags, "train=false", f"ckpt_path={quoted(str(folder))}"])
        out.print(f"  {evaluate}", soft_wrap=True)


def _ranked(record: SweepRecord, trials: Sequence[SeenTrial]) -> list[tuple[float, SeenTrial]]:
    """Finished trials and their numbers, the best first."""
    found = [(trial.number(record.metric), trial) for trial in trials]
    done = [(number, trial) for number, trial in found if number is not None]
    sign = -1.0 if record.better == "max" else 1.0
    return sorted(done, key=lambda pair: sign * pair[0])
