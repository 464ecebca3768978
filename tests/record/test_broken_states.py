"""A `last.ckpt` whose state of training is broken ends in one message that names the part, and changes nothing."""

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vaelab.cli import train
from vaelab.errors import CheckpointError
from vaelab.record.checkpoints import read_start
from vaelab.training.saved_state import refuse_broken_position

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last checkpoint of a run."""
    logs = tmp_path_factory.mktemp("logs")
    words = ("encoder.hidden=[4]", "decoder.hidden=[4]", "latent_dim=2", "data.batch_size=400", "trainer.max_epochs=1")
    stopping = ("callbacks=early_stopping", "trainer.max_time=00:01:00:00")
    train([*words, *stopping, "task=compression", "test=false", "logger=none", f"paths.log_dir={logs}"])
    (path,) = logs.rglob("last.ckpt")
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    shutil.rmtree(logs)
    return checkpoint


@pytest.fixture
def saved(made: dict[str, Any], tmp_path: Path) -> Callable[[Change], Path]:
    """Writes it with a change; returns the file."""

    def save(change: Change) -> Path:
        path = tmp_path / "last.ckpt"
        torch.save(made, path)
        checkpoint = torch.load(path, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, path)
        return path

    return save


def put(value: Any, *keys: str) -> Change:
    """A value in place of the one under these keys; `ModelCheckpoint` stands for its whole key."""

    def change(checkpoint: Any) -> None:
        for key in keys[:-1]:
            checkpoint = checkpoint[next((k for k in checkpoint if str(k).partition("{")[0] == key), key)]
        if value is None:
            del checkpoint[keys[-1]]
        else:
            checkpoint[keys[-1]] = value

    return change


FIT, BEST = ("loops", "fit_loop"), ("callbacks", "ModelCheckpoint")
BATCHES = "epoch_loop.batch_progress"
BROKEN: dict[str, Change] = {
    "global_step": put("many", "global_step"),
    "epoch": put(-1, "epoch"),
    "pytorch-lightning_version": put("2.6.6 of mine", "pytorch-lightning_version"),
    "loops": put({}, "loops"),
    "loops.fit_loop": put([], *FIT),
    f"loops.fit_loop.{BATCHES}": put(None, *FIT, BATCHES),
    f"loops.fit_loop.{BATCHES}.current.reset": put(1, *FIT, BATCHES, "current", "reset"),
    "loops.fit_loop.epoch_progress.current.processed": put(True, *FIT, "epoch_progress", "current", "processed"),
    "loops.fit_loop.state_dict.combined_loader.0.batches": put([{}], *FIT, "state_dict", "combined_loader"),
    "optimizer_states": put([], "optimizer_states"),
    "lr_schedulers": put([], "lr_schedulers"),
    "lr_schedulers.0.last_epoch": put([{"last_epoch": "1", "_step_count": 1}], "lr_schedulers"),
    "callbacks": put([], "callbacks"),
    "callbacks: ModelCheckpoint{bad": lambda c: c["callbacks"].update(
        {"ModelCheckpoint{bad": next(s for k, s in c["callbacks"].items() if k.startswith("ModelCheckpoint"))}
    ),
    "callbacks.ModelCheckpoint.dirpath": put(None, *BEST, "dirpath"),
    "callbacks.ModelCheckpoint.best_k_models": put([], *BEST, "best_k_models"),
    "callbacks.ModelCheckpoint.best_k_models.a": put({"a": torch.zeros(3)}, *BEST, "best_k_models"),
    "callbacks.ModelCheckpoint.best_model_path": put(3, *BEST, "best_model_path"),
    "callbacks.BestValidation.numbers.val/mse": put("x", "callbacks", "BestValidation", "numbers", "val/mse"),
    "callbacks.Compilation.decided": put("max-autotune", "callbacks", "Compilation", "decided"),
    "callbacks.EarlyStopping.wait_count": put("x", "callbacks", "EarlyStopping", "wait_count"),
    "callbacks.Timer.time_elapsed": put([], "callbacks", "Timer", "time_elapsed"),
    "train_terms.names": put({}, "train_terms"),
    "train_terms: Value error, epoch": put([1.0] * 99, "train_terms", "epoch"),
}


def test_a_whole_state_is_read(made: dict[str, Any], saved: Callable[[Change], Path]) -> None:
    path = saved(lambda _: None)
    assert read_start(path, resumes=True).step == made["global_step"]
    refuse_broken_position(path, made, "Digits")


@pytest.mark.parametrize("part", BROKEN)
def test_the_broken_part_is_named(saved: Callable[[Change], Path], part: str) -> None:
    path = saved(BROKEN[part])
    with pytest.raises(CheckpointError) as raised:
        read_start(path, resumes=True)
    assert f"{path}: is broken ({part}" in str(raised.value)


def test_a_setting_that_is_no_plain_value_is_none_of_a_broken_state(saved: Callable[[Change], Path]) -> None:
    key = f"ModelCheckpoint{ {'monitor': None, 'train_time_interval': datetime.timedelta(seconds=60)} }"
    add: Change = lambda c: c["callbacks"].update(  # noqa: E731
        {key: next(s for k, s in c["callbacks"].items() if k.startswith("ModelCheckpoint"))}
    )
    assert read_start(saved(add), resumes=True).state


def test_weights_are_read_without_the_state(saved: Callable[[Change], Path]) -> None:
    assert read_start(saved(put([], "optimizer_states"))).weights
    with pytest.raises(CheckpointError, match="global_step"):
        read_start(saved(put("many", "global_step")))


@pytest.mark.parametrize("position", [{}, {"epoch": 1, "batches": "x"}, [1], None])
def test_a_place_in_the_data_is_counted(position: Any) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt: is broken \(Digits"):
        refuse_broken_position(Path("last.ckpt"), {"Digits": position}, "Digits")
