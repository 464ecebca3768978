"""Two processes are one process, to rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[2]
SMALL = ("logger=none", "trainer.max_epochs=2", "encoder.hidden=[16]", "decoder.hidden=[16]", "data.batch_size=101")


def launch(folder: Path, *overrides: str) -> Path:
    command = [sys.executable, str(REPOSITORY / "train.py"), *SMALL, *overrides]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = {p.parent for p in folder.rglob("config.yaml")}
    return run


@pytest.mark.long
def test_ddp_gives_the_single_process_loss_at_the_same_global_batch(tmp_path: Path) -> None:
    # 1,294 train examples in batches of 101: every batch, and the last short one, splits unevenly.
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = launch(tmp_path / "one", "trainer=cpu"), launch(tmp_path / "two", "trainer=ddp_sim")
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert abs(value - theirs[name]) <= 2e-5 * max(1.0, abs(value)), name
    weights, others = (torch.load(r / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for r in (one, two))
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.long
def test_a_sweep_over_several_devices_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "train.py"), "-m", "trainer=ddp_sim", "latent_dim=2,3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "--multirun" in done.stderr
    assert "Traceback" not in done.stderr
