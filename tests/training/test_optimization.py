"""Optimizers and schedules from plain data do what their names say."""

import pytest
import torch
from torch import nn

from vaelab.config.builder import Builder
from vaelab.errors import ConfigError
from vaelab.training.optimization import Optimization
from vaelab.training.schedulers import Cosine

ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.1, "betas": [0.9, 0.99], "weight_decay": 0.0}
COSINE = {"_target_": "vaelab.training.schedulers.Cosine", "warmup_steps": 2, "final": 0.1}
CONSTANT = {"_target_": "vaelab.training.schedulers.Constant", "warmup_steps": 0}


def test_the_rate_is_lr_times_the_factor_of_each_step() -> None:
    weight = nn.Linear(1, 1)
    configured = Optimization(ADAMW, COSINE, Builder()).configure(weight, total_steps=12)
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


def test_takes_every_trainable_weight_and_no_other() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].weight.requires_grad_(False)
    optimizer = Optimization(ADAMW, CONSTANT, Builder()).configure(model, 10)["optimizer"]
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert held == {id(model[0].bias), id(model[1].weight), id(model[1].bias)}


def test_state_is_plain_and_goes_on_where_it_was(tmp_path) -> None:
    """It is read back with `weights_only=True`, so nothing but numbers may be in it."""
    torch.manual_seed(0)
    x, optimization = torch.randn(8, 2), Optimization(ADAMW, COSINE, Builder())

    def begin() -> tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        torch.manual_seed(1)
        model = nn.Linear(2, 1)
        configured = optimization.configure(model, 12)
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
        Optimization(ADAMW | {"learning_rate": 1.0}, CONSTANT, Builder()).configure(nn.Linear(1, 1), 10)
