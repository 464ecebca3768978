"""What a config names is checked before it is imported, and imported before it is built."""

import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Gt
from torch import nn
from torch.optim import Optimizer

from vaelab.check import COLLECTIONS, COMPONENTS
from vaelab.config import targets
from vaelab.config.builder import Builder, check_arguments
from vaelab.corruptions import Chain, Corruption
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.models import Model
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
        Builder().resolve({"_target_": target}, "model", Model)


def test_a_refused_module_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vaelab_evil.py").write_text("raise SystemExit('imported')\nclass Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"trusted=\[vaelab_evil\]"):
        Builder().resolve({"_target_": "vaelab_evil.Net"}, "encoder", nn.Module)
    assert "vaelab_evil" not in sys.modules


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.optimizer.deepcopy",  # a function that torch only imported
        "vaelab.record.environment.subprocess",  # a module
        "torch.nn.modules.module.os.system",
        "vaelab.record.environment.subprocess.run",
        "vaelab.__main__.main",  # importing it would run the command line
        "vaelab.run_folder._claimed",
        "vaelab.models.VAEE",
        "vaelab.modelz.VAE",
        "vaelab.",
    ],
)
def test_only_what_an_allowed_package_defines_can_be_named(target: str) -> None:
    with pytest.raises(ConfigError):
        Builder().resolve({"_target_": target}, "model", Model)


MINE = """
from pathlib import Path
from torch import nn
from vaelab.config.targets import target
class Net(nn.Module): ...
class Other: ...
@target
def small() -> Net: return Net()
def unregistered() -> Net: return Net()
@target
def no_net() -> Other: return Other()
"""


def test_a_trusted_package_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)

    def resolve(name: str) -> Any:
        return Builder(["my_nets"]).resolve({"_target_": f"my_nets.{name}"}, "encoder", nn.Module)

    assert resolve("Net").__name__ == "Net"
    assert isinstance(Builder("my_nets").build({"_target_": "my_nets.small"}, "encoder", nn.Module), resolve("Net"))
    with pytest.raises(ConfigError, match=r"trusted=\[pathlib\]"):
        resolve("Path")
    with pytest.raises(ConfigError, match=r"unregistered: is a function that is not registered.*target registers it"):
        resolve("unregistered")
    for name in ("Other", "no_net"):  # trust is in a package, and does not lift the kind
        with pytest.raises(ConfigError, match=rf"{name}: should be a Module"):
            resolve(name)


def test_only_a_function_that_says_what_it_returns_can_be_registered() -> None:
    for wrong in (lambda: None, Linear, takes, print):
        with pytest.raises(TypeError, match="annotated with the class it returns"):
            targets.target(wrong)


@pytest.mark.parametrize(
    "target",
    ["torch.nn.Identity", "vaelab.models.VAE", "vaelab.data.images.digits.Digits", "vaelab.likelihoods.Gaussian"],
)
def test_a_kind_is_sought_in_its_own_rooms_only(target: str) -> None:
    with pytest.raises(ConfigError, match=r"should be a Module of vaelab\.backbones"):
        Builder().resolve({"_target_": target}, "encoder", nn.Module)


LIGHTNING = "lightning.pytorch"
TRAINER = {"_target_": f"{LIGHTNING}.Trainer"}
ACCEPTED = [
    ("callbacks", {"_target_": f"{LIGHTNING}.callbacks.LearningRateMonitor"}),
    ("callbacks", {"_target_": "vaelab.training.last_checkpoint.LastCheckpoint", "output_dir": "x"}),
    ("logger", {"_target_": f"{LIGHTNING}.loggers.CSVLogger", "save_dir": "x"}),
    ("logger", {"_target_": "vaelab.record.trackers.tensorboard", "output_dir": "x"}),
    ("optimizer", {"_target_": "torch.optim.LBFGS"}),
    ("trainer", TRAINER | {"profiler": {"_target_": f"{LIGHTNING}.profilers.SimpleProfiler"}}),
    ("trainer", TRAINER | {"strategy": {"_target_": f"{LIGHTNING}.strategies.DDPStrategy"}}),
    ("trainer", TRAINER | {"plugins": {"_target_": f"{LIGHTNING}.plugins.environments.SLURMEnvironment"}}),
]
REFUSED = [
    ("callbacks", {"_target_": f"{LIGHTNING}.callbacks.LambdaCallback", "on_fit_start": {"_target_": "os.getcwd"}}),
    ("callbacks", {"_target_": f"{LIGHTNING}.callbacks.LambdaCallback", "on_fit_start": "os.getcwd"}),
    ("logger", {"_target_": f"{LIGHTNING}.loggers.WandbLogger", "settings": {"_target_": "os.getcwd"}}),
    ("logger", {"_target_": "vaelab.record.trackers.log_figures"}),
    ("logger", {"_target_": "vaelab.models.saved_model.load_model", "run": "x", "trusted": ["os"]}),
    ("trainer", {"_target_": f"{LIGHTNING}.cli.LightningCLI"}),
    ("trainer", TRAINER | {"limit_train_batches": TRAINER}),
    ("scheduler", {"_target_": "vaelab.training.schedulers.LearningRate"}),
    ("data", {"_target_": "vaelab.data.tables.files.read_hub"}),
]


@pytest.mark.parametrize(("group", "node"), ACCEPTED)
def test_parts_of_a_run_may_be_those_of_lightning_and_torch(group: str, node: dict[str, Any]) -> None:
    Builder().check(node, group, {**COMPONENTS, **COLLECTIONS}[group])


