"""The scripts of `docs/clusters` in a cluster of stand-ins: one run a job, requeued and going on where it was."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import torch

from slurm_cluster import start_cluster
from tracker_files import wandb_records

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "docs/clusters"
SMALL = ["task=compression", "encoder.hidden=[16]", "task.baselines=false", "data.batch_size=101"]
ON_CPUS = ["trainer.accelerator=cpu", "logger=wandb", "logger.wandb.mode=offline"]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = start_cluster(tmp_path / "cluster", monkeypatch)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield folder
    for job in folder.glob("*_*.json"):
        subprocess.run(["scancel", job.stem], check=True)


def submitted(folder: Path, script: str, *options: str, logs: Path, words: list[str]) -> str:
    """The id of a job that waits or runs."""
    told = subprocess.run(
        ["sbatch", f"--output={folder}/%A-%a.txt", *options, str(SCRIPTS / script), *words, f"paths.log_dir={logs}"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return told.split()[-1]


def told(folder: Path, job: str) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted(folder.glob(f"{job}-*.txt")))


def until(true: Callable[[], Any], folder: Path, job: str, limit: float = 120.0) -> None:
    began = monotonic()
    while not true():
        assert monotonic() - began < limit, told(folder, job)
        sleep(0.05)


def states(cluster: Path, job: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(cluster.glob(f"{job}_*.json"))]


def ended(cluster: Path, folder: Path, job: str) -> None:
    until(lambda: all(about["state"] not in ("PENDING", "RUNNING", "REQUEUED") for about in states(cluster, job)),
          folder, job, 300.0)  # fmt: skip
    assert {about["state"] for about in states(cluster, job)} == {"COMPLETED"}, told(folder, job)


def run_in(folder: Path) -> Path:
    (config,) = folder.rglob("config.yaml")
    return config.parent


@pytest.mark.long
def test_a_job_on_two_nodes_that_is_requeued_ends_as_if_nothing_had_happened(cluster: Path, tmp_path: Path) -> None:
    two = ("--nodes=2", "--ntasks-per-node=1")
    jobs = {}
    for name in ("whole", "requeued"):
        words = [*SMALL, *ON_CPUS, "trainer.max_epochs=40"]
        job = submitted(tmp_path, "train.sbatch", *two, logs=tmp_path / name, words=words)
        if name == "requeued":
            until(lambda: list((tmp_path / "requeued").rglob("last.ckpt")), tmp_path, job)
            subprocess.run(["scancel", "--signal=USR1", job], check=True)  # as --signal=USR1@90 does
        ended(cluster, tmp_path, job)
        jobs[name] = job
    said = told(tmp_path, jobs["requeued"])
    assert said.count(f"SLURM requeues job {jobs['requeued']}, which then resumes") == 1, said
    assert len(re.findall("^resuming ", said, re.MULTILINE)) == 1, said
    (about,) = states(cluster, jobs["requeued"])
    assert about["restarts"] == 1
    whole, requeued = run_in(tmp_path / "whole"), run_in(tmp_path / "requeued")
    assert requeued.name.startswith(f"slurm-{jobs['requeued']}-")
    assert json.loads((requeued / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())
    ours, theirs = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (requeued, whole))
    assert all(torch.equal(weight, theirs["state_dict"][name]) for name, weight in ours["state_dict"].items())
    steps = [line.partition(",")[0] for line in (requeued / "metrics.csv").read_text().splitlines()]
    assert len(steps) == len(set(steps))
    records = wandb_records(requeued)
    assert len({record.run.run_id for record in records if record.HasField("run")}) == 1
    assert (requeued / "report.html").is_file()


@pytest.mark.long
def test_the_tasks_of_an_array_are_runs_of_their_own(cluster: Path, tmp_path: Path) -> None:
    words = [*SMALL, "logger=none", "trainer.max_epochs=2", "trainer=cpu"]
    job = submitted(tmp_path, "array.sbatch", "--array=1-2", logs=tmp_path / "logs", words=words)
    ended(cluster, tmp_path, job)
    runs = sorted(config.parent for config in (tmp_path / "logs").rglob("config.yaml"))
    assert [re.sub("-[0-9a-f]{6}$", "", run.name) for run in runs] == [f"slurm-{job}_{task}" for task in (1, 2)]
    seeds = [json.loads((run / "environment.json").read_text())["seed"] for run in runs]
    assert seeds == [1, 2]


@pytest.mark.long
def test_a_job_that_asks_for_other_counts_is_one_message(cluster: Path, tmp_path: Path) -> None:
    job = submitted(
        tmp_path, "train.sbatch", "--nodes=1", "--ntasks-per-node=2", logs=tmp_path / "logs",
        words=[*SMALL, *ON_CPUS, "trainer.devices=4"],
    )  # fmt: skip
    until(lambda: states(cluster, job)[0]["state"] == "FAILED", tmp_path, job)
    said = told(tmp_path, job)
    assert said.count("error: ") == 1, said
    assert "slurm started 2 processes on each of 1 nodes" in said
    assert not list((tmp_path / "logs").rglob("config.yaml"))


@pytest.mark.long
def test_a_process_whose_others_do_not_come_can_be_ended(tmp_path: Path) -> None:
    """torch waits for them in code that hears no signal."""
    alone = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "SLURM_NODELIST": "localhost",
    }  # fmt: skip
    run = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), *SMALL, "trainer=slurm", "trainer.accelerator=cpu",
         "logger=none", f"paths.log_dir={tmp_path}"],
        env=os.environ | alone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
    )  # fmt: skip
    began = monotonic()
    while not list(tmp_path.rglob("config.yaml")):
        assert run.poll() is None
        assert monotonic() - began < 60
        sleep(0.1)
    sleep(3)  # it has begun to wait
    run.terminate()
    said, _ = run.communicate(timeout=30)
    assert run.returncode == 143, said
    assert said.count("error: ") == 1, said
    assert "interrupted while waiting for the other processes of this run" in said
