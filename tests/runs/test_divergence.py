"""A loss that is no number stops the run and harms nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vaelab.cli import train as command

EXPLODES = '''
import torch
from lightning.pytorch.callbacks import Callback

class ExplodeAt(Callback):
    """Spoils one decoder weight before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, model, *others):
        if trainer.global_step == self.step:
            next(model.model.decoder.parameters()).data.fill_(float("nan"))
'''


def test_names_step_and_term_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "explosive.py").write_text(EXPLODES)
    monkeypatch.syspath_prepend(tmp_path)
    bomb = ("trusted=[explosive]", "+callbacks.bomb._target_=explosive.ExplodeAt", "+callbacks.bomb.step=30")
    with pytest.raises(SystemExit) as stopped:
        command(["logger=none", f"paths.log_dir={tmp_path / 'logs'}", "trainer.max_epochs=3", *bomb])
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert "train/reconstruction is not a number at step 30" in message
    assert "Traceback" not in message
    (last,) = tmp_path.rglob("last.ckpt")
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == 21  # the end of the first epoch
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_weights_that_are_no_numbers_do_not_replace_good_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # The step before the save was fine and its update was not: only the weights can tell.
    (tmp_path / "sneaky.py").write_text(EXPLODES.replace("on_train_batch_start", "on_train_batch_end"))
    monkeypatch.syspath_prepend(tmp_path)
    bomb = ("trusted=[sneaky]", "+callbacks.bomb._target_=sneaky.ExplodeAt", "+callbacks.bomb.step=30")
    often = (
        "callbacks.last.every_n_train_steps=10",
        "trainer.limit_val_batches=0",
        "callbacks.best=null",
        "test=false",
    )
    with pytest.raises(SystemExit):
        command(["logger=none", f"paths.log_dir={tmp_path / 'logs'}", "trainer.max_epochs=3", *often, *bomb])
    assert "weight decoder" in capsys.readouterr().err
    (last,) = tmp_path.rglob("last.ckpt")
    checkpoint = torch.load(last, weights_only=True)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())
