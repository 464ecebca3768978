"""One run folder for the processes of a job, and for each time that it is started."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from run_folders import held_by_another
from vaelab import job_folder, run_folder
from vaelab.errors import ConfigError
from vaelab.external import Launch
from vaelab.faults import FaultError
from vaelab.job_folder import JobFolder, chosen_folder, run_dir
from vaelab.record.state import RunState, RunStatus
from vaelab.run_folder import discard_unstarted

SLURM = Launch("slurm", "812", "812", 0, 0, 4, 2, 2)
TORCHRUN = Launch("torchrun", "", "node1:29500", 0, 0, 4, 2, 2)
WORDS = ["data=digits", "seed=3"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    """Of an agent of torchrun."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=10))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(server.port))
    return server


def start(launch: Launch, parent: Path, words: list[str] = WORDS, chosen: Path | None = None) -> list[JobFolder]:
    """All processes of a job at once, the last ones first."""
    jobs = [JobFolder(replace(launch, rank=rank), words, chosen) for rank in reversed(range(launch.world))]
    with ThreadPoolExecutor(len(jobs)) as pool:
        folders = list(pool.map(lambda job: Path(job.claim(str(parent))).absolute(), jobs))
    assert len(set(folders)) == 1
    assert len({job.goes_on is not None for job in jobs}) == 1
    assert folders[0].is_dir()
    return jobs


def folder_of(parent: Path) -> Path:
    (folder,) = (path for path in parent.iterdir() if "-failed-" not in path.name)
    return folder


def train(folder: Path, finished: bool = False) -> None:
    (folder / "checkpoints").mkdir()
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (folder / name).touch()
    if finished:
        RunState.of_this_process().end(folder, RunStatus.FINISHED)


@pytest.mark.parametrize("launch", [SLURM, TORCHRUN, replace(TORCHRUN, job="fraud", identity="fraud")])
def test_all_processes_share_one_folder_and_a_restart_finds_it(launch: Launch, tmp_path: Path, store: TCPStore) -> None:
    start(launch, tmp_path)
    train(folder_of(tmp_path))
    again = start(replace(launch, attempt=1), tmp_path)
    assert [job.goes_on is not None and job.goes_on.name for job in again] == [folder_of(tmp_path).name] * 4
    train_more = start(replace(launch, attempt=2), tmp_path)
    assert all(job.goes_on is not None and not job.finished for job in train_more)


@pytest.mark.parametrize("launch", [SLURM, TORCHRUN])
def test_a_job_that_died_before_its_first_checkpoint_begins_anew(
    launch: Launch, tmp_path: Path, store: TCPStore
) -> None:
    start(launch, tmp_path)
    folder = folder_of(tmp_path)
    (folder / "config.yaml").touch()
    (folder / "metrics.csv").write_text("step\n1\n")
    again = start(replace(launch, attempt=1), tmp_path)
    assert all(job.goes_on is None for job in again)
    assert not (folder / "metrics.csv").exists()
    assert (folder.with_name(f"{folder.name}-failed-1") / "metrics.csv").exists()


@pytest.mark.parametrize("launch", [SLURM, replace(TORCHRUN, job="fraud", identity="fraud")])
def test_a_run_that_is_finished_is_not_done_again(launch: Launch, tmp_path: Path, store: TCPStore) -> None:
    start(launch, tmp_path)
    train(folder_of(tmp_path), finished=True)
    assert all(job.finished for job in start(replace(launch, attempt=1), tmp_path))


def test_a_job_without_a_name_begins_a_new_run_each_time(tmp_path: Path, store: TCPStore) -> None:
    for count in (1, 2):
        jobs = start(TORCHRUN, tmp_path)  # the second start of torchrun itself, at the same address
        assert all(job.goes_on is None for job in jobs)
        assert len(list(tmp_path.iterdir())) == count
        train(max(tmp_path.iterdir(), key=lambda path: path.name))


def test_two_runs_of_one_job_have_two_folders(tmp_path: Path) -> None:
    alone = replace(SLURM, world=1, per_node=1, nodes=1)
    for seed in (1, 2):
        start(alone, tmp_path, [f"seed={seed}"])
    assert len(list(tmp_path.iterdir())) == 2


