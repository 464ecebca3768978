"""The sweep as W&B takes it, and what its agent makes of the values."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaelab.config.location import config_dir
from vaelab.config.recorded import parse_word
from vaelab.errors import CheckpointError, ConfigError, UserError
from vaelab.search.settings import Objective
from vaelab.search.space import flat, read_space
from vaelab.search.weights_and_biases.composed import Account, Plan
from vaelab.search.weights_and_biases.definition import (
    combinations,
    definition,
    parameters,
    started_by,
    write_definition,
)
from vaelab.search.weights_and_biases.record import SweepRecord
from vaelab.search.weights_and_biases.recorded_definition import renewed_definition
from vaelab.search.weights_and_biases.settings import SweepNode, read_sweep_node

SPACE: dict[str, Any] = {
    "encoder": ["mlp", "conv"],
    "encoder.hidden": [[256], [512, 256]],
    "data.name": ["a,b", "null", "it's"],
    "data.shuffle": [True, False],
    "posterior": [None, "gaussian"],
    "data.batch_size": [32, 64],
    "model.beta": [1e-05, 1.0, 2e20],
    "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "latent_dim": {"low": 2, "high": 64, "log": True},
}


def node(**settings: Any) -> SweepNode:
    usual = yaml.safe_load((config_dir() / "sweep" / "wandb.yaml").read_text())
    return read_sweep_node(usual | settings)


def plan(space: dict[str, Any] | None = None, **settings: Any) -> Plan:
    found = node(space=SPACE if space is None else space, **settings)
    account = Account("vaelab", "team", "")
    return Plan(found, read_space(found.space), Objective("val/elbo", "max"), account, Path(), "generation", "d-m")


def written(made: Plan, words: tuple[str, ...] = ("data=digits",), **more: Any) -> Any:
    return definition(made, Path("logs/a/search/b"), words, more.get("flags", ()), more.get("start", ("train.py",)))


def test_a_sweep_calls_a_run_in_the_syntax_of_hydra() -> None:
    made = written(plan(trials=7), ("data=digits", "notes=a b"), flags=("--config-dir=mine",))
    assert made["command"] == [
        "${env}", "${interpreter}", "${program}", "--config-dir=mine", "sweep.folder=logs/a/search/b", "data=digits",
        "notes=a b", "test=false", "${args_no_hyphens}",
    ]  # fmt: skip
    assert made["program"] == "train.py"
    assert made["metric"] == {"name": "val/elbo", "goal": "maximize"}
    assert (made["method"], made["run_cap"], made["project"], made["entity"]) == ("bayes", 7, "vaelab", "team")
    assert "early_terminate" not in made
    assert "test=false" not in written(plan(), ("test=true",))["command"]
    module = written(plan(), start=("-m", "vaelab", "train"))
    assert module["command"][2:5] == ["-m", "vaelab", "train"]


def test_a_range_is_a_distribution_of_wandb_over_the_same_numbers() -> None:
    space = {
        "a": {"low": 2, "high": 64},
        "b": {"low": 2, "high": 64, "log": True},
        "c": {"low": 32, "high": 256, "step": 32},
        "d": {"low": 2, "high": 14, "step": 4},
        "e": {"low": 0.0, "high": 0.5},
        "f": {"low": 1e-6, "high": 0.1, "log": True},
        "g": {"low": 0.0, "high": 0.5, "step": 0.1},
        "h": {"low": 0.05, "high": 0.35, "step": 0.1},
    }
    assert parameters(read_space(space), "bayes") == {
        "a": {"distribution": "int_uniform", "min": 2, "max": 64},
        "b": {"distribution": "q_log_uniform_values", "min": 2, "max": 64, "q": 1},
        "c": {"distribution": "q_uniform", "min": 32, "max": 256, "q": 32},
        "d": {"values": [2, 6, 10, 14]},  # W&B rounds to multiples of 4
        "e": {"distribution": "uniform", "min": 0.0, "max": 0.5},
        "f": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
        "g": {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.1},
        "h": {"values": [0.05, 0.15, 0.25, 0.35]},
    }


def test_what_the_agent_types_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """With W&B's own function for `${args_no_hyphens}`, through the file and JSON, as values travel."""
    sweeps = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    path = write_definition(tmp_path, written(plan()))
    kept = json.loads(json.dumps(yaml.safe_load(path.read_text())))
    for key, parameter in kept["parameters"].items():
        if key not in SPACE or not isinstance(SPACE[key], list):
            continue
        for meant, value in zip(SPACE[key], parameter["values"], strict=True):
            (typed,) = sweeps.create_sweep_command_args({"args": {key: {"value": value}}})["args_no_hyphens"]
            word = parse_word(typed)
            assert word is not None, typed
            assert not word.is_sweep_override(), typed
            assert word.key_or_group == key
            assert word.value() == meant, typed
            assert type(word.value()) is type(meant), typed


