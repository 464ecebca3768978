"""Optimizers and schedules from plain data do what their names say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vaelab.config.builder import Builder
from vaelab.errors import CheckpointError, ConfigError
from vaelab.training.optimization import Optimization
from vaelab.training.schedulers import Cosine

ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.1, "betas": [0.9, 0.99], "weight_decay": 0.0}
COSINE = {"_target_": "vaelab.training.schedulers.Cosine", "warmup_steps": 2, "final": 0.1}
CONSTANT = {"_target_": "vaelab.training.schedulers.Constant", "warmup_steps": 0}


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def test_the_rate_is_lr_times_the_factor_of_each_step() -> None:
    weight = nn.Linear(1, 1)
    configured = Optimization(ADAMW, COSINE, Builder()).configure(list(weight.parameters()), 12)
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(13):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    factor = Cosine(12, warmup_steps=2, final=0.1)
    assert rates == pytest.approx([0.1 * factor(step) for step in range(13)])
    assert rates[-1] == pytest.approx(0.01)


def test_state_is_plain_and_goes_on_where_it_was(tmp_path) -> None:
    """It is read back with `weights_only=True`, so nothing but numbers may be in it."""
    torch.manual_seed(0)
    x, optimization = torch.randn(8, 2), Optimization(ADAMW, COSINE, Builder())

    def begin() -> tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        torch.manual_seed(1)
        model = nn.Linear(2, 1)
        configured = optimization.configure(trainable(model), 12)
        return model, configured["optimizer"], configured["lr_scheduler"]["scheduler"]

    def steps(count: int, model, optimizer, schedule) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            schedule.step()

    straight = begin()
    steps(10, *straight)
    first, second = begin(), begin()
    steps(4, *first)
    torch.save([part.state_dict() for part in first], tmp_path / "state.pt")
    for part, state in zip(second, torch.load(tmp_path / "state.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    steps(6, *second)
    assert torch.equal(second[0].weight, straight[0].weight)


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate"):
        Optimization(ADAMW | {"learning_rate": 1.0}, CONSTANT, Builder()).configure(trainable(nn.Linear(1, 1)), 10)


# What a checkpoint says


MADE = {"fused": ADAMW | {"fused": True}, "plain": ADAMW,
        "sgd": {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9},
        "adafactor": {"_target_": "torch.optim.Adafactor", "lr": 0.1},
        "lbfgs": {"_target_": "torch.optim.LBFGS", "lr": 0.1}}  # fmt: skip


def trained(node: dict[str, Any]) -> tuple[Optimization, nn.Module, dict[str, Any]]:
    """An optimization, a model of five weights, one of them an image's, and the state of its optimizer."""
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3, 1, bias=False), nn.Linear(1, 1))
    if node["_target_"] != "torch.optim.LBFGS":  # torch's takes no other order of numbers
        model = model.to(memory_format=torch.channels_last)
    optimization = Optimization(node, CONSTANT, Builder())
    optimizer = optimization.configure(trainable(model), 10)["optimizer"]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(torch.ones(4, 2, 2, 2)).square().mean()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    return optimization, model, optimizer.state_dict()


@pytest.mark.parametrize("name", MADE)
def test_the_own_state_is_taken(name: str, tmp_path: Path) -> None:
    optimization, model, saved = trained(MADE[name])
    torch.save(saved, tmp_path / "saved")
    saved = torch.load(tmp_path / "saved", weights_only=True)
    optimization.refuse_other_state(saved, trainable(model), Path("last.ckpt"))
    optimization.configure(trainable(model), 10)["optimizer"].load_state_dict(saved)


def moment(index: int, value: Any, name: str = "exp_avg") -> Callable[[dict[str, Any]], None]:
    return lambda saved: saved["state"][index].__setitem__(name, value)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "short": moment(2, torch.zeros(2)),
    "of another shape": moment(2, torch.zeros(3, 1)),
    "one number that poses as many": moment(2, torch.zeros(1).expand(1, 3)),
    "whole numbers": moment(2, torch.zeros(1, 3, dtype=torch.int64)),
    "sparse": moment(2, torch.zeros(1, 3).to_sparse()),
    "no tensor": moment(2, 0.5),
    "a step of many": moment(2, torch.zeros(3), "step"),
    "a list": moment(2, [[1]], "more"),
    "a moment less": lambda saved: saved["state"][2].pop("exp_avg_sq"),
    "no such weight": lambda saved: saved["state"].__setitem__(5, saved["state"][0]),
    "a name for a weight": lambda saved: saved["state"].__setitem__("0", saved["state"][0]),
    "a weight less": lambda saved: saved["param_groups"][0].__setitem__("params", [0, 1, 2]),
    "weights in another order": lambda saved: saved["param_groups"][0].__setitem__("params", [1, 0, 2, 3, 4]),
    "no groups": lambda saved: saved.__setitem__("param_groups", []),
    "no state": lambda saved: saved.pop("state"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_moments_that_are_not_those_of_the_weights_are_refused(name: str) -> None:
    """A fused step would read and write beyond them."""
    optimization, model, saved = trained(MADE["fused"])
    BROKEN[name](saved)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: is broken \(optimizer_states: "):
        optimization.refuse_other_state(saved, trainable(model), Path("last.ckpt"))


def test_no_setting_is_taken_from_a_checkpoint() -> None:
    optimization, model, saved = trained(ADAMW)
    saved["param_groups"][0] |= {"lr": "much", "betas": None, "other": [[]]}
    optimizer = optimization.configure(trainable(model), 10)["optimizer"]
    own = dict(optimizer.param_groups[0])
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0] == own
