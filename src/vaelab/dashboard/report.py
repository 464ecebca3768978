"""A report that compares chosen runs: in words, from the run folders, and in panels of these runs alone."""

from collections.abc import Sequence

import wandb_workspaces.reports.v2 as wr
from wandb_workspaces import expr
from wandb_workspaces.reports.v2.interface import BlockTypes, Panel, PanelTypes

from vaelab.compare.rows import identities
from vaelab.compare.table import Table, tabulate
from vaelab.dashboard.contents import headlines_of, variants
from vaelab.dashboard.panels import USUALLY_SWEPT, Shown, fixed_id, with_id
from vaelab.dashboard.sections import sections
from vaelab.dashboard.tracked import Tracked, baselines, called, drawn, measured, numbers, swept
from vaelab.dashboard.words import caveat, explained, fewer_examples, findings, numbers_table, settings_table, summary
from vaelab.dashboard.workspace import config_column
from vaelab.notes import some
from vaelab.secrets import redact_text

LONGEST_TITLE = 128
WIDTH, HEIGHT, ACROSS = 8, 6, 3  # of a panel, in the grid of a report that is 24 wide
# Okabe and Ito's colours, which people with any vision tell apart; then round again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def report(entity: str, project: str, runs: Sequence[Tracked]) -> wr.Report:
    """The report of runs of one project. Nothing is sent; the same runs give the same report."""
    tasks = list(dict.fromkeys(tracked.run.task for tracked in runs))
    blocks: list[BlockTypes] = [wr.P(redact_text(summary(runs))), wr.MarkdownBlock(settings_table(runs))]
    for task in tasks:
        blocks += _task(task, [tracked for tracked in runs if tracked.run.task == task])
    if len(runs) > 1:
        blocks += [
            wr.H2("All settings side by side"),
            _grid("settings", runs, shown_of(runs), [wr.RunComparer(diff_only="split")]),
        ]
    return wr.Report(
        entity=entity,
        project=project,
        title=_title(runs),
        description=redact_text(summary(runs)),
        blocks=blocks,
        width="fluid",
    )


def _task(task: str, runs: Sequence[Tracked]) -> list[BlockTypes]:
    """What the runs of one task are worth, in words and panels."""
    table = _table(task, runs)
    words: list[BlockTypes] = [wr.P("No run has one of the headline metrics.")]
    if table is not None:
        words = [
            wr.UnorderedList(
                [redact_text(sentence) for sentence in findings(table, fewer_examples(t.run for t in runs))]
            ),
            wr.MarkdownBlock(numbers_table(table)),
            wr.P(caveat(table)),
            wr.H3("Description of the metrics", collapsed_blocks=[wr.UnorderedList([*explained(table)])]),
        ]
    return [wr.H2(task.capitalize()), *words, *_grids(task, runs)]


def shown_of(runs: Sequence[Tracked], no_others: bool = False) -> Shown:
    """What panels are told of chosen runs.

    Args:
        runs: of one task.
        no_others: whether they show these runs alone.
    """
    found = [tracked.run for tracked in runs]
    keys = swept(found) or USUALLY_SWEPT
    return Shown(
        swept=keys,
        numeric=numbers(found, keys),
        names={tracked.id: redact_text(tracked.name) for tracked in runs},
        baselines=baselines(found),
        figures=drawn(found),
        measured=measured(found),
        no_others=no_others,
        repeated=len(set(identities(found))) < len(found),
    )


def _table(task: str, runs: Sequence[Tracked]) -> Table | None:
    """The comparison of runs of one task; None where they have none of the usual numbers."""
    found = [tracked.run for tracked in runs]
    known = measured(found)
    judged = [f"test/{name}" for headline in headlines_of(task) for name in variants(headline)]
    columns = [name for name in judged if name in known]
    if not columns:
        return None
    table = tabulate(found, columns)
    if len(table.rows) == 1:  # there is nothing that tells it from others
        table.rows[0].label = called(found[:1])[0]
    return table


def _title(runs: Sequence[Tracked]) -> str:
    title = redact_text(f"Comparison of {some([tracked.name for tracked in runs], 4)}")
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 3]}..."


def _grids(task: str, runs: Sequence[Tracked]) -> list[BlockTypes]:
    """Panels by section; a heading opens and closes those that many readers leave out."""
    shown = shown_of(runs, no_others=True)
    blocks: list[BlockTypes] = []
    for section in sections(task, shown):
        grid = _grid(f"{task}/{section.name}", runs, shown, section.panels)
        blocks += [wr.H3(section.name), grid] if section.is_open else [wr.H3(section.name, collapsed_blocks=[grid])]
    return blocks


def _grid(place: str, runs: Sequence[Tracked], shown: Shown, panels: Sequence[PanelTypes]) -> wr.PanelGrid:
    """Panels of these runs, three in a row, and a table of them."""
    task = runs[0].run.task
    judge = shown.judge(task)
    runset = wr.Runset(
        name="the runs of this report",
        filters=[expr.Metric("ID").isin([tracked.id for tracked in runs])],
        order=[wr.OrderBy(wr.SummaryMetric(f"test/{judge.name}"), ascending=judge.better == "min")],
        run_settings={
            tracked.id: wr.RunSettings(color=COLOURS[number % len(COLOURS)]) for number, tracked in enumerate(runs)
        },
        pinned_columns=["run:displayName"],
        visible_columns=[
            *(f"summary:test/{known.name}" for known in headlines_of(task)),
            *(config_column(key) for key in shown.swept),
        ],
    )
    runset._id = fixed_id("report", place, "runs")
    for number, panel in enumerate(panels):
        with_id(panel, "report", place, number)
        assert isinstance(panel, Panel)
        panel.layout = wr.Layout(WIDTH * (number % ACROSS), HEIGHT * (number // ACROSS), WIDTH, HEIGHT)
    return wr.PanelGrid(runsets=[runset], panels=list(panels))
