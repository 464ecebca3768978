"""Panels of W&B. Each function returns the panels of one section.

Curves are read from the history, whose axis is the optimizer step. All other panels are read from the summary, which
holds the final numbers of a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import wandb_workspaces.reports.v2 as wr
from wandb_workspaces.reports.v2.interface import Panel, PanelTypes

from vaelab.dashboard.contents import (
    contents_of,
    details_of,
    headlines_of,
    rarer_terms,
    terms,
    titled,
    variants,
)
from vaelab.metrics import TOPICS, Metric

STEP = "trainer/global_step"
MOST = 50  # the most runs that a panel draws
DATA, MODEL = "choices.data", "choices.model"
LATENT, RATE_OF_LEARNING, SIZE, BETA = "latent_dim", "optimizer.lr", "size.parameters", "model.beta"
# Keys in which the runs of a project usually differ; for named runs, the actual keys are used.
USUALLY_SWEPT = (DATA, MODEL, "choices.encoder", LATENT, RATE_OF_LEARNING)
LOGARITHMIC = (LATENT, RATE_OF_LEARNING, SIZE)  # keys with a logarithmic axis, whose values are never 0


@dataclass(frozen=True)
class Shown:
    """The runs that panels show.

    Attributes:
        swept: the keys of W&B's config in which the runs differ.
        numeric: the numeric ones of these keys.
        names: the name of each run by its id; empty if panels show all runs of a project.
        baselines: the numbers of baselines that the runs have.
        figures: the names of the figures that the runs have, without their folder.
        measured: the numbers that the runs have; empty if panels show all runs of a project.
        no_others: whether panels show only the named runs, so that numbers that none of them has need no panel.
        repeated: whether the runs include repeats of the same config.
    """

    swept: tuple[str, ...] = USUALLY_SWEPT
    numeric: tuple[str, ...] = (LATENT, RATE_OF_LEARNING)
    names: Mapping[str, str] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    measured: frozenset[str] = frozenset()
    no_others: bool = False
    repeated: bool = False

    def has(self, *names: str) -> bool:
        """Whether the runs may have all of these numbers."""
        return not self.no_others or self.measured.issuperset(names)

    def judge(self, task: str) -> Metric:
        """The number by which runs of the task are sorted: the task's first headline that the named runs have."""
        known = headlines_of(task)
        return next((headline for headline in known if f"test/{headline.name}" in self.measured), known[0])

    @property
    def legend(self) -> str:
        """The template for the name of a run in panels; with the swept keys, since all runs of a sweep share a name."""
        settings = [f"{key.rpartition('.')[2]}=${{config:{key}}}" for key in self.swept]
        return " ".join(["${run:displayName}", *(settings if self.names else [])])


def results(task: str, shown: Shown) -> list[PanelTypes]:
    """Bar charts of the task's headlines, with a bar for each run and each baseline."""
    return _bars(headlines_of(task), shown)


def more_numbers(task: str, shown: Shown) -> list[PanelTypes]:
    """Bar charts of the other numbers of the task."""
    return _bars(details_of(task), shown)


def _bars(numbers: Iterable[Metric], shown: Shown) -> list[PanelTypes]:
    """A bar chart for each number, with a bar for each run and for each baseline that has it."""
    made: list[PanelTypes] = []
    for known in numbers:
        names = [name for name in variants(known) if shown.has(f"test/{name}")]
        beside = [baseline for baseline in shown.baselines if baseline.rpartition("/")[2] in names]
        if names:
            made.append(
                wr.BarPlot(
                    title=titled(f"test/{known.name}"),
                    metrics=[*(f"test/{name}" for name in names), *beside],
                    max_runs_to_show=MOST,
                    max_bars_to_show=MOST,
                    legend_template=shown.legend,
                )
            )
    return made


def curves(shown: Shown) -> list[PanelTypes]:
    """Curves of the terms of the objective; each panel shows train and validation."""
    steps = wr.LinePlot(
        title=titled("train/loss_step", "loss per step"),
        x=STEP,
        y=["train/loss_step"],
        title_x="optimizer step",
        smoothing_type="exponentialTimeWeighted",
        smoothing_factor=0.6,
        smoothing_show_original=True,
        max_runs_to_show=MOST,
        legend_template=shown.legend,
        line_titles=line_titles(["train/loss_step"], shown),
    )
    return [*_curves(terms(), ("val", "train"), shown), steps]


