"""`vaelab compare <folder> ...`"""

import argparse
import csv
import shlex
from io import BytesIO, StringIO
from pathlib import Path

from vaelab.atomic_write import write_file
from vaelab.compare.page import comparison_page
from vaelab.compare.rows import labels, told_apart_by_data
from vaelab.compare.runs import Run, find_runs
from vaelab.compare.table import Table, tabulate
from vaelab.compare.terminal import show
from vaelab.errors import ConfigError
from vaelab.terminal import console


def compare(arguments: list[str]) -> None:
    """Print a table of finished runs, and write it with a figure as CSV, PNG and HTML.

    Raises:
        ConfigError: a folder holds no finished run, no run has a metric that was named, or nothing can be written.
    """
    parser = argparse.ArgumentParser(
        "vaelab compare",
        description="One table and one figure of finished runs. Runs that differ only in a seed are repeats (mean and "
        "deviation); runs that differ only in the task share a row.",
    )
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, or folders that hold some (a multirun's)")
    parser.add_argument(
        "--metrics",
        type=lambda text: text.split(","),
        help="such as mse,fid,val/elbo, or panel mse for one task's; the usual ones",
    )
    parser.add_argument("--out", type=Path, help="where to write comparison.*; the first folder")
    options = parser.parse_args(arguments)
    runs = told_apart_by_data(find_runs(options.folders))
    table = tabulate(runs, options.metrics)
    out, title = options.out or options.folders[0], f"{len(runs)} runs of {options.folders[0]}"
    try:
        write(table, runs, out, title, shlex.join(["vaelab", "compare", *arguments]))
    except OSError as error:
        raise ConfigError(
            f"{error.filename or out}: cannot be written ({error.strerror}); --out <folder> names another folder"
        ) from error
    show(table)
    console().print(f"comparison.csv, .png and .html in {out}", soft_wrap=True)


def write(table: Table, runs: list[Run], out: Path, title: str, command: str) -> None:
    """`comparison.csv` with every repeat's mean and deviation, `comparison.png`, and `comparison.html` with both.

    Compression runs also give `rate_distortion.png`.
    """
    from vaelab.compare.figure import draw  # matplotlib takes a while
    from vaelab.compare.rate_distortion import draw_curve

    lines = StringIO()
    writer = csv.writer(lines)
    writer.writerow(["run", *(name for c in table.columns for name in (c, f"{c} deviation"))])
    for row in table.rows:
        writer.writerow([row.label, *(value for c in table.columns for value in (row.mean(c), row.spread(c)))])
    for label, name, numbers in table.baselines():
        writer.writerow([f"{name} beside {label}", *(value for c in table.columns for value in (numbers.get(c), None))])
    write_file(out / "comparison.csv", lines.getvalue())
    figures = {"comparison": draw(table, title), "rate_distortion": draw_curve(runs, labels(runs))}
    pictures: dict[str, bytes] = {}
    for name, figure in figures.items():
        if figure is not None:
            buffer = BytesIO()
            figure.savefig(buffer, format="png")
            pictures[name] = buffer.getvalue()
            write_file(out / f"{name}.png", pictures[name])
    write_file(out / "comparison.html", comparison_page(table, title, command, pictures))
