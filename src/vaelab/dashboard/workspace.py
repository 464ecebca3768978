"""The workspace of a task: a saved view of a W&B project that shows the runs of one task."""

import wandb_workspaces.workspaces as ws

from vaelab.dashboard.contents import headlines_of
from vaelab.dashboard.panels import DATA, LATENT, MODEL, MOST, SIZE, STEP, Shown, fixed_id, with_id
from vaelab.dashboard.sections import Section, sections
from vaelab.metrics import Metric

DESCRIBED = (DATA, MODEL, LATENT, SIZE, "seed")  # settings that the run table shows after the headlines


def workspace(entity: str, project: str, task: str, shown: Shown) -> ws.Workspace:
    """The workspace of a task. Nothing is sent; the same arguments give the same workspace.

    Args:
        entity: who owns the project; may be empty as long as nothing is saved.
        project: of W&B.
        task: such as `denoising`, which W&B has as the job type of a run.
        shown: what is known of the runs.
    """
    made = ws.Workspace(
        entity=entity,
        project=project,
        name=f"vaelab {task}",
        sections=[_section(task, section) for section in sections(task, shown)],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=MOST),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("JobType") == task],
            order=[order(shown.judge(task))],
            pinned_columns=columns(task, shown),
        ),
    )
    made._internal_runset_id = fixed_id(task, "runs")
    return made


def order(judge: Metric) -> ws.Ordering:
    """The best run first."""
    return ws.Ordering(ws.Summary(f"test/{judge.name}"), ascending=judge.better == "min")


def columns(task: str, shown: Shown) -> list[str]:
    """Of the run table: the headlines of the task, then the settings that tell runs apart."""
    settings = dict.fromkeys((*shown.swept, *DESCRIBED))
    return [
        "run:displayName",
        *(f"summary:test/{known.name}" for known in headlines_of(task)),
        *(config_column(key) for key in settings),
        "run:group",
    ]


def config_column(key: str) -> str:
    """As W&B keeps nested configs: `model.beta` as `config:model.value.beta`."""
    first, dot, rest = key.partition(".")
    return f"config:{first}.value{dot}{rest}"


def _section(task: str, section: Section) -> ws.Section:
    return ws.Section(
        name=section.name,
        panels=[with_id(panel, task, section.name, number) for number, panel in enumerate(section.panels)],
        is_open=section.is_open,
        layout_settings=ws.SectionLayoutSettings(columns=3, rows=min(3, -(-len(section.panels) // 3))),
        panel_settings=ws.SectionPanelSettings(x_axis=STEP),
    )
