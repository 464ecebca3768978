"""The sections of a dashboard, the same in a workspace and in a report."""

from dataclasses import dataclass

from wandb_workspaces.reports.v2.interface import PanelTypes

from vaelab.dashboard.panels import (
    Shown,
    code_use,
    curves,
    figures,
    galleries,
    more_numbers,
    planes,
    rarer_curves,
    repeats,
    results,
    sweep,
)

FEWEST = 3  # named runs of which the settings are drawn: two are told apart in words


@dataclass(frozen=True)
class Section:
    """Panels under one heading.

    Attributes:
        name: the heading.
        panels: at least one.
        is_open: whether they are seen before somebody opens the heading.
    """

    name: str
    panels: list[PanelTypes]
    is_open: bool


def sections(task: str, shown: Shown) -> list[Section]:
    """What is shown of the runs of a task, in order; a section without panels is left out."""
    several = not shown.no_others or len(shown.names) >= FEWEST
    found = [
        Section("Results", results(task, shown), True),
        Section("Curves of the objective", curves(shown), True),
        Section("Curves over repeats", repeats(shown), True),
        Section("Rate and distortion", planes(task, shown), True),
        Section("Figures during training", galleries(task), True),
        Section("Settings and results", sweep(task, shown) if several else [], True),
        Section("Use of the code", code_use(shown), False),
        Section("Figures", figures(shown), False),
        Section("Less common terms of the objective", rarer_curves(shown), False),
        Section("More numbers", more_numbers(task, shown), False),
    ]
    return [section for section in found if section.panels]
