"""How a real sweep ends: whatever became of its jobs, with a table, the best command line and a page."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from browser import Tab
from vaelab.training.last_checkpoint import LastCheckpoint

Command = Callable[..., None]
REPOSITORY = Path(__file__).parents[2]
SMALL = ["data=digits", "logger=none", "model=vae", "encoder=mlp_small", "decoder=mlp_small", "trainer.max_epochs=1",
         "trainer.limit_train_batches=3", "task.nll_samples=2", "task.baselines=false"]  # fmt: skip


def ended(*words: str, run: Command) -> int:
    try:
        run(*words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def sweep_folder(tmp_path: Path) -> Path:
    (record,) = (tmp_path / "logs").rglob("sweep.json")
    return record.parent


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "sweep.csv").open() as file:
        return {row["job"]: row for row in csv.DictReader(file)}


@pytest.mark.long
def test_a_sweep_of_which_a_job_fails_ends_with_all_of_it(
    in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], tab: Tab
) -> None:
    assert ended("-m", *SMALL, "latent_dim=2,4,0", "seed=1,2", run=in_process) == 1
    printed = capsys.readouterr().out
    folder = sweep_folder(tmp_path)
    assert "sweep: 4 done, 2 failed" in printed
    found = rows(folder)
    numbers = {job: json.loads((folder / job / "metrics.json").read_text()) for job in "0123"}
    assert {job: float(found[job]["val/elbo"]) for job in numbers} == {
        job: one["val/elbo"] for job, one in numbers.items()
    }
    means = {first: sum(numbers[str(first + n)]["val/elbo"] for n in (0, 1)) for first in (0, 2)}
    (best,) = [row for row in found.values() if row["best"]]
    assert int(best["job"]) // 2 * 2 == max(means, key=lambda first: means[first])
    assert best["command"] in printed
    assert "latent_dim=0: should be greater than 0" in found["4"]["why"]
    assert float(best["seconds"]) >= 0
    assert {path.name for path in folder.glob("sweep_*.png")} == {"sweep_by_key.png"}
    tab.open(folder / "sweep.html")
    links = tab.run("[...document.querySelectorAll('tbody a')].map(one => one.getAttribute('href'))")
    assert set(links) == {f"{job}/report.html" for job in "0123"}
    assert (tab.errors, tab.requests) == ([], [])

    program = [sys.executable, str(REPOSITORY / "train.py")]
    words = [word for word in shlex.split(best["command"]) if "=" in word]
    alone = subprocess.run([*program, *words, f"paths.log_dir={tmp_path / 'alone'}"], timeout=300, check=False)
    assert alone.returncode == 0
    (again,) = (tmp_path / "alone").rglob("metrics.json")
    assert json.loads(again.read_text())["val/elbo"] == float(best["val/elbo"])


@pytest.mark.long
def test_a_sweep_that_was_interrupted_has_a_page_then_and_when_it_went_on(
    in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = LastCheckpoint.on_train_epoch_end

    def interrupted(self: LastCheckpoint, trainer: object, model: object) -> None:
        if self.path.parents[1].name == "1":
            raise KeyboardInterrupt
        save(self, trainer, model)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "on_train_epoch_end", interrupted)
        assert ended("-m", *SMALL, "latent_dim=2,4,8", run=in_process) == 130
    folder = sweep_folder(tmp_path)
    assert "sweep: 1 done, 1 interrupted, 1 not started" in capsys.readouterr().out
    assert [row["outcome"] for row in rows(folder).values()] == ["done", "interrupted", "not started"]
    assert ">interrupted<" in (folder / "sweep.html").read_text()
    assert ended(f"resume={folder}", "trainer.max_epochs=2", run=in_process) == 0
    assert [row["outcome"] for row in rows(folder).values()] == ["done"] * 3
    assert "trainer.max_epochs=2" in rows(folder)["2"]["command"]
    assert "trainer.max_epochs=1" in rows(folder)["0"]["command"]
    assert rows(folder)["2"]["trainer.max_epochs"] == "2"
    (folder / "sweep.html").unlink()
    assert ended(f"resume={folder}", run=in_process) == 0  # nothing is left to run, and the page is made again
    assert (folder / "sweep.html").is_file()


@pytest.mark.long
def test_an_ae_beside_vaes_has_a_best_for_each_number_that_is_watched(
    in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in SMALL if not word.startswith("model=")]
    assert ended("-m", *words, "model=ae,vae", "test=false", run=in_process) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"best by (\S+).*, job (\d):", printed) == [("val/reconstruction", "0"), ("val/elbo", "1")]
    assert "numbers in different tables cannot be compared" in printed
    assert "its numbers on the test split, which was not used to select any job:" in printed
    assert sum("test/" in name for name in rows(sweep_folder(tmp_path))["0"]) == 0


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_costs_the_page_and_not_the_sweep(
    in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelab.sweep_page import end

    def to_a_full_disk(path: Path, content: str | bytes) -> None:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr(end, "write_file", to_a_full_disk)
    assert ended("-m", *SMALL, "latent_dim=2,4", run=in_process) == 0
    printed = capsys.readouterr()
    assert "No space left on device" in printed.err
    assert "best by val/elbo, job " in printed.out
    assert not (sweep_folder(tmp_path) / "sweep.html").exists()
