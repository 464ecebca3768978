"""Compare every row of a table with a baseline row, over the seeds that both have."""

import os
from dataclasses import dataclass
from pathlib import Path

from vaelab.compare.intervals import Paired, paired
from vaelab.compare.table import Row, Table
from vaelab.config.nearest import did_you_mean
from vaelab.errors import ConfigError
from vaelab.metrics import direction


@dataclass(frozen=True)
class Against:
    """Differences from a baseline row.

    Attributes:
        baseline: the baseline row.
        others: all other rows, each with its differences by column; columns without a shared seed are absent.
    """

    baseline: Row
    others: list[tuple[Row, dict[str, Paired]]]


def against(table: Table, named: str) -> Against:
    """Compare the rows of a table with the row that is named.

    Args:
        table: the table of a comparison.
        named: a run folder of the row, a folder that contains only runs of it, its label, or words of its label that no
            other row has.

    Raises:
        ConfigError: no row matches, or several do.
    """
    baseline = _row(table, named)
    others = []
    for row in table.rows:
        if row is not baseline:
            found = {
                column: paired(row.by_seed.get(column, {}), baseline.by_seed.get(column, {}))
                for column in table.columns
            }
            others.append((row, {column: pair for column, pair in found.items() if pair is not None}))
    return Against(baseline, others)


def difference(column: str, pair: Paired) -> tuple[str, str, str]:
    """Return as text: the difference, its interval with the number of pairs, and whether it is better."""
    seeds = f"{pair.pairs} seed{'s' if pair.pairs > 1 else ''}"
    ends = "no interval" if pair.interval is None else f"95 %: {pair.interval[0]:.3g} to {pair.interval[1]:.3g}"
    return f"{pair.by:+.3g}", f"{ends}, {seeds}", pair.verdict(direction(column))


def _row(table: Table, named: str) -> Row:
    exact = [row for row in table.rows if row.label == named]
    place = Path(os.path.abspath(named))
    inside = [row for row in table.rows if any(_lies_in(member.folder, place) for member in row.members)]
    words = set(named.split())
    worded = [row for row in table.rows if words and words <= {*row.label.split(), *row.words.values()}]
    found = exact or inside or worded
    if len(found) == 1:
        return found[0]
    labels = [row.label for row in table.rows]
    if found:
        several = "; ".join(row.label for row in found[:3])
        raise ConfigError(
            f"--baseline {named}: matches {len(found)} rows ({several}{'; ...' if len(found) > 3 else ''})"
        )
    raise ConfigError(
        f"--baseline {named}: is neither a row nor a run folder of this comparison; {did_you_mean(named, labels)}"
    )


def _lies_in(folder: Path, place: Path) -> bool:
    path = Path(os.path.abspath(folder))
    return path == place or place in path.parents
