"""`docs/results.md`, written from the recorded results."""

from collections.abc import Iterable

from vaelab.reproduce.judged import meets
from vaelab.reproduce.recorded import Number, Result
from vaelab.runs.listed import text

HEAD = """\
# Results

This page is written by `vaelab reproduce --page`, from `src/vaelab/reproduce/results.yaml`.

    vaelab reproduce --list                 # list all results in the terminal
    vaelab reproduce mnist_vae              # train it again, and check its number
    vaelab reproduce mnist_vae --from RUN   # check an existing run

`here` was measured on two processor cores. The value after ± is half of the interval in which a repetition is expected.
If a number is worse than that, the command exits with 3. `wanted` is the target. Numbers that miss the target stay in
the table.

| result | number | here | published | wanted | minutes |
|---|---|---|---|---|---|
"""


UNMEASURED = "not measured yet"


def results_page(results: Iterable[Result]) -> str:
    """Return the page in Markdown."""
    results = list(results)
    rows = [_row(result, number, first=n == 0) for result in results for n, number in enumerate(result.numbers)]
    rows += [f"| [{one.name}](#{one.name}) | {UNMEASURED} | | | | |" for one in results if not one.numbers]
    return HEAD + "\n".join(rows) + "\n" + "".join(_section(result) for result in results)


def of_runs(number: Number) -> str:
    """Describe the runs of a sweep that a number belongs to; empty for a single run."""
    return ", ".join(f"{key}={text(value)}" for key, value in number.of.items())


def interval(number: Number) -> str:
    """Format a number with half of its interval."""
    return f"{text(number.value)} ± {text(number.within)}"


def reached(number: Number) -> str:
    """Describe the target, and whether it was reached; empty if there is no target."""
    if number.wanted is None:
        return ""
    return f"{text(number.wanted)}: {'reached' if meets(number, number.value) else 'missed'}"


def _row(result: Result, number: Number, first: bool) -> str:
    named = f"[{result.name}](#{result.name})" if first else ""
    of = f" ({of_runs(number)})" if number.of else ""
    published = f"{number.published} ({number.source})" if number.source else number.published
    minutes = text(result.minutes) if first else ""
    cells = [named, f"`{number.metric}`{of}", interval(number), published, reached(number), minutes]
    return f"| {' | '.join(cells)} |"


def _section(result: Result) -> str:
    note = f"\n{result.note.strip()}\n" if result.note else ""
    return f"\n## {result.name}\n\n{result.about}\n\n    python train.py {' '.join(result.words)}\n{note}"
