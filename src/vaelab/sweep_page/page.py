"""The results of a sweep or search as one HTML page that opens offline."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from vaelab.compare.table import number
from vaelab.errors import printable
from vaelab.metrics import aim, described, direction
from vaelab.notes import counted
from vaelab.record.page import fold, page
from vaelab.record.page import table as html_table
from vaelab.record.pictures import gallery
from vaelab.record.sweep import Status
from vaelab.sweep_page.outcomes import Entry, Key, Outcomes, Ranking, Value, as_number
from vaelab.sweep_page.repeats import Repeats, has_repeats, repeats

UNFOLDED = 5  # the most command lines of best entries that are open at first
_ORDER = (Status.FAILED, Status.DONE, Status.INTERRUPTED, Status.RUNNING, Status.NOT_STARTED)


def sweep_page(outcomes: Outcomes, pictures: Mapping[str, bytes], space: str = "", notes: Sequence[str] = ()) -> str:
    """The HTML of the page: the best command line, settings over their seeds, all entries, pictures.

    Args:
        outcomes: the outcomes of the sweep or search.
        pictures: the bytes of PNG files by name.
        space: the space of a search, as HTML.
        notes: lines of plain text below the pictures.
    """
    parts: list[str] = []
    winners = [(ranking, entry) for ranking in outcomes.rankings for entry in ranking.winners]
    if len(winners) == 1:
        ranking, entry = winners[0]
        parts += [f"<h2>{escape(_crowned(ranking, entry, outcomes))}</h2>", _code(entry)]
        parts += [f"<p>{escape(_why(ranking, entry, outcomes))}</p>"]
    if has_repeats(outcomes):
        parts += ["<h2>Settings, averaged over seeds</h2>", _settings_table(outcomes)]
        parts += [f"<h2>The {outcomes.unit}s</h2>"]
    parts += [_entries_table(outcomes), _missing_table(outcomes), gallery(pictures)]
    parts += [f"<p>{escape(note)}</p>" for note in notes]
    folds = []
    if len(winners) > 1:
        lines = "".join(
            f"<h3>{escape(_crowned(ranking, entry, outcomes))}</h3>{_code(entry)}" for ranking, entry in winners
        )
        title = "command lines of the Pareto front" if len(outcomes.rankings) == 1 else "command lines of the best"
        folds.append(fold(title, lines, unfolded=len(winners) <= UNFOLDED))
    folds += [fold("the space", space)] if space else []
    parts += ['<div class="folds">' + "\n".join(folds) + "</div>"] if folds else []
    title = f"{outcomes.kind.capitalize()} {outcomes.folder.absolute().name}"
    return page(printable(title), _about(outcomes), printable(outcomes.command), [part for part in parts if part])


def _about(outcomes: Outcomes) -> str:
    lines = [f"{counted(len(outcomes.entries), outcomes.unit)}: {outcomes.summary}."]
    if outcomes.measures:
        names = ", ".join(map(str, outcomes.measures))
        lines.append(
            f"{'Objective' if outcomes.kind == 'search' else 'Compared by'}: {names}, on the validation split."
        )
    if len(outcomes.rankings) > 1:
        lines.append(
            f"The {outcomes.unit}s are in {len(outcomes.rankings)} groups that cannot be compared: another "
            "task, other data, or another watched metric. Each group has its own best {outcomes.unit}."
        )
    return printable(" ".join(lines))


def _crowned(ranking: Ranking, entry: Entry, outcomes: Outcomes) -> str:
    of = f" of {ranking.title}" if len(outcomes.rankings) > 1 else ""
    name = "Pareto front" if len(ranking.measures) > 1 else "Best"
    return printable(f"{name}{of}: {outcomes.unit} {entry.number}")


def _why(ranking: Ranking, entry: Entry, outcomes: Outcomes) -> str:
    """The numbers by which an entry is the best."""
    said = ", ".join(f"{measure.name} {entry.numbers[measure.name]:.5g}" for measure in ranking.measures)
    one = next(one for one in repeats(ranking.entries, outcomes.seeds) if entry in one.entries)
    if len(one.entries) > 1 and ranking.measures:
        name = ranking.measures[0].name
        said += f"; its setting has {number(one.row.mean(name), one.row.spread(name))} over {len(one.entries)} seeds, "
        said += "by which it was selected"
    return f"Selected on the validation split: {said}."


def _code(entry: Entry) -> str:
    return f'<div class="command"><code>{escape(printable(entry.command))}</code></div>'


def _entries_table(outcomes: Outcomes) -> str:
    measures = [measure.name for measure in outcomes.measures]
    told = len(outcomes.rankings) > 1
    timed = any(entry.seconds is not None for entry in outcomes.entries)
    head = [f'<th scope="col">{outcomes.unit}</th>', '<th scope="col" data-kind="text">outcome</th>']
    head += ['<th scope="col" data-kind="text">compared within</th>'] if told else []
    head += [_number_head(name, outcomes) for name in measures]
    head += [_key_head(key, outcomes) for key in outcomes.keys]
    head += [_number_head(name, outcomes) for name in outcomes.columns]
    head += ['<th scope="col" class="n">seconds</th>'] if timed else []
    rows = []
    pruned = [(None, entry) for entry in outcomes.entries if entry.status == Status.PRUNED]
    for ranking, entry in [*((one, entry) for one in outcomes.rankings for entry in one.entries), *pruned]:
        wins = ranking is not None and entry.number in ranking.best
        decided = [measure.name for measure in ranking.measures] if ranking is not None else []
        cells = [f'<th scope="row">{_link(outcomes, entry)}</th>', _outcome(entry)]
        cells += (
            [f'<td class="words">{escape(printable(ranking.title)) if ranking is not None else ""}</td>']
            if told
            else []
        )
        cells += [_number(entry.numbers.get(name), wins and name in decided) for name in measures]
        cells += [_setting(entry.settings.get(key.name), key) for key in outcomes.keys]
        cells += [_number(entry.numbers.get(name)) for name in outcomes.columns]
        if timed:
            known = entry.seconds is not None
            cells.append(
                f'<td class="n" data-value="{entry.seconds!r}">{entry.seconds:.0f}</td>' if known else "<td></td>"
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return html_table(f"{outcomes.unit}s", head, rows, "sortable entries") if rows else ""


def _missing_table(outcomes: Outcomes) -> str:
    """A table of the entries without a result, with the reason: failed, interrupted, not started or not readable."""
    ranked = {entry.number for ranking in outcomes.rankings for entry in ranking.entries}
    found = [e for e in outcomes.entries if e.number not in ranked and e.status != Status.PRUNED]
    if not found:
        return ""
    told = any(entry.why for entry in found)
    head = [f'<th scope="col">{outcomes.unit}</th>', '<th scope="col" data-kind="text">outcome</th>']
    head += ['<th scope="col" data-kind="text">why</th>'] if told else []
    head += [_key_head(key, outcomes) for key in outcomes.keys]
    rows = []
    for entry in sorted(found, key=lambda entry: (_ORDER.index(entry.status), entry.number)):
        cells = [f'<th scope="row">{_link(outcomes, entry)}</th>', _outcome(entry)]
        cells += [f'<td class="why">{escape(printable(entry.why))}</td>'] if told else []
        cells += [_setting(entry.settings.get(key.name), key) for key in outcomes.keys]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<h2>Without a result</h2>{html_table('without a result', head, rows, 'sortable entries')}"


def _settings_table(outcomes: Outcomes) -> str:
    """A table with a row for each setting: mean, standard deviation and interval over its seeds."""
    names = [*(measure.name for measure in outcomes.measures), *outcomes.columns]
    told = len(outcomes.rankings) > 1
    keys = outcomes.settings
    head = [f'<th scope="col">{outcomes.unit}s</th>']
    head += ['<th scope="col" data-kind="text">compared within</th>'] if told else []
    head += [_number_head(name, outcomes) for name in names[: len(outcomes.measures)]]
    head += [_key_head(key, outcomes) for key in keys]
    head += [_number_head(name, outcomes) for name in names[len(outcomes.measures) :]]
    rows = []
    for ranking in outcomes.rankings:
        decided = [measure.name for measure in ranking.measures]
        for one in repeats(ranking.entries, outcomes.seeds):
            wins = any(entry.number in ranking.best for entry in one.entries)
            links = ", ".join(_link(outcomes, entry) for entry in sorted(one.entries, key=lambda entry: entry.number))
            cells = [f'<th scope="row">{links}</th>']
            cells += [f'<td class="words">{escape(printable(ranking.title))}</td>'] if told else []
            means = [_mean(one, name, wins and name in decided) for name in names]
            cells += means[: len(outcomes.measures)]
            cells += [_setting(one.settings.get(key.name), key) for key in keys]
            cells += means[len(outcomes.measures) :]
            rows.append(f"<tr>{''.join(cells)}</tr>")
    said = '<p class="muted">Mean ± standard deviation over seeds, and the 95 % interval of the mean.</p>'
    return html_table("settings over their seeds", head, rows, "sortable entries") + said


def _number_head(name: str, outcomes: Outcomes) -> str:
    better = {measure.name: measure.better for measure in outcomes.measures}.get(name) or direction(name)
    marked = f' data-better="{better}"' if better else ""
    words = f"{'more' if better == 'max' else 'less'} is better" if better else aim(name)
    below = f"<small>{words}</small>" if words else ""
    return f'<th scope="col" class="n" title="{escape(described(name))}"{marked}>{escape(printable(name))}{below}</th>'


def _key_head(key: Key, outcomes: Outcomes) -> str:
    kind = ' class="n"' if _is_numeric(key, outcomes) else ' data-kind="text"'
    return f'<th scope="col"{kind}>{escape(printable(key.name))}</th>'


def _is_numeric(key: Key, outcomes: Outcomes) -> bool:
    values = [entry.settings[key.name] for entry in outcomes.entries if key.name in entry.settings]
    return bool(values) and all(as_number(value) is not None for value in values)


def _setting(value: Value | None, key: Key) -> str:
    if value is None:
        return "<td></td>"
    text = f"{value:.4g}" if isinstance(value, float) else printable(str(value), 200)
    found = as_number(value)
    if found is None or (key.names and any(as_number(name) is None for name in key.names)):
        return f"<td>{escape(text)}</td>"
    return f'<td class="n" data-value="{found!r}">{escape(text)}</td>'


def _number(value: float | None, wins: bool = False) -> str:
    if value is None:
        return "<td></td>"
    text = f"<b>{value:.5g}</b>" if wins else f"{value:.5g}"
    return f'<td class="n{" best" if wins else ""}" data-value="{value!r}">{text}</td>'


def _mean(one: Repeats, name: str, wins: bool) -> str:
    mean, ends = one.row.mean(name), one.row.interval(name)
    if mean is None:
        return "<td></td>"
    text = number(mean, one.row.spread(name))
    text = f"<b>{text}</b>" if wins else text
    below = f'<small class="below">95 %: {ends[0]:.4g} to {ends[1]:.4g}</small>' if ends is not None else ""
    return f'<td class="n{" best" if wins else ""}" data-value="{mean!r}">{text}{below}</td>'


def _outcome(entry: Entry) -> str:
    kind = entry.status.replace(" ", "-")
    return f'<td><span class="status {kind}">{escape(entry.outcome)}</span></td>'


def _link(outcomes: Outcomes, entry: Entry) -> str:
    report = Path(entry.folder, "report.html")
    if not (outcomes.folder / report).is_file():
        return str(entry.number)
    return f'<a href="{quote(os.fsencode(report.as_posix()))}">{entry.number}</a>'
