"""Submission of jobs of a sweep to SLURM as an array, with a script that submitit writes.

submitit itself would pickle a function for each job. Here each task of the array runs the command line of its job. So
the files are readable, and nothing in the folder is ever unpickled.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vaelab.errors import ConfigError
from vaelab.launch.outcome import LaunchedJob
from vaelab.run_folder import RUN_DIR
from vaelab.secrets import redact_override
from vaelab.signals import ending_at_once

if TYPE_CHECKING:
    from vaelab.launch.settings import Slurm

FOLDER = "slurm"  # in the folder of the sweep; it has a folder for each submission
COMMANDS, SCRIPT = "commands.sh", "submission.sh"
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_")  # variables inside a SLURM job, which jobs that it submits must not inherit
_KEPT = ("SLURM_CONF",)  # inherited nevertheless: the configuration of the cluster


@dataclass(frozen=True)
class Submission:
    """One array of jobs.

    Attributes:
        name: the unique name of the array in the queue.
        folder: the folder for its files.
        jobs: the tasks of the array, in order.
        script: the text of the script for sbatch.
        commands: the text of the file that the script runs, with a command for each task.
    """

    name: str
    folder: Path
    jobs: Sequence[LaunchedJob]
    script: str
    commands: str

    def write(self) -> None:
        """Write the files, and create the folders for the output of jobs.

        Raises:
            OSError: they cannot be written.
        """
        self.folder.mkdir(parents=True)
        (self.folder / COMMANDS).write_text(self.commands, encoding="utf-8")
        (self.folder / SCRIPT).write_text(self.script, encoding="utf-8")
        for job in self.jobs:
            if job.output is not None:
                job.output.parent.mkdir(parents=True, exist_ok=True)

    def submit(self) -> str:
        """Submit the array with sbatch; return its id.

        Raises:
            ConfigError: sbatch refuses it; the message contains that of sbatch.
        """
        found = subprocess.run(
            ["sbatch", str(self.folder / SCRIPT)],
            env=environment_outside(os.environ),
            capture_output=True,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C must not interrupt the submission
            check=False,
        )
        number = re.search(r"job (\d+)", found.stdout)
        if found.returncode or number is None:
            said = " ".join((found.stderr.strip() or found.stdout.strip() or "nothing").split())
            raise ConfigError(f"launcher=slurm: sbatch refused the jobs: {said.removeprefix('sbatch: error: ')}")
        return number[1]


def submissions(
    settings: "Slurm", sweep: Path, program: Sequence[str], jobs: Sequence[LaunchedJob]
) -> list[Submission]:
    """Group jobs into arrays: one for all jobs with the same number of nodes and of processes per node.

    Raises:
        ConfigError: submitit is missing, or a job has a secret on its command line.
    """
    arrays: dict[tuple[int, int], list[LaunchedJob]] = {}
    for job in jobs:
        _refuse_secrets(job.arguments)
        nodes = job.nodes if settings.nodes == "auto" else settings.nodes
        tasks = max(1, job.devices) if settings.tasks_per_node == "auto" else settings.tasks_per_node
        arrays.setdefault((nodes, tasks), []).append(job)
    number, found = 1, []
    for (nodes, tasks), part in arrays.items():
        while (folder := sweep.absolute() / FOLDER / str(number)).exists():
            number += 1
        name = f"{name_of(sweep)}-{number}"
        script = _script(settings, folder, name, len(part), nodes, tasks)
        found.append(Submission(name, folder, part, script, _commands(part, program)))
        number += 1
    return found


def name_of(sweep: Path) -> str:
    """The beginning of the names of a sweep's arrays; unique, since it contains a hash of the folder's path."""
    place = hashlib.sha256(os.path.realpath(sweep).encode()).hexdigest()[:12]
    return f"vaelab-{re.sub(r'[^A-Za-z0-9_-]', '-', sweep.name)[:40]}-{place}"


def require_submitit() -> None:
    """Refuse the launcher if submitit is not installed.

    Raises:
        ConfigError: it is not installed; the message names the extra to install.
    """
    with ending_at_once():
        try:
            import submitit  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"launcher=slurm needs submitit ({error.name} is missing): pip install 'vaelab[slurm]'"
            ) from error


def require_slurm() -> None:
    """Refuse to submit from a machine without SLURM.

    Raises:
        ConfigError: a program of SLURM is missing; the message names it.
    """
    for name in ("sbatch", "squeue", "scancel"):
        if shutil.which(name) is None:
            raise ConfigError(
                f"launcher=slurm: this machine has no {name}; submit from a login node of the cluster. "
                "launcher.dry_run=true shows what would be submitted"
            )


def environment_outside(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that a job inherits, without those of a SLURM job that this process may run in."""
    inside = "SLURM_JOB_ID" in variables
    return {
        name: value
        for name, value in variables.items()
        if name != "HYDRA_FULL_ERROR" and not (inside and name.startswith(_OF_A_JOB) and name not in _KEPT)
    }


