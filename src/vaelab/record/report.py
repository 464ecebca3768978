"""`report.html`: one self-contained page that shows a run."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from vaelab.metrics import aim, described, direction, is_reference, unit
from vaelab.record.headlines import Headline, headline_numbers
from vaelab.record.page import fold, page, table
from vaelab.record.pictures import Frames, gallery

SPLITS = ("test", "val", "train")


def report(
    title: str,
    environment: dict[str, Any],
    metrics: dict[str, float],
    figures: dict[str, bytes],
    metadata: dict[str, Any] | None = None,
    texts: dict[str, str] | None = None,
    notes: Sequence[str] = (),
    films: Mapping[str, Frames] | None = None,
    about: str = "",
) -> str:
    """Return the page: a description of the run, headline metrics, notes and figures; everything else is collapsed.

    Args:
        title: the title of the run.
        environment: as in `environment.json`.
        metrics: as in `metrics.json`; each split and each baseline becomes a column.
        figures: PNG bytes by name.
        metadata: as in `metrics_metadata.json`: how metrics were measured.
        texts: texts by name, as in `texts/`.
        notes: lines of plain text, above the figures.
        films: figures drawn during training, by the name of the figure: a label such as `epoch 5` and PNG bytes each.
        about: a description of the run in a sentence of plain text; see `sentence`.
    """
    taken, texts = metadata or {}, texts or {}
    headlines = headline_table(headline_numbers(metrics, taken))
    unseen = not set(figures) - {"curves"}  # then texts are the main content
    folded = [fold("all metrics", metrics_table(metrics), f"{len(metrics)}", unfolded=not headlines)] if metrics else []
    folded += [fold("how metrics were measured", metadata_list(taken))] if taken else []
    folded += [
        fold(name, f"<pre>{escape(text)}</pre>", "text", unfolded=unseen and not place)
        for place, (name, text) in enumerate(texts.items())
    ]
    folded.append(fold("environment", _listed(_surroundings(environment)), "versions, device, seed, commit"))
    parts = [headlines, note_list(notes), gallery(figures, films)]
    parts += ['<div class="folds">', *folded, "</div>"]
    return page(title, about, environment["command"], [part for part in parts if part])


def sentence(
    task: str,
    data: str,
    model: str,
    started: str | None = None,
    seconds: float | None = None,
    weights: str | None = None,
) -> str:
    """Describe a run: `The model vae on digits, evaluated by the task generation. Started on 31 January 2026, 12:00.`

    Args:
        task, data, model: their names.
        started: ISO 8601; None if unknown.
        seconds: the time from the start until the report was written; None if unknown.
        weights: the kind of weights evaluated, such as `averaged weights, decay 0.999`; None for ordinary weights.
    """
    lines = [f"The model {model} on {data}, evaluated by the task {task}."]
    lines += [f"All metrics except those of train are of {weights}."] if weights else []
    if started:
        lines.append(f"Started on {_day(started)}{f', took {_duration(seconds)}' if seconds is not None else ''}.")
    return " ".join(lines)


def headline_table(found: Sequence[Headline]) -> str:
    """Return a table with a row for each headline metric: the values of the run and its best baseline, and the verdict.

    Metrics with a baseline come first.
    """
    rows = [_headline(one) for one in sorted(found, key=lambda one: one.rival is None)]
    heads = ("headline metric", "this run", "best baseline", "lead of the run", "references")
    used = [place for place in range(len(heads)) if place < 2 or any(row[place] for row in rows)]
    head = [f'<th scope="col">{heads[place]}</th>' for place in used]
    lines = [
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{row[place]}</td>" for place in used[1:])}</tr>'
        for row in rows
    ]
    return table("headline metrics", head, lines, "headlines") if rows else ""


def note_list(notes: Sequence[str]) -> str:
    """Return the notes as a list, one line each."""
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes" aria-label="notes">{lines}</ul>' if lines else ""


def metrics_table(metrics: dict[str, float]) -> str:
    """Return an HTML table: a row for each metric, a column for each split and each baseline with values.

    The best value of a row is marked if the metric has a direction.
    """
    cells: dict[tuple[str, str], float] = {}
    for name, value in metrics.items():
        column, _, short = name.rpartition("/")
        cells[short, column.removeprefix("baseline/")] = value
    splits = [split for split in SPLITS if any(column == split for _, column in cells)]
    baselines = sorted({column for _, column in cells} - set(SPLITS))
    columns = [*splits, *baselines]
    rivals = ["test", *(column for column in baselines if not is_reference(column))]
    names = sorted({name for name, _ in cells}, key=lambda name: ((name, "test") not in cells, name))
    head = ['<th scope="col">metric</th>', *(f'<th scope="col" class="n">{escape(c)}</th>' for c in columns)]
    rows = []
    for name in names:
        best = _best(name, [cells[name, column] for column in rivals if (name, column) in cells])
        line = (_number(cells.get((name, column)), best if column in rivals else None) for column in columns)
        what = f'<td class="about">{escape(described(name))}</td>'
        rows.append(f'<tr><th scope="row">{_breakable(name)}{_unit(name)}</th>{"".join(line)}{what}</tr>')
    return table("all metrics", [*head, '<th scope="col">description</th>'], rows)


def metadata_list(metadata: dict[str, Any]) -> str:
    """Return how metrics were measured, one line each."""
    lines = {
        name: ", ".join(f"{key} {value}" for key, value in about.items()) if isinstance(about, dict) else str(about)
        for name, about in metadata.items()
    }
    return _listed(lines)


def _headline(one: Headline) -> list[str]:
    """Return the cells of a row, as HTML."""
    name = one.name.removeprefix("test/")
    run = f"<b>{one.value:.4g}</b>{_unit(name)}"
    if verdict := one.verdict:
        sure = one.rival is not None and one.rival.lead is not None
        kind = verdict if sure and verdict in ("better", "worse") else "even"
        run += f' <span class="verdict {kind}">{verdict}{"" if sure else ", no interval"}</span>'
    run += f'<small class="below">95 %: {_range(*one.interval)}</small>' if one.interval is not None else ""
    baseline = lead = ""
    if one.rival is not None:
        baseline = f"<b>{one.rival.value:.4g}</b> {escape(one.rival.name)}"
        if not one.same_examples:
            baseline += '<small class="below">measured on fewer examples than the run</small>'
        elif one.compared != one.value:
            baseline += f'<small class="below">the run has {one.compared:.4g} on these examples</small>'
        if found := one.rival.lead:
            ends = _range(found.at_least, found.at_most, digits=3)
            lead = f'{found.by:.3g}<small class="below">95 %: {ends}</small>'
    orientation = ", ".join(f"{other.value:.4g} {escape(other.name)}" for other in one.references)
    below = f'<small class="aim">{aim(name)}</small><small class="what">{escape(described(name))}</small>'
    return [f"{_breakable(name)} {below}", run, baseline, lead, orientation]


def _range(low: float, high: float, digits: int = 4) -> str:
    return f"{low:.{digits}g} to {high:.{digits}g}"


def _best(name: str, values: Sequence[float]) -> float | None:
    better = direction(name)
    if better is None or len(values) < 2:
        return None
    return max(values) if better == "max" else min(values)


def _listed(lines: Mapping[str, str]) -> str:
    """Return an HTML list of names, each with plain text."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines.items()) + "</dl>"