def test_a_chosen_folder_goes_on_with_the_same_command_line_alone(tmp_path: Path) -> None:
    chosen = tmp_path / "bucket" / "run"
    job = JobFolder(None, WORDS, chosen)
    assert job.claim(str(tmp_path)) == str(chosen)
    train(chosen)
    again = JobFolder(None, WORDS, chosen)
    again.claim(str(tmp_path))
    assert again.goes_on == chosen
    with pytest.raises(ConfigError, match=f"{chosen}: contains a run of another command line; resume it with resume="):
        JobFolder(None, ["seed=4"], chosen).claim(str(tmp_path))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "letter.txt").touch()
    with pytest.raises(ConfigError, match="is not empty and contains no run"):
        JobFolder(None, WORDS, tmp_path / "own").claim(str(tmp_path))


def test_a_process_that_sees_other_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: TCPStore
) -> None:
    monkeypatch.setattr(job_folder, "PATIENCE", 0.5)
    with pytest.raises(FaultError, match="the first process of this job has claimed no run folder"):
        JobFolder(replace(TORCHRUN, rank=1), WORDS).claim(str(tmp_path))
    store.set("vaelab/run_folder/0", '{"folder": "/nowhere/run", "goes_on": true, "finished": false}')
    with pytest.raises(FaultError, match=r"/nowhere/run: this process does not see the run folder .* all nodes share"):
        JobFolder(replace(TORCHRUN, rank=1), WORDS).claim(str(tmp_path))


def test_secrets_are_not_kept_and_a_person_gets_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAELAB_RUN_DIR", str(tmp_path))
    assert JobFolder.of(None, WORDS, tmp_path / "own") is None  # whoever started this process has chosen one
    of_sweep = JobFolder.of(SLURM, WORDS, None)  # which SLURM may start again
    assert of_sweep is not None
    assert of_sweep.chosen == tmp_path
    monkeypatch.delenv("VAELAB_RUN_DIR")
    assert JobFolder.of(None, WORDS, None) is None
    job = JobFolder.of(replace(SLURM, world=1), ["+logger.api_key=abcdef"], None)
    assert job is not None
    job.claim(str(tmp_path))
    assert "abcdef" not in (folder_of(tmp_path) / "launch.json").read_text()
    assert os.path.dirname(run_dir(None, str(tmp_path / "dated"))) == str(tmp_path / "dated")


@pytest.mark.parametrize(
    ("word", "folder"),
    [
        ("paths.output_dir=logs/x", "logs/x"),
        ("++paths.output_dir=/tmp/x", "/tmp/x"),
        (r"paths.output_dir='/tmp/it\'s'", "/tmp/it's"),
        ("paths.output_dir=2026", "2026"),
    ],
)
def test_the_folder_is_read_as_hydra_reads_it(word: str, folder: str) -> None:
    assert chosen_folder(["seed=1", word]) == Path(folder)
    assert chosen_folder(["seed=1"]) is None


@pytest.mark.parametrize(
    "word",
    ["+paths.output_dir=x", "paths.output_dir=a,b", "paths.output_dir=null", "paths.output_dir=${paths.log_dir}"],
)
def test_what_names_no_one_folder_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(word)):
        chosen_folder([word])


@pytest.mark.parametrize("begun", [True, False], ids=["has begun", "reads its data"])
def test_a_run_that_lives_keeps_its_folder(tmp_path: Path, begun: bool) -> None:
    chosen = tmp_path / "run"
    first = JobFolder(None, WORDS, chosen)
    first.claim(str(tmp_path))
    if begun:
        (chosen / "config.yaml").touch()
    first.leave()
    run_folder._claimed.clear()  # of this process; the first one stands for another
    told = (chosen / "launch.json").read_text()
    with held_by_another(chosen):
        for words in (WORDS, ["seed=7"]):
            with pytest.raises(ConfigError, match="another process is running this run"):
                JobFolder(None, words, chosen).claim(str(tmp_path))
            discard_unstarted()
    assert (chosen / "launch.json").read_text() == told
    assert not list(tmp_path.glob("run-failed-*"))
