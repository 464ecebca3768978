"""Two processes are one process, to rounding."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch

REPOSITORY = Path(__file__).parents[2]
SMALL = ("logger=none", "trainer.max_epochs=2", "data.batch_size=101")
QUANTIZED = ("model=vq_vae", "posterior.words=16", "latent_dim=4", "encoder=conv", "encoder.widths=[8,8]")
NARROW = ("encoder.hidden=[16]", "decoder.hidden=[16]")


def launch(folder: Path, *overrides: str) -> Path:
    command = [sys.executable, str(REPOSITORY / "train.py"), *SMALL, *overrides]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = {p.parent for p in folder.rglob("config.yaml")}
    return run


@pytest.mark.long
@pytest.mark.parametrize("overrides", [
    NARROW,
    (*NARROW, "model=topk_ae", "model.of_batch=true", "latent_dim=64"),
    (*QUANTIZED, "decoder.widths=[8,8]", "+trainer.limit_train_batches=2"),  # later, ties are broken by rounding
], ids=["vae", "largest of a batch", "codebook by averages"])  # fmt: skip
def test_ddp_gives_the_single_process_loss_at_the_same_global_batch(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    # 1,294 train examples in batches of 101: every batch, and the last short one, splits unevenly.
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = (
        launch(tmp_path / name, f"trainer={trainer}", *overrides)
        for name, trainer in (("one", "cpu"), ("two", "ddp_sim"))
    )
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    assert ours.keys() == theirs.keys()
    within = 1e-4 if "model=vq_vae" in overrides else 2e-5
    for name, value in ours.items():
        assert abs(value - theirs[name]) <= within * max(1.0, abs(value)), name
    weights, others = (torch.load(r / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for r in (one, two))
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=within, msg=name)


def begin(folder: Path, *overrides: str) -> "subprocess.Popen[str]":
    """A run on two processes, up to where it starts the second one."""
    command = [
        sys.executable,
        str(REPOSITORY / "train.py"),
        *SMALL,
        *NARROW,
        "trainer=ddp_sim",
        "test=false",
        *overrides,
    ]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, **pipes)
    assert run.stdout is not None
    while "parameters:" not in run.stdout.readline():
        assert run.poll() is None
    return run


@pytest.mark.long
@pytest.mark.parametrize("delay", [0.05, 2.0])
@pytest.mark.parametrize(("number", "tell", "code"), [
    (signal.SIGINT, os.killpg, 130), (signal.SIGTERM, os.kill, 143),
], ids=["Ctrl-C", "SIGTERM to the first process"])  # fmt: skip
def test_an_interruption_before_the_processes_have_met_is_one_line(
    tmp_path: Path, delay: float, number: int, tell: Callable[[int, int], None], code: int
) -> None:
    run = begin(tmp_path)
    sleep(delay)  # the second process takes some seconds to import its modules
    tell(run.pid, number)
    _, said = run.communicate(timeout=60)
    assert run.returncode == code
    assert said.startswith("error: interrupted"), said
    assert said.count("\n") == 1, said


@pytest.mark.long
def test_a_run_folder_that_is_removed_is_said_by_one_process(tmp_path: Path) -> None:
    run = begin(tmp_path, "trainer.max_epochs=1000")
    while not (found := list(tmp_path.rglob("last.ckpt"))):
        sleep(0.1)
    while found[0].parents[1].exists():  # the run may write into a folder that is just being removed
        shutil.rmtree(found[0].parents[1], ignore_errors=True)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert said.count("\n") == 1, said
    assert "the run folder no longer exists" in said
