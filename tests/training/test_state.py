"""What a model counts of its batches reaches it after each update, and never within a forward pass."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vaelab.latents import FSQ

REPOSITORY = Path(__file__).parents[2]
# Weights that do not move give the same indices in each pass, so that counts are equal and not only close.
STILL = ("model=fsq", "encoder=conv", "encoder.widths=[8,8]", "decoder.widths=[8,8]", "posterior.levels=[4,4,4]")
STILL += ("optimizer.lr=0", "trainer.precision=32-true", "compile=false", "test=false")


def counts(run: Path) -> torch.Tensor:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]["posterior.counts"]


def test_each_update_hands_the_counts_of_its_batch_over_once(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[float] = []
    usual = FSQ.update

    def update(self: FSQ, statistics: dict[str, torch.Tensor]) -> None:
        handed.append(float(statistics["index_counts"].sum()))
        usual(self, statistics)

    monkeypatch.setattr(FSQ, "update", update)
    run = train(*STILL, "data.batch_size=100", "trainer.max_epochs=3")  # 13 steps an epoch, most of them in blocks
    codes = 2 * 2  # of an image of 8 x 8 pixels, in cells of 4 x 4
    assert handed == [*[100.0 * codes] * 12, 94.0 * codes] * 3
    assert float(counts(run).sum()) == pytest.approx(sum(n * 0.99**k for k, n in enumerate(reversed(handed))), rel=1e-5)


@pytest.mark.long
def test_accumulated_batches_are_counted_as_one(train: Any) -> None:
    whole = train(*STILL, "data.batch_size=1294", "trainer.max_epochs=2")
    halves = train(*STILL, "data.batch_size=647", "trainer.accumulate_grad_batches=2", "trainer.max_epochs=2")
    assert torch.equal(counts(halves), counts(whole))


@pytest.mark.long
def test_a_run_that_stopped_within_an_epoch_goes_on_with_its_counts(train: Any) -> None:
    settings = (*STILL[:-4], "data.batch_size=100", "trainer.max_epochs=2", "test=false", "compile=false")
    whole = train(*settings)
    stopped = train(*settings, "trainer.max_steps=17")
    train(f"resume={stopped}", "trainer.max_steps=-1")
    ours, theirs = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (stopped, whole))
    assert ours["global_step"] == theirs["global_step"] == 26
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), name
    assert "code_perplexity" in (whole / "metrics.csv").read_text()


def launch(folder: Path, *overrides: str) -> Path:
    folder.mkdir()
    command = [sys.executable, str(REPOSITORY / "train.py"), "logger=none", *STILL, *overrides]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = {path.parent for path in folder.rglob("config.yaml")}
    return run


@pytest.mark.long
def test_two_processes_count_as_one(tmp_path: Path) -> None:
    # The last batch of an epoch has one example: one device has no row of it, and repeats the other's.
    settings = ("data.batch_size=1293", "trainer.max_epochs=2")
    one = launch(tmp_path / "one", *settings, "trainer=cpu")
    two = launch(tmp_path / "two", *settings, "trainer=ddp_sim")
    assert torch.equal(counts(two), counts(one))


def test_a_forward_pass_changes_no_state() -> None:
    posterior = FSQ([4, 4]).train()
    before = {name: value.clone() for name, value in posterior.state_dict().items()}
    q = posterior(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    statistics = posterior.statistics(q)
    assert all(torch.equal(value, before[name]) for name, value in posterior.state_dict().items())
    assert int(statistics["index_counts"].sum()) == 8
    posterior.update(statistics)
    assert not torch.equal(posterior.counts, before["counts"])
