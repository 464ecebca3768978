"""The end of a sweep: the printed results, and the files in its folder."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from vaelab.atomic_write import write_file
from vaelab.errors import printable
from vaelab.quoting import typed_path
from vaelab.record.sweep import Sweep
from vaelab.secrets import redact_text
from vaelab.signals import say
from vaelab.sweep_page.csv_file import as_csv
from vaelab.sweep_page.jobs import outcomes_of, summary
from vaelab.sweep_page.outcomes import Outcomes
from vaelab.sweep_page.page import sweep_page
from vaelab.sweep_page.terminal import show, terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vaelab.compare.runs import Run

CSV, PAGE = "sweep.csv", "sweep.html"


def end_sweep(sweep: Sweep) -> None:
    """Print the outcomes of the jobs and the best command line, and write page, figures and CSV.

    Errors here are reported in one line: the jobs are done, and the exit code follows from them.
    """
    out = terminal()
    written: list[str] = []
    shown = False
    with losing_no_exit_code(sweep.folder):
        outcomes, runs = outcomes_of(sweep)
        show(outcomes, CSV)
        shown = True
        if sweep.folder.is_dir():
            written = write(outcomes, CSV, more=_rate_distortion(outcomes, runs))
    if not shown:
        out.print(f"\nsweep: {summary(sweep)}")
    if sweep.folder.is_dir():
        files = f" ({', '.join(written)})" if written else ""
        out.print(f"sweep folder: {sweep.folder}{files}", soft_wrap=True)
        if sweep.missing():
            launcher = [shlex.quote(redact_text(word)) for word in sweep.launcher]
            again = " ".join([f"{typed_path('resume', sweep.folder)}", *launcher])
            out.print(f"run the unfinished jobs with {again}", soft_wrap=True)


@contextmanager
def losing_no_exit_code(folder: Path) -> Iterator[None]:
    """Report errors in one line, so that failing to write tables or page does not change the exit code of the jobs."""
    try:
        yield
    except OSError as error:
        again = typed_path("resume", folder)
        say(f"{error.filename or folder}: cannot be written ({error.strerror}); {again} writes it")
    except KeyboardInterrupt:
        say(f"interrupted while the page was written; {typed_path('resume', folder)} makes it")
    except Exception as error:
        say(f"the page cannot be written ({type(error).__name__}: {printable(str(error), 400)})")


def write(outcomes: Outcomes, csv_name: str, space: str = "", more: "Mapping[str, Figure] | None" = None) -> list[str]:
    """Write CSV, figures as PNG, and the page; return the names of CSV and page.

    Args:
        outcomes: the outcomes of a sweep or search.
        csv_name: the name of the CSV file.
        space: the space of a search, as HTML.
        more: further figures by name.

    Raises:
        OSError: the folder cannot be written.
    """
    from vaelab.sweep_page.figures import draw  # matplotlib takes a while

    write_file(outcomes.folder / csv_name, as_csv(outcomes))
    pictures: dict[str, bytes] = {}
    figures = draw(outcomes) | dict(more or {})
    for name, figure in figures.items():
        buffer = BytesIO()
        figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
        pictures[name] = buffer.getvalue()
        write_file(outcomes.folder / f"{name}.png", pictures[name])
    for stale in _drawn_before(outcomes.folder, outcomes.kind) - set(figures):
        (outcomes.folder / f"{stale}.png").unlink()
    write_file(outcomes.folder / PAGE, sweep_page(outcomes, pictures, space))
    return [csv_name, PAGE]


def _drawn_before(folder: Path, kind: str) -> set[str]:
    """The names of existing figures, written when the sweep ended before; they may not be drawn now."""
    from vaelab.captions import CAPTIONS

    return {name for name in CAPTIONS if name.startswith(f"{kind}_") and (folder / f"{name}.png").is_file()}


def _rate_distortion(outcomes: Outcomes, runs: "Mapping[int, Run]") -> "dict[str, Figure]":
    from vaelab.compare.rate_distortion import draw_curve

    names = [key.name for key in outcomes.settings]
    settings = {entry.number: entry.settings for entry in outcomes.entries}
    labels = [
        " ".join(f"{name}={settings[number][name]}" for name in names if name in settings[number]) for number in runs
    ]
    figure = draw_curve(list(runs.values()), labels)
    return {} if figure is None else {"rate_distortion": figure}
