"""Sweeps over sets of overrides."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins

from vaelab.quoting import quoted
from vaelab.record.sweep import Job
from vaelab.sweep import successive


def jobs(axes: dict[str, list[str]], *typed: str, size: int | None = None) -> list[list[list[str]]]:
    sweeper: Any = Plugins.instance().class_name_to_class["hydra_plugins.vaelab_job_list.JobList"]
    return sweeper(axes).split_arguments(OverridesParser.create().parse_overrides(list(typed)), size)


def test_every_combination_once_what_an_entry_says_last() -> None:
    axes = {"task": ["task=a", "task=b data.normal=[0]"], "model": ["model=ae", "model=vae model.beta=2"]}
    assert jobs(axes, "seed=1,2", "model=x") == [
        [
            [f"seed={seed}", "model=x", *task, *model]
            for seed in (1, 2)
            for task in (["task=a"], ["task=b", "data.normal=[0]"])
            for model in (["model=ae"], ["model=vae", "model.beta=2"])
        ]
    ]


def test_without_axes_it_is_the_product() -> None:
    assert jobs({}, "a=1,2", "b=3") == [[["a=1", "b=3"], ["a=2", "b=3"]]]


def test_batches() -> None:
    assert [len(batch) for batch in jobs({"x": ["a=1", "a=2", "a=3"]}, size=2)] == [2, 1]


def test_jobs_that_are_launched_together_have_successive_numbers() -> None:
    waiting = [Job(number, [], str(number)) for number in (0, 1, 2, 5, 6, 9)]
    parts = [[job.number for job in part] for part in successive(waiting, 2)]
    assert parts == [[0, 1], [2], [5, 6], [9]]


def test_quoted_values_stay_whole() -> None:
    assert jobs({"x": ["'a=[1, 2]' b=1"]}) == [[["a=[1, 2]", "b=1"]]]


@pytest.mark.parametrize("text", ["a b", "it's", "back\\slash", "end\\", "\\'", "[x,y]", "plain/path-1.5", "k=v", ""])
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={quoted(text)}")
    assert override.value() == text