@pytest.mark.parametrize(("group", "node"), REFUSED)
def test_other_things_of_theirs_and_functions_that_are_no_targets_are_refused(group: str, node: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=group):
        Builder().check(node, group, {**COMPONENTS, **COLLECTIONS}[group])


def test_a_class_that_is_none_by_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"is abstract: it does not define terms"):
        Builder().resolve({"_target_": "vaelab.models.Model"}, "model", Model)
    with pytest.raises(ConfigError, match=r"is abstract: it does not define load"):
        Builder().resolve({"_target_": "vaelab.data.module.DataModule"}, "data", DataModule)


@pytest.mark.parametrize("key", ["hidden", "activation"])
def test_a_class_may_not_stand_where_a_plain_value_should(key: str, tmp_path: Path) -> None:
    writes = {"_target_": "vaelab.atomic_write.write_file", "path": str(tmp_path / "written"), "content": "x"}
    node = {"_target_": "vaelab.backbones.MLPEncoder", "hidden": [4], "activation": "relu"} | {key: writes}
    with pytest.raises(ConfigError, match=rf"encoder\.{key}.*plain value"):
        Builder().build(node, "encoder", nn.Module, input_shape=(1, 8, 8), output_shape=2)
    assert not (tmp_path / "written").exists()


def test_a_nested_class_must_be_what_the_signature_says() -> None:
    vae = {"_target_": "vaelab.models.VAE", "schedule": {"_target_": "vaelab.models.schedules.Linear", "steps": 3}}
    assert "schedule" in Builder().check(vae, "model", Model)
    with pytest.raises(ConfigError, match=r"model\.schedule.*Schedule"):
        Builder().check(vae | {"schedule": {"_target_": "torch.nn.Identity"}}, "model", Model)
    node = {"_target_": "vaelab.models.schedules.Linear", "stepz": 3}
    with pytest.raises(ConfigError, match=r"model\.schedule\.stepz.*model\.schedule\.steps"):
        Builder().check(vae | {"schedule": node}, "model", Model)


def test_a_class_of_another_kind_is_refused() -> None:
    node = {"_target_": "vaelab.models.schedules.Linear", "steps": 3}
    assert Builder().resolve(node, "schedule", Schedule) is Linear
    with pytest.raises(ConfigError, match=r"encoder\._target_.*Module"):
        Builder().resolve(node, "encoder", nn.Module)
    with pytest.raises(ConfigError, match=r"logger\.x\._target_"):
        Builder().resolve({"_target_": "vaelab.atomic_write.write_file"}, "logger.x", nn.Module)


def takes_more(number: float = 1.0, **more: Any) -> None: ...


NODE = {"_target_": "vaelab.models.schedules.Constant"}


@pytest.mark.parametrize("value", [NODE, [NODE], [[1, NODE]], {"a": NODE}, {"a": [{"b": NODE}]}, {"a": NODE, "b": 1}])
@pytest.mark.parametrize("key", ["more", "anything", "widths"])
def test_where_plain_values_are_wanted_no_node_lies_within_them(key: str, value: Any) -> None:
    target = takes_more if key == "more" else takes
    with pytest.raises(ConfigError, match=rf"x\.{key}.*plain value|x\.{key}=|x\.{key}\.a"):
        check_arguments(target, {key: value}, "x", Builder())


def test_arguments_that_a_signature_takes_without_naming_them_are_plain_values() -> None:
    given = {"number": 2.0, "path": "a", "many": [1, {"b": None}]}
    assert check_arguments(takes_more, given, "x", Builder()) == given


def test_a_dict_of_parts_takes_parts_by_name_only() -> None:
    mask = {"_target_": "vaelab.corruptions.Mask", "fraction": 0.2}
    chain = {"_target_": "vaelab.corruptions.Chain", "parts": {"first": mask, "none": None}}
    assert isinstance(Builder().build(chain, "corruption", Corruption), Chain)
    for parts in (mask, [mask], {"first": [mask]}, {"first": mask, "second": 3}):
        with pytest.raises(ConfigError, match=r"corruption\.parts"):
            Builder().build(chain | {"parts": parts}, "corruption", Corruption)


def test_a_value_in_a_message_is_short_and_printable() -> None:
    with pytest.raises(ConfigError) as refused:
        check_arguments(takes, {"number": "\x1b[2J" + "a" * 100_000}, "x")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


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
        ({"widths": 1}, r"x\.widths=1: should be a list: x\.widths=\[1\]"),
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
    node, builder = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, Builder(["torch.nn"])
    assert builder.build({**node}, "encoder", nn.Module, bias=False).bias is None
    with pytest.raises(ConfigError, match=r"encoder\.bias: is set by the run"):
        builder.build({**node, "bias": True}, "encoder", nn.Module, bias=False)
    with pytest.raises(ConfigError, match=r"encoder\.out_features: needs a value"):
        builder.build({"_target_": "torch.nn.Linear", "in_features": 2}, "encoder", nn.Module)


def test_a_refusal_by_the_class_itself_names_the_key() -> None:
    parameter = nn.Parameter()
    with pytest.raises(ConfigError, match="optimizer: Invalid learning rate: -1"):
        Builder().build({"_target_": "torch.optim.Adam", "lr": -1.0}, "optimizer", Optimizer, params=[parameter])
