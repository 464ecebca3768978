"""Runs that are killed again and again, at any moment: what they end with is what the uninterrupted run ends with."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch

from mlflow_program import MISSING, SERVER, kill, serving

pytestmark = pytest.mark.chaos
REPOSITORY = Path(__file__).parents[2]
TRAIN = str(REPOSITORY / "train.py")
SMALL = (
    "task=compression", "data=digits", "model=vae", "encoder.hidden=[16]", "decoder.hidden=[16]", "scheduler=cosine",
    "corruption=gaussian", "data.batch_size=100", "logger=none", "trainer.log_every_n_steps=5",
    "callbacks=[default,ema]", "callbacks.last.every_n_train_steps=4",
)  # fmt: skip
KILLED_AT = '''
"""Kills this process at its n-th operation on a file of a folder: opening, renaming, removing, linking, making."""

import os
import signal
import sys
from pathlib import Path

folder, number, told = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
count = 0


def count_operations(event, arguments):
    global count
    if event not in ("open", "os.rename", "os.remove", "os.link", "os.mkdir"):
        return
    if not any(str(name).startswith(folder) for name in arguments[:2]):
        return
    count += 1
    if count == number:
        told.write_text(f"{event} {arguments[:2]}")
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(count_operations)
sys.argv = ["train.py", *sys.argv[4:]]
from vaelab.cli import train

try:
    train()
finally:
    told.write_text(str(count))
'''


def begun(*words: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, TRAIN, *SMALL, *words], cwd=REPOSITORY, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip


def finished(*words: str) -> str:
    run = begun(*words)
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    return said


def same(run: Path, whole: Path) -> None:
    """Weights, their average, numbers and curves are those of the uninterrupted run, bit for bit."""
    ours, theirs = (torch.load(one / "checkpoints/last.ckpt", weights_only=True) for one in (run, whole))
    assert ours["global_step"] == theirs["global_step"]
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), name
    assert (run / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    assert (run / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    ours_csv, theirs_csv = (sorted((one / "metrics.csv").read_text().splitlines()) for one in (run, whole))
    assert ours_csv == theirs_csv
    assert json.loads((run / "state.json").read_text())["status"] == "finished"
    assert not [path for path in run.rglob(".*") if path.is_file()], "a half-written file is left"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    finished("trainer.max_epochs=6", f"paths.output_dir={folder}")
    return folder


def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    """Also while it starts, and while it saves; each start is the same command line."""
    epochs = "trainer.max_epochs=500"
    finished(epochs, f"paths.output_dir={tmp_path / 'whole'}")
    draw = random.Random(0)
    folder = tmp_path / "run"
    words = (epochs, f"paths.output_dir={folder}")
    for number in range(20):
        before = steps(folder)
        run = begun(*words)
        if number % 4 == 0:  # while it starts
            sleep(draw.uniform(0.3, 5.0))
        else:  # within a second and a half of training
            wait_for_steps(run, folder, before + 1)
            sleep(draw.uniform(0.0, 1.5))
        assert run.poll() is None, run.communicate()[0]
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    said = finished(*words)
    assert "resuming " in said
    same(folder, tmp_path / "whole")


def test_kills_within_operations_on_files(tmp_path: Path, whole: Path) -> None:
    """A checkpoint has been opened and is not yet in its place, the one before is linked and not yet renamed, ..."""
    script = tmp_path / "killed_at.py"
    script.write_text(KILLED_AT)

    def start(folder: Path, number: int) -> tuple[int, str]:
        told = tmp_path / "told"
        told.unlink(missing_ok=True)
        words = [*SMALL, "trainer.max_epochs=6", f"paths.output_dir={folder}"]
        done = subprocess.run(
            [sys.executable, str(script), str(folder), str(number), str(told), *words],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return done.returncode, told.read_text() if told.exists() else done.stderr

    code, counted = start(tmp_path / "counted", 0)
    assert code == 0, counted
    same(tmp_path / "counted", whole)
    operations = int(counted)
    draw = random.Random(1)
    moments = set()
    for number in sorted(draw.sample(range(3, operations), 10)):
        folder = tmp_path / f"at-{number}"
        code, at = start(folder, number)
        assert code == -signal.SIGKILL, at
        moments.add(at.partition(" ")[0])
        finished("trainer.max_epochs=6", f"paths.output_dir={folder}")
        same(folder, whole)
    assert {"open", "os.rename"} <= moments


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("processes", [1, 2])
def test_each_signal_to_each_process_saves_and_the_run_goes_on(tmp_path: Path, number: int, processes: int) -> None:
    """What `launch.json` names is the same job again."""
    where = ("trainer=ddp_sim",) if processes == 2 else ("trainer=cpu",)
    folder = tmp_path / "run"
    words = (*where, "trainer.max_epochs=100000", f"paths.output_dir={folder}")
    for rank in range(processes):
        before = steps(folder)
        run = begun(*words)
        wait_for_steps(run, folder, before + 10)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        target = run.pid if rank == 0 else ranked(children)[rank]
        began = monotonic()
        os.kill(target, number)
        said, _ = run.communicate(timeout=60)
        assert monotonic() - began < 60
        assert run.returncode == {signal.SIGHUP: 129, signal.SIGINT: 130}.get(number, 143), said
        assert said.count("error: ") == 1, said
        assert "resume it with resume=" in said
        assert steps(folder) > before
        status = json.loads((folder / "state.json").read_text())["status"]
        # Ctrl-C comes to all processes of a terminal. Of one alone the others only know that it has ended.
        assert status == "interrupted" or (number, rank, status) == (signal.SIGINT, 1, "failed")


def steps(folder: Path) -> int:
    """Those of the last checkpoint; 0 before there is one."""
    path = folder / "checkpoints/last.ckpt"
    return int(torch.load(path, weights_only=True)["global_step"]) if path.exists() else 0


def wait_for_steps(run: "subprocess.Popen[str]", folder: Path, least: int) -> None:
    began = monotonic()
    while steps(folder) < least:
        assert run.poll() is None, run.communicate()[0]
        assert monotonic() - began < 120
        sleep(0.1)


def ranked(processes: list[str]) -> dict[int, int]:
    """The processes of a run by their rank."""
    found = {}
    for process in processes:
        texts = Path(f"/proc/{process}/environ").read_text().split("\0")
        variables = dict(text.split("=", 1) for text in texts if "=" in text)
        if "LOCAL_RANK" in variables:
            found[int(variables["LOCAL_RANK"])] = int(process)
    return found


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_fills_leaves_a_checkpoint_and_the_run_goes_on(tmp_path: Path, whole: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "16m"):
        folder = disk / "run"
        words = ("trainer.max_epochs=6", f"paths.output_dir={folder}")
        run = begun(*words, "trainer.max_epochs=100000")
        wait_for_steps(run, folder, 20)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"0" * 4096):
                pass
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 1, said
        assert said.count("error: ") == 1, said
        assert "the disk is full" in said
        reached = steps(folder)
        assert reached >= 20
        ballast.unlink()
        again = begun(f"resume={folder}", "trainer.max_epochs=100000")
        wait_for_steps(again, folder, reached + 4)
        again.send_signal(signal.SIGTERM)
        said, _ = again.communicate(timeout=60)
        assert again.returncode == 143, said


def test_eight_runs_that_start_in_one_second_have_a_folder_each(tmp_path: Path) -> None:
    logs = f"paths.log_dir={tmp_path}"
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda seed: finished("trainer.max_epochs=1", f"seed={seed}", logs), range(8)))
    assert len(said) == 8
    runs = [config.parent for config in tmp_path.rglob("config.yaml")]
    assert sorted(json.loads((run / "environment.json").read_text())["seed"] for run in runs) == list(range(8))
    assert all((run / "report.html").is_file() for run in runs)


def test_one_of_two_that_resume_a_run_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = begun("trainer.max_epochs=100000", f"paths.output_dir={folder}")
    wait_for_steps(first, folder, 10)
    first.kill()
    first.communicate()
    both = [begun(f"resume={folder}", "trainer.max_epochs=100000") for _ in range(2)]
    began = monotonic()
    while (ended := [run for run in both if run.poll() is not None]) == []:
        assert monotonic() - began < 60
        sleep(0.1)
    (refused,) = ended
    said, _ = refused.communicate()
    assert refused.returncode == 2, said
    assert "another process is running this run" in said
    (living,) = [run for run in both if run is not refused]
    living.send_signal(signal.SIGTERM)
    said, _ = living.communicate(timeout=60)
    assert living.returncode == 143, said


@pytest.mark.skipif(SERVER is None, reason=MISSING)
def test_a_tracker_whose_server_is_stopped_costs_no_run(tmp_path: Path) -> None:
    folder, store = tmp_path / "run", tmp_path / "store"
    store.mkdir()
    with serving(store) as (address, server):
        words = ("logger=mlflow", f"logger.mlflow.tracking_uri={address}", "trainer.max_epochs=300")
        run = begun(*words, f"paths.output_dir={folder}")
        wait_for_steps(run, folder, 50)
        kill(server)
        said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert "Traceback" not in said
    assert address in said
    assert (folder / "report.html").is_file()
    assert json.loads((folder / "state.json").read_text())["status"] == "finished"
