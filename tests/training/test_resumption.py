"""Which checkpoints a run that goes on knows of, whatever its `last.ckpt` says; and which files may be removed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.training.checkpoint_files import CheckpointFiles
from vaelab.training.resumption import Resumption


def keeper(run: Path, monitor: str | None = "val/elbo") -> ModelCheckpoint:
    return ModelCheckpoint(dirpath=run / "checkpoints", monitor=monitor, mode="max", save_top_k=1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with two checkpoints."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        (folder / name).write_bytes(b"weights")
    return folder.parent


def state(path: str, folder: str = "/old/checkpoints") -> dict[str, Any]:
    score = torch.tensor(1.0)
    return {
        "dirpath": folder,
        "best_k_models": {path: score},
        "best_model_path": path,
        "kth_best_model_path": path,
        "last_model_path": path,
        "best_model_score": score,
        "current_score": score,
        "kth_value": score,
    }


def resumed(callback: ModelCheckpoint, saved: dict[str, Any]) -> dict[str, Any]:
    """The states that are handed out."""
    trainer: Any = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.FITTING), callbacks=[callback])
    best = {"numbers": {"val/elbo": 1.0}, "watched": [callback.monitor, callback.mode]}
    checkpoint = {"callbacks": {callback.state_key: saved, "BestValidation": best}}
    Resumption({}).on_load_checkpoint(trainer, trainer, checkpoint)
    return checkpoint["callbacks"]


def test_a_run_that_was_moved_has_its_best_checkpoint(run: Path) -> None:
    callback = keeper(run)
    states = resumed(callback, state("/old/checkpoints/best.ckpt"))
    callback.load_state_dict(states[callback.state_key])
    best = str(run / "checkpoints" / "best.ckpt")
    assert callback.best_model_path == callback.kth_best_model_path == callback.last_model_path == best
    assert callback.best_k_models == {best: torch.tensor(1.0)}
    assert states["BestValidation"]["numbers"] == {"val/elbo": 1.0}


@pytest.mark.parametrize("monitor", ["val/elbo", None])
@pytest.mark.parametrize("path", ["local://{}/victim", "{}/victim", "{}/victim/x.ckpt", "{}/run/checkpoints/../..",
                                  "{}/run/checkpoints/link.ckpt", "http://127.0.0.1/x.ckpt", "memory://best.csv",
                                  "{}/run/checkpoints/notes.txt"])  # fmt: skip
def test_no_other_path_is_kept(run: Path, tmp_path: Path, path: str, monitor: str | None) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x.ckpt").touch()
    (run / "checkpoints" / "link.ckpt").symlink_to(tmp_path / "victim")
    (run / "checkpoints" / "notes.txt").touch()
    callback, other = keeper(run, monitor), path.format(tmp_path)
    states = resumed(callback, state(other, str(run / "checkpoints")))
    assert callback.state_key not in states
    if monitor:
        assert states["BestValidation"]["numbers"] == {}  # they are those of the best checkpoint


def test_nothing_is_said_where_there_was_no_best_checkpoint_yet(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = keeper(run)
    states = resumed(callback, state("") | {"best_k_models": {}})
    assert callback.state_key not in states
    assert states["BestValidation"]["numbers"] == {"val/elbo": 1.0}
    assert capsys.readouterr().err == ""


def test_what_is_worst_is_a_checkpoint_that_is_there(run: Path) -> None:
    callback, saved = keeper(run), state(str(run / "checkpoints" / "best.ckpt"))
    saved["kth_best_model_path"] = "/etc/other.ckpt"
    kept = resumed(callback, saved)[callback.state_key]
    assert kept["kth_best_model_path"] == str(run / "checkpoints" / "best.ckpt")


def test_a_folder_in_a_cloud_keeps_its_own_addresses(run: Path) -> None:
    callback = keeper(run)
    callback.dirpath = "memory://bucket/run"
    inside, beside = state("memory://bucket/run/best.ckpt"), state("memory://bucket/other/best.ckpt")
    assert resumed(callback, inside)[callback.state_key]["best_model_path"] == "memory://bucket/run/best.ckpt"
    assert callback.state_key not in resumed(callback, beside)


@pytest.mark.parametrize("path", ["local://{}/victim", "file://{}/victim", "{}/victim", "{}/victim/x.ckpt", "{}/run",
                                  "{}/run/checkpoints", "{}/run/checkpoints/../..", "{}/run/out/x.ckpt"])  # fmt: skip
def test_nothing_but_a_file_of_the_run_is_removed(
    run: Path, tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x.ckpt").touch()
    (run / "out").symlink_to(tmp_path / "victim")
    before = sorted(tmp_path.rglob("*"))
    CheckpointFiles(run, [keeper(run)]).remove_checkpoint(path.format(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    assert "is left where it is" in capsys.readouterr().err


def test_checkpoints_of_the_run_and_of_a_configured_folder_are_removed(run: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "epoch.ckpt").touch()
    files = CheckpointFiles(run, [ModelCheckpoint(dirpath=elsewhere)])
    files.remove_checkpoint(str(elsewhere / "epoch.ckpt"))
    files.remove_checkpoint(run / "checkpoints" / "best.ckpt")
    files.remove_checkpoint(run / "checkpoints" / "best.ckpt")  # another process was faster
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["last.ckpt"]