@pytest.mark.parametrize("option", sorted(path.stem for path in (config_dir() / "sweep").glob("wandb*.yaml")))
def test_spaces_that_are_ready_fit_the_schema_of_wandb(option: str) -> None:
    schema = pytest.importorskip("sweeps").config.schema  # pip install --no-deps sweeps jsonschema jsonref
    import jsonschema

    path = config_dir() / "sweep" / f"{option}.yaml"
    nodes = [yaml.safe_load((config_dir() / "sweep" / "wandb.yaml").read_text())]
    if option != "wandb":
        part = config_dir() / "sweep" / "part" / f"{option.removeprefix('wandb_')}.yaml"
        assert f"part/{part.stem}@_here_" in path.read_text()
        nodes.append(yaml.safe_load(part.read_text()))
    space = {key: entry for one in nodes for key, entry in flat(one.get("space", {})).items()}
    for early in (None, {"min_iter": 3}, {"max_iter": 27, "s": 2, "eta": 3, "strict": True}):
        jsonschema.validate(written(plan(space, early_terminate=early)), schema.sweep_config_jsonschema)


def test_the_schema_of_wandb_takes_all_kinds_of_values_and_ranges() -> None:
    schema = pytest.importorskip("sweeps").config.schema
    import jsonschema

    ranges = {"a.b": {"low": 2, "high": 14, "step": 4}, "c": {"low": 0.0, "high": 0.5, "step": 0.1}}
    jsonschema.validate(written(plan(SPACE | ranges)), schema.sweep_config_jsonschema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written(plan()) | {"method": "tpe"}, schema.sweep_config_jsonschema)


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        ({"model/schedule": ["linear", "usual"]}, {}, "sweep.space.model/schedule: W&B allows only letters"),
        ({"latent_dim": {"low": 2, "high": 64, "log": True}}, {"method": "grid"}, "sweep.method=grid needs a list"),
        ({"model.beta": {"low": 0.1, "high": 1}}, {"method": "grid"}, "sweep.method=grid needs a list"),
        ({"model.beta": {"low": 0.00005, "high": 1.0, "step": 1e-4}}, {}, "make low a multiple of step"),
    ],
)
def test_what_wandb_cannot_take_is_refused(space: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        written(plan(space, **settings))
    assert message in str(refused.value)


def test_grid_takes_lists_and_whole_numbers() -> None:
    space = {
        "encoder": ["mlp"],
        "latent_dim": {"low": 2, "high": 4},
        "data.batch_size": {"low": 32, "high": 64, "step": 32},
    }
    assert written(plan(space, method="grid"))["method"] == "grid"
    assert combinations(read_space(space)) == 1 * 3 * 2


@pytest.mark.parametrize("early", [{}, {"min_iter": 3, "max_iter": 9, "s": 2}, {"max_iter": 9}, {"s": 2}])
def test_hyperband_needs_one_of_two_forms(early: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="min_iter: 3"):
        node(early_terminate=early)


def test_a_key_of_hyperband_that_wandb_has_not_is_named() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.early_terminate\.miniter; did you mean"):
        node(early_terminate={"miniter": 3})


def test_a_secret_among_the_words_is_not_sent_to_wandb() -> None:
    with pytest.raises(ConfigError) as refused:
        written(plan(), ("logger.mlflow.tracking_uri=https://me:hunter2hunter2@host.org",))
    assert "it must not contain a secret" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_agent_starts_the_program_as_seen_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    assert started_by(["train.py"]) == ["train.py"]
    assert started_by([str(tmp_path / "train.py")]) == ["train.py"]
    assert started_by(["/usr/bin/vaelab", "train"]) == ["-m", "vaelab", "train"]


def kept(folder: Path, **changes: Any) -> SweepRecord:
    """A folder whose sweep is not begun yet, as somebody may have changed it."""
    space = {"latent_dim": {"low": 2, "high": 8}, "encoder.hidden": [[16], [32, 16]], "optimizer.lr": [1e-05, 1.0]}
    content = written(plan(space, early_terminate={"min_iter": 3}))
    write_definition(folder, content | changes)
    return SweepRecord(folder, "python train.py", ["data=digits"], [*space], "val/elbo", "max", None, 20, 1)


def renewed(record: SweepRecord) -> Any:
    account = Account("mine", None, "")
    renewed_definition(record, ["data=digits"], [], ["train.py"], account, [config_dir()])
    return yaml.safe_load((record.folder / "wandb_sweep.yaml").read_text())


def test_a_sweep_that_is_begun_later_has_the_same_space_and_a_command_of_our_own(tmp_path: Path) -> None:
    evil = {"command": ["rm", "-rf", "/"], "program": "evil.sh", "project": "theirs", "entity": "them", "job": "evil"}
    made = renewed(kept(tmp_path, **evil))
    whole = yaml.safe_load(write_definition(tmp_path, written(plan())).read_text())
    assert set(made) == set(whole) - {"entity"} | {"early_terminate"}
    assert made["command"] == [
        "${env}", "${interpreter}", "${program}", f"sweep.folder={tmp_path}", "data=digits", "test=false",
        "${args_no_hyphens}",
    ]  # fmt: skip
    assert (made["program"], made["project"], made["run_cap"]) == ("train.py", "mine", 20)
    assert made["early_terminate"] == {"min_iter": 3, "type": "hyperband"}
    assert made["parameters"] == {
        "latent_dim": {"distribution": "int_uniform", "min": 2, "max": 8},
        "encoder.hidden": {"values": ["[16]", "[32,16]"]},
        "optimizer.lr": {"values": [1e-05, 1.0]},
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"trusted": {"values": ["[evil]"]}}, "type them again"),
        ({"model._target_": {"values": ["os.system"]}}, "type them again"),
        ({"hydra.run.dir": {"values": ["/etc"]}}, "type them again"),
        ({"data.path": {"values": ["${oc.env:HOME}"]}}, "type them again"),
        ({"logger.wandb.project": {"values": ["theirs"]}}, "type them again"),
        ({"trainer.devices": {"distribution": "int_uniform", "min": 1, "max": 64}}, "type them again"),
        ({"+a b": {"values": [1]}}, "W&B allows only letters"),
        ({"latent_dim": {"values": [{"a": 1}]}}, "is broken"),
        ({"latent_dim": {"parameters": {"a": {"values": [1]}}}}, "is broken"),
        ({"latent_dim": {"distribution": "int_uniform", "min": "evil", "max": 3}}, "is broken"),
        (["latent_dim"], "is broken"),
    ],
)
def test_parameters_that_a_file_may_not_decide_are_refused(tmp_path: Path, parameters: Any, message: str) -> None:
    with pytest.raises(UserError) as refused:
        renewed(kept(tmp_path, parameters=parameters))
    assert message in str(refused.value)


def test_a_record_that_is_broken_is_named(tmp_path: Path) -> None:
    record = kept(tmp_path)
    record.write()
    assert SweepRecord.read(tmp_path) == record
    good = json.loads((tmp_path / "search.json").read_text())
    broken: list[Any] = [{"id": "../../x"}, {"workers": 0}, {"metric": {}}, {"words": [1]}, {"keys": ["\x1b[2J"]}]
    for change in broken:
        (tmp_path / "search.json").write_text(json.dumps(good | change))
        with pytest.raises(CheckpointError, match="is broken"):
            SweepRecord.read(tmp_path)
