"""Small data get enough steps, large data enough epochs, and the run says whether that was enough."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.errors import ConfigError
from vaelab.record.curves import read_curves
from vaelab.training.budget import Budget, TrainingTime, plateau, settled

BUDGET = Budget(steps=3000, epochs=10, patience=0.3)
AUTO = {"max_epochs": "auto", "check_val_every_n_epoch": "auto"}
FITTING = SimpleNamespace(fn=TrainerFn.FITTING)
WATCHING = {"monitor": "val/elbo", "mode": "max"}


def settings(examples: int, effort: str = "normal", budget: Budget = BUDGET, **trainer: Any) -> tuple[int, int]:
    found = settled(AUTO | trainer, budget, effort, examples, batch_size=128)
    return found["max_epochs"], found["check_val_every_n_epoch"]


def test_small_data_get_steps_and_large_data_epochs() -> None:
    assert settings(600) == (600, 6)  # 5 steps in an epoch
    assert settings(1_000_000) == (10, 1)
    assert settings(600, budget=Budget(0, 100, None)) == (100, 1)


@pytest.mark.parametrize(("effort", "epochs"), [("quick", 150), ("normal", 600), ("best", 2400)])
def test_effort_scales_the_budget(effort: str, epochs: int) -> None:
    assert settings(600, effort)[0] == epochs


def test_steps_are_those_that_are_taken() -> None:
    assert settings(600, accumulate_grad_batches=5)[0] == 3000
    assert settings(600, limit_train_batches=1)[0] == 3000
    assert settings(600, limit_train_batches=0.5)[0] == 1500
    assert settings(600, overfit_batches=1)[0] == 3000
    assert settings(600, max_steps=7) == (-1, 1)


def test_a_number_says_how_long_to_train_alone() -> None:
    assert settings(600, max_epochs=500) == (500, 1)
    assert settings(600, max_epochs=500, check_val_every_n_epoch=4) == (500, 4)
    with pytest.raises(ConfigError, match=r"effort=best: trainer\.max_epochs=500 already fixes"):
        settings(600, "best", max_epochs=500)
    with pytest.raises(ConfigError, match=r"effort=quick: trainer\.max_steps=7 already fixes"):
        settings(600, "quick", max_steps=7)


def test_patience_is_a_part_of_the_validations() -> None:
    found = settled(AUTO, BUDGET, "normal", 600, 128)
    assert [stop.patience for stop in plateau(found, BUDGET, WATCHING)] == [30]
    assert plateau(found, Budget(3000, 10, None), WATCHING) == []
    for within_epochs in ({"val_check_interval": 0.1}, {"limit_val_batches": 0}):
        assert plateau(found | within_epochs, BUDGET, WATCHING) == []


def watched(*values: float) -> TrainingTime:
    time = TrainingTime("val/elbo", "max", "normal")
    for step, value in enumerate(values, 1):
        metrics = {"val/elbo": torch.tensor(value)}
        trainer: Any = SimpleNamespace(
            callback_metrics=metrics, sanity_checking=False, state=FITTING, global_step=100 * step
        )
        time.on_validation_end(trainer, None)  # type: ignore[arg-type]
    return time


def test_a_run_that_still_improves_is_told_from_one_that_does_not() -> None:
    rising = np.linspace(-100, -10, 20)
    assert watched(*rising).improving
    assert not watched(*np.minimum(rising, -50)).improving  # flat from the middle on
    assert not watched(*-np.abs(rising + 50)).improving  # over-fitted
    assert not watched(*rising[:5]).improving  # too few to tell


@pytest.mark.parametrize(("step", "stopped"), [(1_248, False), (700, True)])
def test_a_plateau_at_the_very_end_leaves_the_advice_to_train_for_longer(step: int, stopped: bool) -> None:
    time = watched(*np.linspace(-100, -10, 20))
    ended: Any = SimpleNamespace(stopped_epoch=step, patience=3, monitor="val/elbo")
    trainer: Any = SimpleNamespace(
        interrupted=False, global_step=step, early_stopping_callbacks=[ended], estimated_stepping_batches=1_250,
        is_global_zero=True,
    )  # fmt: skip
    time.on_train_end(trainer, None)  # type: ignore[arg-type]
    assert time.stopped == stopped
    assert time.improving == (not stopped)


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = np.random.default_rng(0).normal(size=(90, 2))
    lines = ["a,b,c", *(f"{a:.4f},{b:.4f},{a + b:.4f}" for a, b in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return f"data.path={tmp_path / 't.csv'}"


def test_a_run_trains_for_its_budget_and_a_resumed_one_goes_on(table: str, train: Any) -> None:
    words = ("data=table", table, "test=false", "budget.steps=60", "budget.patience=null")
    folder = train(*words, "effort=quick")
    assert [step for step, _ in read_curves(folder / "metrics.csv")["val/elbo"]][-1] == 14
    train(f"resume={folder}", "effort=normal")
    assert [step for step, _ in read_curves(folder / "metrics.csv")["val/elbo"]][-1] == 59


@pytest.mark.long
def test_a_plateau_ends_training_and_is_said(table: str, train: Any, capsys: Any) -> None:
    folder = train("data=table", table, "test=false", "budget.steps=400", "budget.patience=0.05", "optimizer.lr=1e-12")
    assert read_curves(folder / "metrics.csv")["val/elbo"][-1][0] < 200
    assert "training ended early" in capsys.readouterr().out
    assert json.loads((folder / "environment.json").read_text())


@pytest.mark.long
def test_a_run_goes_on_after_a_plateau(table: str, train: Any, capsys: Any) -> None:
    words = ("data=table", table, "test=false", "optimizer.lr=1e-12", "budget.patience=0.05")
    folder = train(*words, "budget.steps=400")
    ended = read_curves(folder / "metrics.csv")["val/elbo"][-1][0]
    capsys.readouterr()
    train(f"resume={folder}", "budget.steps=800")
    assert read_curves(folder / "metrics.csv")["val/elbo"][-1][0] >= ended + 5  # as many validations as at first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("effort=long",), "effort=long"),
        (("effort=best", "trainer.max_epochs=3"), "trainer.max_epochs=3 already fixes the length of training"),
        (("budget.steps=-1",), "budget.steps=-1"),
        (("budget.patience=2",), "budget.patience=2"),
        (("+budget.minutes=2",), "unknown key budget.minutes"),
        (("trainer.max_epochs=car",), "trainer.max_epochs=car: should be a valid integer or 'auto'"),
    ],
)
def test_misuse_is_named(words: tuple[str, ...], message: str, train: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
