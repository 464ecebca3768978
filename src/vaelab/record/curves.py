"""`metrics.csv`: the curves of a run, with one row per step."""

import csv
from argparse import Namespace
from contextlib import nullcontext, suppress
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from vaelab.atomic_write import require_folder, write_file

FILE = "metrics.csv"


class CurveLogger(Logger):
    """Writes `metrics.csv` to a run folder; a resumed run continues at the step of its checkpoint.

    A row has what was logged at one step. The whole file is written from time to time and at the end. Only the last row
    changes, so the text of earlier rows is cached: a run with thousands of short epochs writes the file after each.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / FILE
        self._rows: list[dict[str, Any]] = []
        self._columns: list[str] = []  # columns of the text
        self._text, self._written = "", 0  # text of the header and the first rows, and the number of these rows
        self._unsaved = 0
        self._resumed = self.path.is_file()

    @property
    def name(self) -> str:
        """The name of the logger."""
        return "curves"

    @property
    def version(self) -> str:
        """Empty: there is one logger per folder."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the config is in the same folder."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add numbers to a step's row."""
        step = step or 0
        if self._resumed:  # rows after the last checkpoint of a killed run will be logged again
            self._resumed = False
            self._rows = [row for row in read_rows(self.path) if int(row["step"]) < step]
        values = {key: float(value) for key, value in metrics.items()}
        if self._rows and int(self._rows[-1]["step"]) == step:
            self._rows[-1] |= values
        else:
            self._rows.append({"step": step} | values)
        self._unsaved += 1
        if self._unsaved >= 100:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        if not self._rows:
            return
        known = set(self._columns)
        if not self._columns or any(key not in known for row in self._rows[self._written :] for key in row):
            found = {key for row in self._rows for key in row} - {"step"}
            self._columns, self._text, self._written = ["step", *sorted(found)], "", 0
        last = len(self._rows) - 1
        self._text += self._lines(self._rows[self._written : last], header=not self._text)
        self._written = last
        require_folder(self.path.parent)
        write_file(self.path, self._text + self._lines(self._rows[last:]))
        self._unsaved = 0

    def _lines(self, rows: list[dict[str, Any]], header: bool = False) -> str:
        """Format rows as CSV."""
        text = StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows; after a failure, ignore errors, since the failure matters more."""
        with suppress(OSError) if status == "failed" else nullcontext():
            self.save()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a `metrics.csv`, without empty cells."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the finite `(step, value)` pairs of each metric."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(path) if path.is_file() else []:
        for key, value in row.items():
            if key != "step" and isfinite(float(value)):
                curves.setdefault(key, []).append((int(row["step"]), float(value)))
    return curves