def repeats(shown: Shown) -> list[PanelTypes]:
    """The mean and standard deviation of curves over repeats, if runs differ in one setting besides seeds."""
    if not shown.repeated or len(shown.swept) != 1:
        return []
    (setting,) = shown.swept
    return [
        wr.LinePlot(
            title=titled(known.name, f"{known.name} of validation, mean and deviation over repeats"),
            x=STEP,
            y=[f"val/{known.name}"],
            title_x="optimizer step",
            title_y=known.unit or None,
            groupby=wr.Config(setting),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for known in terms()
        if shown.has(f"val/{known.name}")
    ]


def rarer_curves(shown: Shown) -> list[PanelTypes]:
    """Curves of terms that only some objectives have."""
    return _curves(rarer_terms(), ("val", "train"), shown)


def _curves(numbers: Iterable[Metric], splits: Sequence[str], shown: Shown) -> list[PanelTypes]:
    """A panel for each number, with its curves over training."""
    made: list[PanelTypes] = []
    for known in numbers:
        names: list[str] = [name for split in splits if shown.has(name := f"{split}/{known.name}")]
        if names:
            made.append(
                wr.LinePlot(
                    title=titled(known.name),
                    x=STEP,
                    y=[*names],
                    title_x="optimizer step",
                    title_y=known.unit or None,
                    max_runs_to_show=MOST,
                    legend_template=shown.legend,
                    line_titles=line_titles(names, shown),
                )
            )
    return made


def planes(task: str, shown: Shown) -> list[PanelTypes]:
    """Scatter plots of rate and distortion, with a point for each run."""
    return [
        wr.ScatterPlot(
            title=f"test/{distortion} at test/{rate}",
            x=wr.SummaryMetric(f"test/{rate}"),
            y=wr.SummaryMetric(f"test/{distortion}"),
            legend_template=shown.legend,
        )
        for rate, distortion in contents_of(task).planes
        if shown.has(f"test/{rate}", f"test/{distortion}")
    ]


def sweep(task: str, shown: Shown) -> list[PanelTypes]:
    """The effect of settings on the number by which runs of the task are sorted."""
    judge = shown.judge(task)
    key = f"test/{judge.name}"
    others = [known for known in headlines_of(task) if known is not judge and shown.has(f"test/{known.name}")][:2]
    columns = [
        wr.ParallelCoordinatesPlotColumn(
            wr.Config(swept), log=(swept in LOGARITHMIC and swept in shown.numeric) or None
        )
        for swept in shown.swept
    ]
    columns += [
        wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(f"test/{known.name}"), inverted=known.better == "min" or None)
        for known in [*others, judge]
    ]
    numeric = [*shown.numeric, *([BETA] if shown.has("train/beta") else []), SIZE]
    return [
        wr.ParallelCoordinatesPlot(
            title=f"settings and results; better values of {key} are at the top", columns=columns
        ),
        wr.ParameterImportancePlot(with_respect_to=key),
        *(
            wr.ScatterPlot(
                title=titled(key, f"{key} by {setting}"),
                x=wr.Config(setting),
                y=wr.SummaryMetric(key),
                log_x=setting in LOGARITHMIC or None,
                legend_template=shown.legend,
            )
            for setting in dict.fromkeys(numeric)
        ),
    ]


def code_use(shown: Shown) -> list[PanelTypes]:
    """Statistics of codes at the end; for discrete codes also the use of the codebook over training."""
    return [
        *_curves(TOPICS["codebook"], ("train",), shown),
        *_bars((*TOPICS["codes"], *TOPICS["codebook"]), shown),
    ]


def galleries(task: str) -> list[PanelTypes]:
    """Pictures during training: a column for each step, a row for each run."""
    return [
        wr.MediaBrowser(
            title=f"{picture} during training",
            media_keys=[f"progress/{picture}"],
            mode="grid",
            grid_x_axis="step",
            grid_y_axis="run",
        )
        for picture in contents_of(task).pictures
    ]


def figures(shown: Shown) -> list[PanelTypes]:
    """The final figures of runs, side by side."""
    return [
        wr.MediaBrowser(title=name, media_keys=[f"figures/{name}"], mode="gallery", gallery_axis="run", num_columns=2)
        for name in shown.figures
    ]


def line_titles(names: Sequence[str], shown: Shown) -> dict[str, str] | None:
    """The titles of the lines of named runs, since all runs of a sweep share a name in W&B; None without names."""
    if not shown.names:
        return None
    return {
        f"{run}:{name}": f"{called}, {name.partition('/')[0]}" for run, called in shown.names.items() for name in names
    }


def with_id(panel: PanelTypes, *place: object) -> PanelTypes:
    """Replace the random id of a panel by one made from its position, so that two builds give the same file."""
    assert isinstance(panel, Panel), "the others are read from W&B, and have ids"
    panel._id = fixed_id(*place)
    return panel


def fixed_id(*place: object) -> str:
    """An id made from a position: twelve letters and digits, like W&B's own ids."""
    return sha256("/".join(map(str, place)).encode()).hexdigest()[:12]