def _script(settings: "Slurm", folder: Path, name: str, count: int, nodes: int, tasks: int) -> str:
    require_submitit()
    from submitit.slurm.slurm import SlurmExecutor

    class Executor(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2  # says that SLURM is available, which is not needed to write the script

    executor = Executor(folder)
    given = {
        "name": name,
        "timeout_min": settings.timeout_min,
        "mem_gb": settings.mem_gb,
        "nodes": nodes,
        "tasks_per_node": tasks,
        "gpus_per_node": settings.gpus_per_node,
        "cpus_per_task": settings.cpus_per_task,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "gres": settings.gres,
        "exclude": settings.exclude,
        "array_parallelism": settings.array_parallelism,
        "setup": settings.setup or None,
        # A run ends in order at SIGTERM. The signal that submitit would request is not handled and would kill it.
        "additional_parameters": {"signal": f"TERM@{settings.signal_delay_s}"} | settings.additional_parameters,
        # Since version 22.05, srun does not inherit this from the allocation.
        "srun_args": [f"--cpus-per-task={settings.cpus_per_task}"] if settings.cpus_per_task else None,
        "stderr_to_stdout": True,
    }
    known = executor._convert_parameters({key: value for key, value in given.items() if value is not None})
    executor.update_parameters(**known, wckey=None)
    executor.parameters["map_count"] = count
    text: str = executor._make_submission_file_text(f"bash {shlex.quote(str(folder / COMMANDS))}", name)
    return text.rstrip() + "\n"


def _commands(jobs: Sequence[LaunchedJob], program: Sequence[str]) -> str:
    lines = [
        "#!/bin/bash",
        "# The jobs of a sweep: the number of the task in its array chooses one.",
        f"cd {shlex.quote(os.getcwd())} || exit 1",
        'if [ -n "$SLURM_CPUS_PER_TASK" ]; then export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}"; fi',
        'case "$SLURM_ARRAY_TASK_ID" in',
    ]
    for task, job in enumerate(jobs):
        lines += [
            f"{task}) # job {job.number}",
            f"  export {RUN_DIR}={shlex.quote(str(job.folder.absolute()))}",
            *([] if job.output is None else [f"  exec >> {shlex.quote(str(job.output.absolute()))} 2>&1"]),
            f"  exec {shlex.join([sys.executable, *program, *job.arguments])}",
            "  ;;",
        ]
    return "\n".join([*lines, "esac", ""])


def _refuse_secrets(words: Sequence[str]) -> None:
    """Refuse command lines with secrets, since the script is written into the folder of the sweep.

    Raises:
        ConfigError: a word contains a secret; the message names its key.
    """
    for text in words:
        if redact_override(text) != text:
            raise ConfigError(
                f"the script of a job for SLURM would contain a secret in {text.partition('=')[0]}; leave it out, and "
                "set it as an environment variable, which the job inherits"
            )
