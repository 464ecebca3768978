"""The workspaces of tasks: every name in them is known, and two builds are the same."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dashboard_specs import named, panels
from vaelab.config.location import config_dir
from vaelab.dashboard.contents import CONTENTS, headlines_of, variants
from vaelab.metrics import METRICS, TOPICS, direction, headlines, metric

Build = Callable[..., dict[str, Any]]
TASKS = sorted(path.stem for path in (config_dir() / "task").glob("*.yaml"))
SPLITS = {"train", "val", "test"}
ADDED = {"size.parameters"}  # to the config, by the run itself; and the chosen options, `choices.model`


@cache
def keys(task: str) -> set[str]:
    """The keys of a composed config with a VAE, and of what a run adds to it."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config: Any = compose("train", [f"task={task}", "model=vae"], return_hydra_config=True)
    choices = {f"choices.{group.replace('/', '_')}" for group in config.hydra.runtime.choices if "@" not in group}
    plain: Any = OmegaConf.to_container(config)
    return set(_flat(plain)) | choices | ADDED


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")


def test_every_task_has_a_workspace(build: Build) -> None:
    assert set(CONTENTS) == set(TASKS)
    made = build("team/project")
    assert [one["task"] for one in made["workspaces"]] == list(CONTENTS)
    assert (made["entity"], made["project"]) == ("team", "project")
    assert "report" not in made


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_is_in_the_registry_and_every_key_in_the_config(build: Build, task: str) -> None:
    (made,) = build("--task", task)["workspaces"]
    metrics, settings, media = named(made)
    assert len(metrics) > 20
    for name in metrics:
        split, _, measure = name.partition("/")
        assert split in SPLITS, name
        assert metric(measure) is not None, name
    assert {f"test/{known.name}" for known in headlines_of(task)} <= metrics
    assert settings <= keys(task)
    assert media == {f"progress/{picture}" for picture in CONTENTS[task].pictures}


@pytest.mark.parametrize("task", TASKS)
def test_the_best_run_comes_first(build: Build, task: str) -> None:
    (made,) = build("--task", task)["workspaces"]
    (runs,) = made["spec"]["section"]["runSets"]
    (by,) = runs["sort"]["keys"]
    assert by["key"] == {"section": "summary", "name": f"test/{headlines_of(task)[0].name}"}
    assert by["ascending"] == (direction(by["key"]["name"]) == "min")
    (only,) = runs["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("jobType", "=", task)


def test_runs_are_sorted_by_a_number_that_they_have() -> None:
    from vaelab.dashboard.panels import Shown

    assert Shown().judge("generation").name == "nll"
    assert Shown(measured=frozenset({"test/fid", "test/mse"})).judge("generation").name == "fid"  # an autoencoder's
    assert Shown(measured=frozenset({"test/perplexity"})).judge("generation").name == "nll"


@pytest.mark.parametrize("task", TASKS)
def test_the_better_end_of_parallel_coordinates_is_up(build: Build, task: str) -> None:
    made = build("--task", task)
    (panel,) = [panel for panel in panels(made) if panel["viewType"] == "Parallel Coordinates Plot"]
    results = [column for column in panel["config"]["columns"] if column["accessor"].startswith("summary:")]
    assert results[-1]["accessor"] == f"summary:test/{headlines_of(task)[0].name}"
    for column in results:
        assert column.get("inverted", False) == (direction(column["accessor"].partition(":")[2]) == "min")


def test_curves_are_drawn_over_optimizer_steps(build: Build) -> None:
    plots = [panel["config"] for panel in panels(build()) if panel["viewType"] == "Run History Line Plot"]
    assert {plot["xAxis"] for plot in plots} == {"trainer/global_step"}
    assert {name.partition("/")[0] for plot in plots for name in plot["metrics"]} == {"train", "val"}


def test_ids_are_their_own_and_two_builds_are_the_same(build: Build, tmp_path: Path) -> None:
    made = build()
    ids = [panel["__id__"] for panel in panels(made)]
    assert len(set(ids)) == len(ids)
    first = (tmp_path / "dashboard.json").read_bytes()
    (tmp_path / "dashboard.json").unlink()
    build()
    assert (tmp_path / "dashboard.json").read_bytes() == first


def test_the_specification_is_that_of_the_package(build: Build) -> None:
    from wandb_workspaces.workspaces.internal import WorkspaceViewspec

    for made in build()["workspaces"]:
        read = WorkspaceViewspec.model_validate_json(json.dumps(made["spec"]))
        assert json.loads(read.model_dump_json(by_alias=True, exclude_none=True)) == made["spec"]


def test_topics_hold_every_metric_once() -> None:
    names = [known.name for topic in TOPICS.values() for known in topic]
    assert len(names) == len(set(names)) == len(METRICS)
    shown = {name for task in CONTENTS for known in headlines_of(task) for name in variants(known)}
    assert shown <= set(headlines())
    assert {known.name for known in METRICS.values() if known.headline} <= shown
