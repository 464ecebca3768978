"""What a team sees in W&B of sweeps that several processes run, read back by W&B's own records."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracker_files import config, history, summary, wandb_records

ROOT = Path(__file__).parents[2]
SMALL = ("encoder.hidden=[16]", "decoder.hidden=[16]", "task.nll_samples=5", "trainer.enable_progress_bar=false")


def start(cwd: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"WANDB_MODE": "offline"} | variables
    command = [sys.executable, str(ROOT / "train.py"), *words, f"paths.data_dir={ROOT / 'data'}"]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def of_kind(records: list[Any], kind: str) -> list[Any]:
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


@pytest.mark.long
def test_sweeps_of_two_processes_are_one_run_a_job_with_all_that_a_run_has(tmp_path: Path) -> None:
    words = ("-m", *SMALL, "trainer.max_epochs=4", "task.pictures_every=2", f"paths.log_dir={tmp_path}/logs",
             "logger.wandb.group=capacity", "logger=[wandb,tensorboard]")  # fmt: skip
    home = tmp_path / "home"
    home.mkdir()
    processes = [start(tmp_path, *words, f"latent_dim={sizes}", HOME=str(home)) for sizes in ("2,3", "4,5")]
    for process in processes:
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 0, said
    folders = sorted(path.parent for path in tmp_path.rglob("metrics.json"))
    assert len(folders) == 4
    seen: dict[str, str] = {}
    for folder in folders:
        assert len(list(folder.glob("wandb/offline-run-*"))) == 1
        assert list(folder.glob("tensorboard/events.*"))
        records = wandb_records(folder)
        run, *_ = of_kind(records, "run")
        assert seen.setdefault(run.run_id, run.display_name) == run.display_name
        chosen = config(records)
        assert run.display_name == f"digits-vae latent_dim={chosen['latent_dim']}"
        assert (run.run_group, run.job_type, run.project) == ("capacity", "generation", "vaelab")
        assert of_kind(records, "exit")[-1].exit_code == 0
        numbers = json.loads((folder / "metrics.json").read_text())
        assert {name: summary(records)[name] for name in numbers} == numbers
        logged = history(records)
        assert len(logged["val/elbo"]) == len(logged["train/elbo"]) == 4
        assert logged["trainer/examples"][-1] >= 4 * 1_294
        for picture in ("reconstructions", "samples", "traversals"):
            assert len(logged[f"progress/{picture}/path"]) == 3  # epochs 1, 2 and 4
        artifacts = {artifact.type: artifact for artifact in of_kind(records, "artifact")}
        assert artifacts["dataset"].use_after_commit
        assert not artifacts["dataset"].manifest.contents  # no data
        assert set(artifacts["model"].aliases) == {"best", "latest"}
        assert {content.path for content in artifacts["model"].manifest.contents} >= {
            "best.ckpt", "model/model.json", "model/model.safetensors",
        }  # fmt: skip
        for content in artifacts["model"].manifest.contents:  # in the run folder, and no second time on the disk
            kept = Path(content.local_path)
            assert kept.is_relative_to(folder)
            assert kept.stat().st_nlink == 2
        assert chosen["size"]["parameters"] > 1_000
        best = {metric.name: metric.summary for metric in of_kind(records, "metric")}
        assert best["val/elbo"].max
        assert best["val/mse"].min
        assert list(folder.glob("wandb/offline-run-*/files/report.html"))
    assert len(seen) == len(set(seen.values())) == 4
    assert not [path for path in home.rglob("*") if "artifacts" in path.parts]  # W&B's usual place to stage


@pytest.mark.long
def test_no_file_holds_a_secret_of_the_environment_the_words_or_the_code(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    secrets = {
        "environment": "sEcr3t-0f-the-environment-x91", "tag": "hunter2tag", "notes": "hunter2notes",
        "config": "hunter2config", "diff": "ghp_0123456789abcdefghijABCDEFGHIJ012345", "word": "hunter2word",
    }  # fmt: skip

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    git("init", "-q")
    (tmp_path / "mine.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("logs\nmlruns\n")
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "mine.py").write_text(f"x = 2\ntoken = '{secrets['diff']}'\npassword: {secrets['word']}\n")
    process = start(
        tmp_path, *SMALL, "trainer.max_epochs=1", f"paths.log_dir={tmp_path}/logs", "logger=[wandb,tensorboard,mlflow]",
        f"logger.mlflow.tracking_uri=file:{tmp_path}/mlruns", f"tags=['http://me:{secrets['tag']}@host/']",
        f"notes='the password is {secrets['notes']} and {secrets['environment']}'",
        f"logger.mlflow.experiment='api_key={secrets['config']}'", "logger.wandb.console=true",
        SERVICE_TOKEN=secrets["environment"], WANDB_HOST=f"token={secrets['config']}",
    )  # fmt: skip
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    (changes,) = (tmp_path / "logs").rglob("wandb/offline-run-*/files/changes.patch")
    assert "+x = 2" in changes.read_text()
    for path in [*(tmp_path / "logs").rglob("*"), *(tmp_path / "mlruns").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name, secret in secrets.items() if secret.encode() in content], path
    assert not [name for name, secret in secrets.items() if secret in said]
