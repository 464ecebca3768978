"""The files for clusters: what they say is what their schedulers take, and what vaelab understands."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

import vaelab.cli  # noqa: F401, which registers the resolvers
from vaelab.config.location import config_dir

FOLDER = Path(__file__).parents[2] / "docs/clusters"
LAUNCHED = {
    "TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2",
}  # fmt: skip


def overrides(command: str) -> list[str]:
    """The words behind train.py."""
    words = shlex.split(re.sub(r'"?\$@"?', "", command.replace("\\\n", " ")))
    return words[words.index("train.py") + 1 :]


def composed(words: list[str], monkeypatch: pytest.MonkeyPatch, **environment: str) -> Any:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", words)


@pytest.mark.parametrize("name", ["train.sbatch", "array.sbatch"])
def test_scripts_for_slurm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / name
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    text = path.read_text()
    given = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
    assert given["signal"] == "USR1@90"  # which saves and requeues
    assert "requeue" in given
    assert "ntasks-per-node" in given  # without which Lightning refuses several tasks
    assert given["job-name"] not in ("bash", "interactive")
    (line,) = re.findall(r"^srun (.*)$", text, re.MULTILINE)
    words = [os.path.expandvars(word.replace("$SLURM_ARRAY_TASK_ID", "3")) for word in overrides(line)]
    nodes, tasks = given.get("nodes", "1"), given["ntasks-per-node"]
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NNODES": nodes, "SLURM_PROCID": "0"}
    config = composed(words, monkeypatch, SLURM_NTASKS=str(int(nodes) * int(tasks)), **slurm)
    if name == "train.sbatch":
        assert (config.trainer.devices, config.trainer.num_nodes) == (int(tasks), int(nodes))
    else:
        assert config.seed == 3


def test_a_task_for_skypilot(monkeypatch: pytest.MonkeyPatch) -> None:
    task = yaml.safe_load((FOLDER / "skypilot.yaml").read_text())
    assert set(task) <= {"name", "resources", "num_nodes", "workdir", "file_mounts", "envs", "setup", "run"}
    assert subprocess.run(["bash", "-n", "-c", task["run"]], check=False).returncode == 0
    asked = set(re.findall(r"\$(SKYPILOT_\w+)", task["run"]))
    assert asked == {f"SKYPILOT_{name}" for name in
                     ("NUM_NODES", "NUM_GPUS_PER_NODE", "NODE_RANK", "NODE_IPS", "TASK_ID")}  # fmt: skip
    run = task["run"].replace("$OVERRIDES", task["envs"]["OVERRIDES"]).replace("$SKYPILOT_TASK_ID", "job-1")
    config = composed(overrides(run), monkeypatch, **LAUNCHED)
    assert config.paths.output_dir == "/runs/job-1"  # in the bucket, where a replaced machine finds it
    assert (config.trainer.devices, config.trainer.num_nodes) == (4, 2)


def test_a_train_job_for_kubeflow(monkeypatch: pytest.MonkeyPatch) -> None:
    job = yaml.safe_load((FOLDER / "trainjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    trainer = job["spec"]["trainer"]
    assert set(trainer) <= {"image", "command", "args", "env", "numNodes", "numProcPerNode", "resourcesPerNode"}
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == trainer["numProcPerNode"]
    (patch,) = job["spec"]["podTemplateOverrides"]
    mounted = {mount["name"]: mount["mountPath"] for mount in patch["spec"]["containers"][0]["volumeMounts"]}
    assert {volume["name"] for volume in patch["spec"]["volumes"]} == set(mounted)
    assert trainer["command"][:2] == ["torchrun", "train.py"]
    config = composed(trainer["command"][2:], monkeypatch, **LAUNCHED)
    assert config.paths.output_dir.startswith(mounted["runs"])


def test_the_container_takes_the_torch_that_is_pinned() -> None:
    pinned = re.search(r"^torch==(\S+)$", (FOLDER.parents[1] / "constraints.txt").read_text(), re.MULTILINE)
    named = re.search(r"torch==([\d.]+)", (FOLDER / "Dockerfile").read_text())
    assert pinned is not None
    assert named is not None
    assert named[1] == pinned[1].partition("+")[0]
