"""`vaelab compare <folder> ...`"""

import argparse
import shlex
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.atomic_write import write_file
from vaelab.compare.against import Against, against
from vaelab.compare.page import comparison_page
from vaelab.compare.rows import labels, told_apart_by_data
from vaelab.compare.runs import Run, find_runs
from vaelab.compare.samples import draw_samples
from vaelab.compare.table import Table, tabulate
from vaelab.compare.terminal import show, show_against
from vaelab.csv_text import csv_text
from vaelab.errors import ConfigError
from vaelab.terminal import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(arguments: list[str]) -> None:
    """Print a table of finished runs, and write it with a figure as CSV, PNG and HTML.

    Raises:
        ConfigError: a folder contains no finished run, no run has a metric that was named, or output cannot be written.
    """
    parser = argparse.ArgumentParser(
        "vaelab compare",
        description="Compares finished runs in one table and one figure. Runs that differ only in a seed are repeats, "
        "shown with mean, standard deviation and 95 % interval. Runs that differ only in the task share a row.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, help="run folders, or folders that contain runs, such as a sweep"
    )
    parser.add_argument(
        "--metrics",
        type=lambda text: text.split(","),
        help="such as mse,fid,val/elbo, or 'denoising mse' for one task (default: headline metrics)",
    )
    parser.add_argument(
        "--baseline",
        metavar="ROW",
        help="a run folder or the name of a row; shows differences from it over shared seeds, with 95 %% intervals",
    )
    parser.add_argument(
        "--samples", action="store_true", help="also draw samples of each image model in one picture; loads the models"
    )
    parser.add_argument("--out", type=Path, help="the folder to write comparison.* to (default: the first folder)")
    options = parser.parse_args(arguments)
    runs = told_apart_by_data(find_runs(options.folders))
    table = tabulate(runs, options.metrics)
    differences = None if options.baseline is None else against(table, options.baseline)
    out, title = options.out or options.folders[0], f"{len(runs)} runs of {options.folders[0]}"
    drawn = draw_samples(table.rows) if options.samples else None
    try:
        names = write(table, runs, out, title, shlex.join(["vaelab", "compare", *arguments]), differences, drawn)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or out}: cannot be written ({error.strerror}); --out <folder> names another folder"
        ) from error
    show(table)
    if differences is not None:
        show_against(differences, table.columns)
    console().print(f"{', '.join(names)} in {out}", soft_wrap=True)


def write(
    table: Table,
    runs: list[Run],
    out: Path,
    title: str,
    command: str,
    differences: Against | None = None,
    samples: "Figure | None" = None,
) -> list[str]:
    """Write the table as CSV, its figures as PNG, and a page with both; return the names of the files.

    The figures are `comparison.png`, `comparison_curves.png` if runs have validation curves, `rate_distortion.png` for
    compression runs, and `comparison_samples.png` if samples were drawn.
    """
    from vaelab.compare.curves import draw_curves
    from vaelab.compare.figure import draw  # matplotlib is slow to import
    from vaelab.compare.rate_distortion import draw_curve

    write_file(out / "comparison.csv", _csv(table, differences))
    figures = {
        "comparison": draw(table, title),
        "comparison_curves": draw_curves(table),
        "rate_distortion": draw_curve(runs, labels(runs)),
        "comparison_samples": samples,
    }
    pictures: dict[str, bytes] = {}
    for name, figure in figures.items():
        if figure is not None:
            buffer = BytesIO()
            figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
            pictures[name] = buffer.getvalue()
            write_file(out / f"{name}.png", pictures[name])
    write_file(out / "comparison.html", comparison_page(table, title, command, pictures, differences, out))
    return ["comparison.csv", *(f"{name}.png" for name in pictures), "comparison.html"]


def _csv(table: Table, differences: Against | None) -> str:
    """Return each row with folders, seeds and settings, and for each metric mean, deviation, interval and runs."""
    parts = ("", " deviation", " low", " high", " runs")
    less = ("", " low", " high", " seeds") if differences is not None else ()
    pairs = {} if differences is None else {id(row): found for row, found in differences.others}
    head = ["run", "folders", "seeds", *table.keys]
    head += [f"{c}{part}" for c in table.columns for part in parts]
    head += [f"{c} less baseline{part}" for c in table.columns for part in less]
    lines: list[list[Any]] = []
    for row in table.rows:
        line: list[Any] = [row.label, ";".join(str(member.folder) for member in row.members), ";".join(row.seeds)]
        line += [row.words.get(key, "").partition("=")[2] for key in table.keys]
        for column in table.columns:
            low, high = row.interval(column) or (None, None)
            line += [row.mean(column), row.spread(column), low, high, len(row.values.get(column, ()))]
        for column in table.columns if less else ():
            pair = pairs.get(id(row), {}).get(column)
            low, high = (pair.interval if pair is not None else None) or (None, None)
            line += [None] * 4 if pair is None else [pair.by, low, high, pair.pairs]
        lines.append(line)
    for label, name, numbers in table.baselines():
        beside: list[Any] = [f"{name} beside {label}", *[None] * (2 + len(table.keys))]
        for column in table.columns:
            beside += [numbers.get(column), *[None] * (len(parts) - 1)]
        lines.append([*beside, *[None] * (len(less) * len(table.columns))])
    return csv_text(head, lines)
