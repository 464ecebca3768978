"""`sweep=wandb`: W&B's real agent and registration against a server on this machine, with real trials."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tracker_files import summary, wandb_records
from tracker_servers import KEY, nobody
from vaelab.record.sweep import Sweep
from wandb_sweep_server import SWEEP, SweepServer

REPOSITORY = Path(__file__).parents[2]
SMALL = ["data=digits", "encoder=mlp_small", "trainer.max_epochs=1", "trainer.limit_train_batches=4"]
OFFLINE = "logger.wandb.mode=offline"  # of the trials; the sweep itself is registered
TRIALS: list[dict[str, Any]] = [
    {"latent_dim": 2, "optimizer.lr": 1e-05, "encoder.hidden": "[16]", "trainer.gradient_clip_val": "null"},
    {"latent_dim": -1, "optimizer.lr": 0.001, "encoder.hidden": "[32]", "trainer.gradient_clip_val": 1.0},
    {"latent_dim": 4, "optimizer.lr": 0.001, "encoder.hidden": "[32,16]", "trainer.gradient_clip_val": 1.0},
]
SPACE = [
    "sweep=wandb",
    "sweep.space.encoder.hidden=[[16],[32],[32,16]]",
    "sweep.space.trainer.gradient_clip_val=[null,1.0]",
]
Command = Callable[..., None]


def environment(tmp_path: Path, address: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    known = {} if address is None else {"WANDB_BASE_URL": address, "WANDB_API_KEY": KEY}
    folders = {"WANDB_CONFIG_DIR": str(tmp_path / "config"), "WANDB_CACHE_DIR": str(tmp_path / "cache")}
    return kept | known | folders | {"WANDB_ERROR_REPORTING": "false", "NETRC": str(tmp_path / "netrc")}


def program(*words: object, log_dir: Path | None = None) -> list[str]:
    logs = [] if log_dir is None else [f"paths.log_dir={log_dir}"]
    return [sys.executable, str(REPOSITORY / "train.py"), *map(str, words), *logs]


def begun(tmp_path: Path, address: str | None, *words: object, **more: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        program(*words, log_dir=tmp_path / "logs"), cwd=REPOSITORY, env=environment(tmp_path, address) | more,
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finished(tmp_path: Path, address: str | None, *words: object, **more: Any) -> tuple[int, str]:
    process = begun(tmp_path, address, *words, **more)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def sweep_folder(tmp_path: Path) -> Path:
    (record,) = (tmp_path / "logs").rglob("search.json")
    return record.parent


def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ran(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/config.yaml"))


@pytest.fixture
def server() -> Iterator[SweepServer]:
    with SweepServer(TRIALS) as running:
        yield running


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "sweep=wandb"], "sweep=wandb with --multirun"),
        (["sweep=wandb", "latent_dim=2,4"], "sweep.space.latent_dim=[2,4]"),
        (["sweep=wandb", "sweep.trials=0"], "sweep.trials=0"),
        (["sweep=wandb", "sweep.pruner=none"], "pruner"),
        (["sweep=wandb", "sweep.method=tpe"], "sweep.method"),
        (["sweep=wandb", "sweep.early_terminate={eta:3}"], "min_iter: 3"),
        (["sweep=wandb", "sweep.space.latent_dim=[2,0]"], "sweep.space.latent_dim: latent_dim=0: "),
        (["sweep=wandb", "sweep.space.model=[vae,nothing]"], "model has:"),
        (["sweep=wandb", "sweep.space.model/schedule=[linear,usual]"], "W&B allows only letters"),
        (["sweep=wandb", "sweep.metric=test/elbo"], "must not select by the test split; use val/elbo"),
        (["sweep=wandb", "sweep.method=grid"], "sweep.method=grid needs a list"),
        (["sweep=wandb", "logger=none"], "logger=[wandb,mlflow]"),
        (["sweep=wandb", "experiment=rate_distortion"], "defines a sweep"),
        (["sweep.folder=logs/x"], "is only for trials that an agent of W&B starts"),
    ],
)
def test_what_cannot_be_a_sweep_is_one_message_and_leaves_no_folder(
    words: list[str], message: str, refusal: Callable[..., Any]
) -> None:
    refused = refusal(*words)
    assert message in refused.message
    assert (refused.code, refused.left) == (2, [])


@pytest.mark.long
def test_without_a_start_the_file_is_written_and_the_commands_are_printed(
    in_process: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        in_process(*SMALL, "sweep=wandb_tables", "data=breast_cancer", "sweep.start=false", "sweep.trials=7")
    assert ended.value.code == 0
    folder = sweep_folder(tmp_path)
    printed = capfd.readouterr().out
    assert f"wandb sweep {folder}/wandb_sweep.yaml\n" in printed
    assert "wandb agent vaelab/<the id that wandb sweep prints>\n" in printed
    made = yaml.safe_load((folder / "wandb_sweep.yaml").read_text())
    assert made["run_cap"] == 7
    assert made["parameters"]["data.batch_size"] == {"values": [32, 64, 128]}
    assert made["metric"] == {"name": "val/elbo", "goal": "maximize"}
    assert f"sweep.folder={folder}" in made["command"]


@pytest.mark.long
def test_without_the_server_the_file_is_written_and_the_message_says_what_to_type(tmp_path: Path) -> None:
    code, said = finished(tmp_path, None, *SMALL, "sweep=wandb", WANDB_MODE="offline")
    folder = sweep_folder(tmp_path)
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: WANDB_MODE=offline, but a sweep needs W&B's server; nothing was started")
    assert f"resume={folder}" in line
    assert f"wandb sweep {folder}/wandb_sweep.yaml" in line
    assert (folder / "wandb_sweep.yaml").is_file()
    code, said = finished(tmp_path, None, f"resume={folder}")
    assert code == 1
    assert "error: not logged in to W&B; run `wandb login`" in said or "does not answer" in said


@pytest.mark.long
@pytest.mark.parametrize("listens", [True, False])
def test_a_server_that_does_not_answer_hangs_nothing(tmp_path: Path, listens: bool) -> None:
    with nobody(listens) as address:
        began = time.monotonic()
        code, said = finished(tmp_path, address, *SMALL, "sweep=wandb")
        assert time.monotonic() - began < 120
    assert code == 1
    assert f"error: W&B at {address} does not answer; nothing was started" in said
    assert (sweep_folder(tmp_path) / "wandb_sweep.yaml").is_file()


@pytest.mark.long
def test_trials_are_runs_of_the_ids_that_the_agent_gave(tmp_path: Path, server: SweepServer) -> None:
    code, said = finished(tmp_path, server.address, *SMALL, *SPACE, OFFLINE, "sweep.trials=3", "notes='a, b'")
    assert code == 1, said  # one of them has a bad value, and fails alone
    folder = sweep_folder(tmp_path)
    assert server.config == yaml.safe_load((folder / "wandb_sweep.yaml").read_text())
    assert server.begun == [(None, "vaelab")]
    assert server.agents == 1
    assert ran(folder) == ["run0", "run2"]
    assert [str(job.status) for job in Sweep.read(folder).jobs] == ["done", "failed", "done"]
    for name, values in (("run0", TRIALS[0]), ("run2", TRIALS[2])):
        run = folder / name
        assert json.loads((run / "tracking.json").read_text())["wandb"] == name
        records = wandb_records(run)
        told = [record.run for record in records if record.HasField("run")]
        assert {(one.run_id, one.sweep_id) for one in told} == {(name, SWEEP)}
        assert told[0].run_group == f"sweep {folder.name}"
        assert told[0].display_name.startswith(f"digits-vae latent_dim={values['latent_dim']}")
        numbers = json.loads((run / "metrics.json").read_text())
        assert summary(records)["val/elbo"] == numbers["val/elbo"]  # a number, as W&B's search wants it
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["latent_dim"] == values["latent_dim"]
        assert config["optimizer"]["lr"] == values["optimizer.lr"]
        assert config["encoder"]["hidden"] == json.loads(values["encoder.hidden"])
        assert config["notes"] == "a, b"
        assert not any(name.startswith("test/") for name in numbers)
        about = json.loads((run / "environment.json").read_text())["command"]
        assert "sweep" not in about
        assert "hydra" not in about
    assert re.search(r"error: trial run1: .*latent_dim=-1", said)
    best = max(("run0", "run2"), key=lambda name: json.loads((folder / name / "metrics.json").read_text())["val/elbo"])
    assert f"best, trial {best}:" in said
    words = f"latent_dim={server.runs[best]['latent_dim']}"
    (line,) = [line for line in said.splitlines() if line.startswith("  python train.py data=digits")]
    assert words in line
    assert "sweep" not in line
    assert not (REPOSITORY / "wandb").exists()

    went_on, said = finished(tmp_path, server.address, f"resume={folder / 'run0'}", OFFLINE, "trainer.max_epochs=2")
    assert went_on == 0, said
    records = wandb_records(folder / "run0")
    assert {record.run.run_id for record in records if record.HasField("run")} == {"run0"}


@pytest.mark.long
def test_trials_that_are_online_belong_to_the_sweep(tmp_path: Path, server: SweepServer) -> None:
    server.trials = TRIALS[:1]
    code, said = finished(tmp_path, server.address, *SMALL, *SPACE)
    assert code == 0, said
    assert {told["name"] for told in server.told} == {"run0"}
    assert server.told[0]["sweep"] == SWEEP  # what is told later adds to the run
    assert {told["project"] for told in server.told} == {"vaelab"}


@pytest.mark.chaos
def test_an_interrupted_sweep_goes_on_with_its_trial_and_the_same_id(tmp_path: Path, server: SweepServer) -> None:
    server.trials = TRIALS[:1]
    sweep = begun(tmp_path, server.address, *SMALL, *SPACE, OFFLINE, "trainer.max_epochs=300")
    until(lambda: list((tmp_path / "logs").rglob("metrics.csv")))
    folder = sweep_folder(tmp_path)
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=90)
    assert sweep.returncode == 130, said
    assert f"resume={folder}" in said
    state = json.loads((folder / "run0/state.json").read_text())
    assert state["status"] == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(state["pid"], 0)

    epochs = torch.load(folder / "run0/checkpoints/last.ckpt", weights_only=True)["epoch"] + 2
    code, said = finished(tmp_path, server.address, f"resume={folder}", OFFLINE, f"trainer.max_epochs={epochs}")
    assert code == 0, said
    assert "trial run0 resumes from its checkpoint" in said
    assert server.agents == 2
    told = [record.run for record in wandb_records(folder / "run0") if record.HasField("run")]
    assert {(one.run_id, one.sweep_id) for one in told} == {("run0", SWEEP)}
    assert json.loads((folder / "run0/state.json").read_text())["status"] == "finished"


@pytest.mark.long
def test_a_trial_that_wandb_ends_early_is_no_failure(tmp_path: Path) -> None:
    with SweepServer(TRIALS[:1], stop=0) as server:
        code, said = finished(tmp_path, server.address, *SMALL, *SPACE, OFFLINE, "trainer.max_epochs=2000")
    assert code == 0, said
    assert "trial run0: ended early by W&B" in said
    assert [str(job.status) for job in Sweep.read(sweep_folder(tmp_path)).jobs] == ["pruned"]


@pytest.mark.long
def test_several_agents_share_the_trials_and_a_trial_over_two_devices_is_one_process(
    tmp_path: Path, server: SweepServer
) -> None:
    server.trials = [TRIALS[0], TRIALS[2]]
    devices = ["trainer=ddp_sim", "trainer.devices=2"]
    code, said = finished(tmp_path, server.address, *SMALL, *SPACE, *devices, OFFLINE, "sweep.workers=2")
    assert code == 0, said
    assert server.agents == 2
    assert ran(sweep_folder(tmp_path)) == ["run0", "run1"]


@pytest.mark.chaos
def test_a_trial_ends_with_the_sweep_that_was_killed(tmp_path: Path, server: SweepServer) -> None:
    server.trials = TRIALS[:1]
    sweep = begun(tmp_path, server.address, *SMALL, *SPACE, OFFLINE, "trainer.max_epochs=2000")
    until(lambda: list((tmp_path / "logs").rglob("metrics.csv")))
    folder = sweep_folder(tmp_path)
    sweep.kill()
    sweep.communicate()
    until(lambda: json.loads((folder / "run0/state.json").read_text())["status"] == "interrupted", 60)
    assert (folder / "run0/checkpoints/last.ckpt").is_file()


@pytest.mark.long
def test_the_folder_of_a_stranger_decides_not_whose_sweep_is_joined(tmp_path: Path) -> None:
    code, said = finished(tmp_path, None, *SMALL, "sweep=wandb", "logger.wandb.entity=them", WANDB_MODE="offline")
    assert code == 1
    code, said = finished(tmp_path, None, f"resume={sweep_folder(tmp_path)}", WANDB_MODE="offline")
    assert code == 1
    assert "type them again" in said
    assert "logger.wandb.entity=..." in said


@pytest.mark.long
def test_a_sweep_that_is_gone_at_wandb_is_one_message(tmp_path: Path, server: SweepServer) -> None:
    finished(tmp_path, None, *SMALL, "sweep=wandb", WANDB_MODE="offline")
    folder = sweep_folder(tmp_path)
    record = json.loads((folder / "search.json").read_text())
    (folder / "search.json").write_text(json.dumps(record | {"id": "gone1234"}))
    code, said = finished(tmp_path, server.address, f"resume={folder}")
    assert code == 1
    assert re.search("error: wandb agent vaelab/gone1234: ended with an error: Sweep .*gone1234 not found", said), said


@pytest.mark.long
def test_a_run_that_an_agent_starts_once_more_goes_on_in_its_folder(tmp_path: Path) -> None:
    """As W&B's agent does with a run that a cluster took its machine from."""
    folder = tmp_path / "logs/search/x"
    words = [f"sweep.folder={folder}", *SMALL, "latent_dim=2", "test=false"]
    agent = {"WANDB_RUN_ID": "r1", "WANDB_SWEEP_ID": SWEEP, "WANDB_MODE": "offline", "WANDB_PROJECT": "vaelab"}
    trial = begun(tmp_path, None, *words, "trainer.max_epochs=2000", **agent)
    until(lambda: (folder / "r1/metrics.csv").is_file())
    trial.send_signal(signal.SIGTERM)
    said, _ = trial.communicate(timeout=60)
    assert trial.returncode == 143, said
    assert [str(job.status) for job in Sweep.read(folder).jobs] == ["interrupted"]
    steps = (folder / "r1/metrics.csv").read_text().count("\n")
    done = torch.load(folder / "r1/checkpoints/last.ckpt", weights_only=True)["epoch"]
    code, said = finished(tmp_path, None, *words, f"trainer.max_epochs={done + 3}", **agent)
    assert code == 0, said
    assert [str(job.status) for job in Sweep.read(folder).jobs] == ["done"]
    assert (folder / "r1/metrics.csv").read_text().count("\n") >= steps
    ids = {record.run.run_id for record in wandb_records(folder / "r1") if record.HasField("run")}
    assert ids == {"r1"}
    assert [path.name for path in folder.iterdir() if path.name.startswith("r1")] == ["r1"]