def _surroundings(environment: dict[str, Any]) -> dict[str, str]:
    git = environment.get("git")
    commit = f"{git['commit'][:12]}{' with local changes' if git['dirty'] else ''}" if git else "none"
    packages = ", ".join(f"{name} {value}" for name, value in environment["packages"].items() if value)
    found = {"device": environment["device"], "seed": environment["seed"], "git commit": commit, "packages": packages}
    more = {
        name: environment[name]
        for name in ("precision", "python", "platform", "started", "repeats")
        if name in environment
    }
    return {name: str(value) for name, value in (found | more).items()}


def _unit(name: str) -> str:
    """Return the unit of a metric, as HTML."""
    return f" <small>{escape(unit(name))}</small>" if unit(name) else ""


def _breakable(name: str) -> str:
    """Return a name as HTML that may break after an underscore."""
    return escape(name).replace("_", "_<wbr>")


def _number(value: float | None, best: float | None = None) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="n best"><b>{value:.5g}</b></td>' if value == best else f'<td class="n">{value:.5g}</td>'


def _day(started: str) -> str:
    """Format a date such as `31 January 2026, 12:00`."""
    when = datetime.fromisoformat(started)
    return f"{when.day} {when:%B %Y, %H:%M}"


def _duration(seconds: float) -> str:
    """Format a duration such as `48 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
