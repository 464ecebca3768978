"""The report of two runs: its words are those of their numbers, its panels show no other runs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dashboard_specs import named, panels, run_sets
from vaelab.compare.runs import find_runs
from vaelab.compare.table import Row, Table, number
from vaelab.dashboard.tracked import Tracked, called, find_tracked
from vaelab.dashboard.words import caveat, findings, settings_table, summary

Build = Callable[..., dict[str, Any]]


def texts(block: Any) -> str:
    """What a block says, in one line."""
    if isinstance(block, dict):
        own = [block["text"]] if isinstance(block.get("text"), str) else []
        own += [block["content"]] if isinstance(block.get("content"), str) else []
        return " ".join([*own, *(texts(value) for key, value in block.items() if key in ("children", "blocks"))])
    return " ".join(map(texts, block)) if isinstance(block, list) else ""


def numbers_of(folder: Path) -> dict[str, float]:
    return dict(json.loads((folder / "metrics.json").read_text()))


@pytest.mark.long
def test_the_words_are_those_of_the_runs(build: Build, two_runs: list[Path]) -> None:
    report = build(*two_runs)["report"]
    said = texts(report["spec"]["blocks"])
    assert report["description"] == "2 runs of compression on digits. They differ in latent_dim (2, 16)."
    assert report["description"] in said
    better, worse = sorted(numbers_of(folder)["test/mse"] for folder in two_runs)
    assert (
        f"latent_dim=16 has the lowest test/mse, {number(better)}; latent_dim=2 follows with {number(worse)}." in said
    )
    best = max(numbers_of(folder)["test/psnr"] for folder in two_runs)
    assert f"latent_dim=16 has the highest test/psnr, {number(best)} dB" in said
    assert "Every configuration was run once." in said
    assert "peak signal-to-noise ratio" in json.dumps(report)


@pytest.mark.long
def test_the_best_of_runs_and_baselines_is_bold(build: Build, two_runs: list[Path]) -> None:
    said = texts(build(*two_runs)["report"]["spec"]["blocks"])
    everything = [numbers_of(folder) for folder in two_runs]
    column = [n[name] for n in everything for name in ("test/mse", "baseline/pca/mse")]
    assert f"**{number(min(column))}**" in said
    assert f"**{number(max(column))}**" not in said


@pytest.mark.long
def test_panels_show_these_runs_and_what_they_measured(build: Build, two_runs: list[Path]) -> None:
    report = build(*two_runs)["report"]
    ids = [json.loads((folder / "tracking.json").read_text())["wandb"] for folder in two_runs]
    shown = [runs["filters"]["filters"] for runs in run_sets(report)]
    assert len(shown) > 3
    for (only,) in shown:
        assert (only["key"], only["op"]) == ({"section": "run", "name": "name"}, "IN")
        assert sorted(only["value"]) == sorted(ids)
    metrics, settings, media = named(report)
    measured = {name for folder in two_runs for name in numbers_of(folder)}
    assert metrics - {"train/loss_step"} <= measured
    assert settings == {"latent_dim"}
    figures = {f"figures/{path.stem}" for folder in two_runs for path in folder.glob("figures/*.png")}
    assert media - {"progress/reconstructions"} == figures
    curve = next(panel["config"] for panel in panels(report) if panel["config"].get("metrics") == ["val/mse"])
    assert set(curve["overrideSeriesTitles"].values()) == {"latent_dim=2, val", "latent_dim=16, val"}


@pytest.mark.long
def test_the_report_is_that_of_the_package(build: Build, two_runs: list[Path]) -> None:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.reports.v2.internal import ReportViewspec

    made = build(*two_runs)["report"]
    del made["saved"]
    again = Report._from_model(ReportViewspec.model_validate(made))._to_model()
    assert len(again.spec.blocks) == len(made["spec"]["blocks"])
    assert build(*two_runs)["report"]["spec"] == made["spec"]


@pytest.mark.long
def test_a_workspace_of_named_runs_has_what_they_differ_in(build: Build, two_runs: list[Path]) -> None:
    (made,) = build(*two_runs)["workspaces"]
    (plot,) = [p["config"] for p in panels(made) if p["viewType"] == "Parallel Coordinates Plot"]
    settings = [c["accessor"] for c in plot["columns"] if c["accessor"].startswith("config:")]
    assert (made["task"], settings) == ("compression", ["config:latent_dim.value"])


@pytest.mark.long
def test_repeats_of_one_setting_are_drawn_as_a_mean(two_runs: list[Path]) -> None:
    from vaelab.dashboard.panels import repeats
    from vaelab.dashboard.report import shown_of

    found = find_tracked(two_runs).runs
    assert repeats(shown_of(found)) == []
    seeds = [
        replace(t, id=f"{t.id}{seed}", run=replace(t.run, config=t.run.config | {"seed": seed}))
        for t in found
        for seed in (1, 2)
    ]
    drawn = repeats(shown_of(seeds))
    assert {plot._to_model().config.group_by for plot in drawn} == {"latent_dim.value"}
    assert {"val/loss", "val/mse"} <= {plot.y[0] for plot in drawn}


@pytest.mark.long
def test_runs_have_names_of_their_own(two_runs: list[Path]) -> None:
    runs = find_runs(two_runs)
    assert called(runs) == ["latent_dim=2", "latent_dim=16"]
    repeat = replace(runs[0], folder=Path("again"), config=runs[0].config | {"seed": 2})
    assert called([runs[0], repeat]) == ["digits-ae seed=1", "digits-ae seed=2"]
    assert called([runs[0], replace(runs[0], folder=Path("copy"))])[1] == "digits-ae (copy)"
    other = replace(runs[0], folder=Path("other"), task="embedding")
    assert called([runs[0], other]) == ["compression: digits-ae", "embedding: digits-ae"]


@pytest.mark.long
def test_a_secret_and_a_bar_in_a_setting_do_no_harm(two_runs: list[Path]) -> None:
    found = find_tracked(two_runs).runs
    odd = [
        Tracked(
            replace(t.run, config=t.run.config | {"data.path": path}, overrides=(f"data.path={path}",)),
            t.id,
            t.name,
            None,
        )
        for t, path in zip(found, ("a|b", "https://me:hunter2@x.org/y"), strict=True)
    ]
    said = settings_table(odd)
    assert "hunter2" not in said
    assert "a\\|b" in said


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ([1.0, 1.2], [1.1, 1.3], "; this difference is within the variation over repeats."),
        ([1.0, 1.1], [3.0, 3.1], "b follows with 3.05 ± 0.071."),
        ([1.0], [1.0], "test/mse is 1 in all of them."),
    ],
)
def test_a_difference_is_held_against_repeats(first: list[float], second: list[float], told: str) -> None:
    table = Table(["test/mse"], [Row("a", {"test/mse": first}), Row("b", {"test/mse": second})])
    (sentence,) = findings(table)
    assert sentence.endswith(told)
    assert ("once" in caveat(table)) == (len(first) == 1)


@pytest.mark.parametrize(
    ("metric", "baseline", "told"),
    [
        ("test/mse", {"pca": 0.5}, "The baseline pca is better, with 0.5: no run reaches it."),
        ("test/mse", {"pca": 3.0}, "The best baseline, pca, has 3."),
        ("test/psnr", {"pca": 0.5, "nlm": 0.7}, "The best baseline, nlm, has 0.7."),
        ("test/fid", {"train_split": 0.1}, "test/fid is 1."),
    ],
)
def test_baselines_are_told_and_references_are_not(metric: str, baseline: dict[str, float], told: str) -> None:
    row = Row("a", {metric: [1.0]}, {name: {metric: [value]} for name, value in baseline.items()})
    assert findings(Table([metric], [row]))[0].endswith(told)
    assert (
        "on the first 9 test examples"
        in findings(
            Table(["test/mse"], [replace(row, values={"test/mse": [1.0]}, beside={"pca": {"test/mse": [0.5]}})]), 9
        )[0]
    )


@pytest.mark.long
def test_one_run_is_told_too(build: Build, two_runs: list[Path]) -> None:
    made = build(two_runs[0])
    assert (
        made["report"]["description"] == summary(find_tracked(two_runs[:1]).runs) == "1 run of compression on digits."
    )
    assert "Run Comparer" not in json.dumps(made["report"])
