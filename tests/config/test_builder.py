"""What a config names is checked before it is imported, and imported before it is built."""

import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Gt
from torch import nn

from vaelab.config.builder import Builder, check_arguments
from vaelab.errors import ConfigError
from vaelab.models.schedules import Linear, Schedule


def takes(
    number: float = 1.0,
    count: Annotated[int, Gt(0)] = 1,
    pair: tuple[int, int] | None = None,
    widths: list[int] | None = None,
    anything: Any = None,
) -> None: ...


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "vaelab_evil.x",
        "vaelabs.models.VAE",
        "torch.nn_evil.Linear",
        "torch.load",
        "lightning.Trainer",
        "vaelab",
    ],
)
def test_a_target_outside_the_allow_list_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match=target.replace(".", r"\.")):
        Builder().resolve({"_target_": target}, "model")


def test_a_refused_module_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vaelab_evil.py").write_text("raise SystemExit('imported')\nclass Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"trusted=\[vaelab_evil\]"):
        Builder().resolve({"_target_": "vaelab_evil.Net"}, "encoder")
    assert "vaelab_evil" not in sys.modules


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.optimizer.deepcopy",  # a function that torch only imported
        "vaelab.record.environment.subprocess",  # a module
        "torch.nn.modules.module.os.system",
        "vaelab.record.environment.subprocess.run",
        "vaelab.__main__.main",  # importing it would run the command line
        "vaelab.record.folder._claimed",
        "vaelab.models.VAEE",
        "vaelab.modelz.VAE",
        "vaelab.",
    ],
)
def test_only_what_an_allowed_package_defines_can_be_named(target: str) -> None:
    with pytest.raises(ConfigError):
        Builder().resolve({"_target_": target}, "model")


def test_a_trusted_package_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text("from pathlib import Path\nclass Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert Builder(["my_nets"]).resolve({"_target_": "my_nets.Net"}, "encoder").__name__ == "Net"
    with pytest.raises(ConfigError, match=r"trusted=\[pathlib\]"):
        Builder(["my_nets"]).resolve({"_target_": "my_nets.Path"}, "encoder")


@pytest.mark.parametrize("key", ["hidden", "activation"])
def test_a_class_may_not_stand_where_a_plain_value_should(key: str, tmp_path: Path) -> None:
    writes = {"_target_": "vaelab.atomic_write.write_file", "path": str(tmp_path / "written"), "content": "x"}
    node = {"_target_": "vaelab.backbones.MLPEncoder", "hidden": [4]} | {key: writes}
    with pytest.raises(ConfigError, match=rf"encoder\.{key}.*plain value"):
        Builder().build(node, "encoder", input_shape=(1, 8, 8), output_size=2)
    assert not (tmp_path / "written").exists()


def test_a_nested_class_must_be_what_the_signature_says() -> None:
    vae = {"_target_": "vaelab.models.VAE", "schedule": {"_target_": "vaelab.models.schedules.Linear", "steps": 3}}
    assert "schedule" in Builder().check(vae, "model")
    with pytest.raises(ConfigError, match=r"model\.schedule.*Schedule"):
        Builder().check(vae | {"schedule": {"_target_": "torch.nn.Identity"}}, "model")
    with pytest.raises(ConfigError, match=r"model\.schedule\.stepz.*model\.schedule\.steps"):
        Builder().check(vae | {"schedule": {"_target_": "vaelab.models.schedules.Linear", "stepz": 3}}, "model")


def test_a_class_of_another_kind_is_refused() -> None:
    node = {"_target_": "vaelab.models.schedules.Linear", "steps": 3}
    assert Builder().resolve(node, "schedule", Schedule) is Linear
    with pytest.raises(ConfigError, match=r"encoder\._target_.*Module"):
        Builder().resolve(node, "encoder", nn.Module)
    with pytest.raises(ConfigError, match=r"logger\.x\._target_"):
        Builder().resolve({"_target_": "vaelab.atomic_write.write_file"}, "logger.x", nn.Module)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"numbr": 1}, r"unknown key x\.numbr; did you mean x\.number\?"),
        ({"zzz": 1}, r"unknown key x\.zzz; known here: .*x\.count.*x\.pair"),
        ({"number": "abc"}, r"x\.number=abc: should be a valid number"),
        ({"number": float("inf")}, r"x\.number=Infinity: should be a finite number"),
        ({"number": True}, r"x\.number=true: should be a number, not true or false"),
        ({"widths": [1, True]}, r"x\.widths=\[1, true\]: should be a number, not true or false"),
        ({"count": 0}, r"x\.count=0: should be greater than 0"),
        ({"count": 1.5}, r"x\.count=1\.5: .*fractional"),
        ({"pair": [1]}, r"x\.pair=\[1\]: should have more values"),
        ({"pair": [1, 2, 3]}, r"x\.pair=\[1, 2, 3\]: .*at most 2 items, not 3"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_arguments(takes, arguments, "x")


def test_arguments_are_converted_as_the_signature_says() -> None:
    given = {"number": 2, "count": 3.0, "pair": [1, 2], "widths": [4], "anything": {"a": [1]}}
    found = check_arguments(takes, given, "x")
    assert found == given | {"pair": (1, 2)}
    assert isinstance(found["number"], float)
    assert isinstance(found["count"], int)


def test_what_the_run_sets_cannot_be_set() -> None:
    node = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}
    assert Builder().build({**node}, "encoder", bias=False).bias is None
    with pytest.raises(ConfigError, match=r"encoder\.bias: is set by the run"):
        Builder().build({**node, "bias": True}, "encoder", bias=False)
    with pytest.raises(ConfigError, match=r"encoder\.out_features: needs a value"):
        Builder().build({"_target_": "torch.nn.Linear", "in_features": 2}, "encoder")


def test_a_refusal_by_the_class_itself_names_the_key() -> None:
    parameter = nn.Parameter()
    with pytest.raises(ConfigError, match="optimizer: Invalid learning rate: -1"):
        Builder().build({"_target_": "torch.optim.Adam", "lr": -1.0}, "optimizer", params=[parameter])
