"""When `last.ckpt` is written, and that it is written after whole steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

import vaelab.run
from vaelab.training import last_checkpoint

SMALL = ("task=compression", "model=ae", "encoder.hidden=[8]", "task.baselines=false", "data.batch_size=20")
Train = Callable[..., Path]


@pytest.fixture
def saves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps at which the last checkpoint is written; each batch takes a minute of its clock."""
    found: list[int] = []
    clock = [0.0]

    class Minutes(Callback):
        def on_train_batch_start(self, *others: Any) -> None:
            clock[0] += 60

    build, save = vaelab.run.build_callbacks, last_checkpoint.LastCheckpoint._save

    def kept(self: Any, trainer: Any) -> None:
        found.append(trainer.global_step)
        save(self, trainer)

    monkeypatch.setattr(vaelab.run, "build_callbacks", lambda *given: [Minutes(), *build(*given)])
    monkeypatch.setattr(last_checkpoint, "monotonic", lambda: clock[0])
    monkeypatch.setattr(last_checkpoint.LastCheckpoint, "_save", kept)
    return found


def test_it_is_written_every_few_minutes_of_a_long_epoch(train: Train, saves: list[int]) -> None:
    run = train(*SMALL, "trainer.max_epochs=1", "callbacks.last.every_n_minutes=20")  # of 65 batches
    assert saves == [20, 40, 60, 65]
    assert torch.load(run / "checkpoints/before_last.ckpt", weights_only=True)["global_step"] == 60


@pytest.mark.long
def test_it_waits_for_the_step_of_accumulated_batches(train: Train, saves: list[int]) -> None:
    train(*SMALL, "trainer.max_epochs=1", "callbacks.last.every_n_minutes=20", "trainer.accumulate_grad_batches=6")
    assert saves == [4, 8, 11]  # after 24, 48 and all 65 batches


@pytest.mark.long
def test_short_epochs_are_saved_at_their_end_alone(train: Train, saves: list[int]) -> None:
    train(*SMALL, "trainer.max_epochs=2", "callbacks.last.every_n_minutes=70")
    assert saves == [65, 130]


@pytest.mark.parametrize("word", ["callbacks.last.every_n_minutes=0", "callbacks.last.every_n_minutes=often"])
def test_what_is_no_time_is_refused(train: Train, capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL, word)
    assert stopped.value.code == 2
    assert word in capsys.readouterr().err


@pytest.mark.parametrize("validation", ["trainer.check_val_every_n_epoch=1", "trainer.check_val_every_n_epoch=3"])
def test_a_run_of_a_number_of_steps_goes_on_after_a_whole_epoch(train: Train, validation: str) -> None:
    words = (*SMALL, "trainer.max_steps=150", "test=false", "task.pictures_every=null", validation)
    whole = train(*words, "trainer.max_epochs=3")
    cut = train(*words, "trainer.max_epochs=1")
    train(f"resume={cut}", "trainer.max_epochs=3")
    ours, theirs = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (cut, whole))
    assert ours["global_step"] == theirs["global_step"] == 150
    assert all(torch.equal(ours["state_dict"][name], weight) for name, weight in theirs["state_dict"].items())
