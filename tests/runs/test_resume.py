"""A run that was killed and resumed ends as if nothing had happened."""

import os
import signal as signals
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vaelab.record.curves import read_curves

REPOSITORY = Path(__file__).parents[2]
KILLER = '''
import os, signal
from lightning.pytorch.callbacks import Callback

class KillAt(Callback):
    """Sends this process a signal after an optimizer step."""

    def __init__(self, step: int, signal: str) -> None:
        self.step, self.signal = step, signal

    def on_train_batch_end(self, trainer, *others):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), getattr(signal, self.signal))
'''
SMALL = ("logger=none", "trainer.max_epochs=3", "encoder.hidden=[16]", "decoder.hidden=[16]", "scheduler=cosine")
SMALL += ("corruption=gaussian", "trainer.log_every_n_steps=5", "data.batch_size=100")  # 13 steps an epoch


def launch(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY / "src")])}
    command = [sys.executable, str(REPOSITORY / "train.py"), *overrides]
    before = signals.signal(signals.SIGINT, signals.default_int_handler)  # a job in the background ignores it
    try:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    finally:
        signals.signal(signals.SIGINT, before)


def only_run(folder: Path) -> Path:
    (config,) = folder.rglob("config.yaml")
    return config.parent


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = launch(folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return only_run(folder)


@pytest.mark.parametrize(
    ("signal", "step", "code"),
    [
        pytest.param("SIGKILL", 20, -9, id="killed within an epoch", marks=pytest.mark.long),
        pytest.param("SIGKILL", 26, -9, id="killed at its end", marks=pytest.mark.long),
        pytest.param("SIGTERM", 17, 143, id="terminated", marks=pytest.mark.long),
        pytest.param("SIGINT", 30, 130, id="interrupted from the keyboard", marks=pytest.mark.long),
    ],
)
def test_ends_with_the_weights_and_curves_of_the_uninterrupted_run(
    signal: str, step: int, code: int, tmp_path: Path, uninterrupted: Path
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    killer = ("trusted=[killer]", "+callbacks.kill._target_=killer.KillAt", f"+callbacks.kill.step={step}")
    every = "callbacks.last.every_n_train_steps=4"
    stopped = launch(tmp_path, *SMALL, *killer, f"+callbacks.kill.signal={signal}", every)
    assert stopped.returncode == code, stopped.stderr
    run = only_run(tmp_path)
    if code > 0:
        assert f"resume={run}" in stopped.stderr

    resumed = launch(tmp_path, f"resume={run}", "callbacks.kill=null", "trusted=[]")
    assert resumed.returncode == 0, resumed.stderr
    ours, theirs = (torch.load(r / "checkpoints/last.ckpt", weights_only=True) for r in (run, uninterrupted))
    assert ours["global_step"] == theirs["global_step"] == 39
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), name
    assert (run / "metrics.json").read_text() == (uninterrupted / "metrics.json").read_text()
    if signal != "SIGINT":  # within a step a window of the curve may have been logged twice
        curves, expected = read_curves(run / "metrics.csv"), read_curves(uninterrupted / "metrics.csv")
        assert curves.keys() == expected.keys()
        for name, points in expected.items():
            assert curves[name] == [(step, pytest.approx(value, rel=1e-9)) for step, value in points], name


@pytest.mark.long
@pytest.mark.parametrize(
    ("moment", "words", "step", "saved"),
    [
        pytest.param("on_train_epoch_end", (), 26, 13, id="at the end of an epoch"),
        pytest.param("on_validation_start", (), 26, 13, id="before its validation"),
        pytest.param("on_validation_start", ("trainer.val_check_interval=5",), 18, 13, id="within an epoch"),
    ],
)
def test_what_belongs_to_a_step_is_done_again_after_a_kill(
    tmp_path: Path, uninterrupted: Path, moment: str, words: tuple[str, ...], step: int, saved: int
) -> None:
    """Where a checkpoint was due after a step, and a validation or the end of an epoch was not over yet."""
    whole = uninterrupted
    if words:
        (tmp_path / "whole").mkdir()
        assert launch(tmp_path / "whole", *SMALL, *words).returncode == 0
        whole = only_run(tmp_path / "whole")
    place = tmp_path / "killed"
    place.mkdir()
    (place / "killer.py").write_text(KILLER.replace("on_train_batch_end", moment))
    killer = ("trusted=[killer]", "+callbacks.kill._target_=killer.KillAt", "+callbacks.kill.signal=SIGKILL")
    every = f"callbacks.last.every_n_train_steps={step}"
    killed = launch(place, *SMALL, *words, *killer, f"+callbacks.kill.step={step}", every)
    assert killed.returncode == -9, killed.stderr
    run = only_run(place)
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == saved
    resumed = launch(place, f"resume={run}", "callbacks.kill=null", "trusted=[]")
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    assert sorted((run / "metrics.csv").read_text().splitlines()) == sorted(
        (whole / "metrics.csv").read_text().splitlines()
    )


@pytest.mark.long
def test_a_finished_run_can_be_given_more_epochs(tmp_path: Path, uninterrupted: Path) -> None:
    first = launch(tmp_path, *SMALL, "scheduler=constant", "trainer.max_epochs=2")
    assert first.returncode == 0, first.stderr
    run = only_run(tmp_path)
    more = launch(tmp_path, f"resume={run}", "trainer.max_epochs=3")
    assert more.returncode == 0, more.stderr
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 39
    assert only_run(tmp_path) == run
