"""What is submitted to SLURM for some jobs of a sweep: one array, whose script is submitit's.

submitit would pickle a function for each job. Here each task of the array runs the command line of its job, which a
person can read, and no file of the folder is ever unpickled.
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

FOLDER = "slurm"  # in the folder of the sweep: a folder for each submission
COMMANDS, SCRIPT = "commands.sh", "submission.sh"
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_")  # variables that a job of SLURM has, which its own submissions must not have
_KEPT = ("SLURM_CONF",)  # where the cluster is


@dataclass(frozen=True)
class Submission:
    """One array of jobs.

    Attributes:
        name: of the array in the queue, which no other has.
        folder: of its files.
        jobs: the tasks of the array, in their order.
        script: the text that sbatch is given.
        commands: the text of the file that the script runs, one command for each task.
    """

    name: str
    folder: Path
    jobs: Sequence[LaunchedJob]
    script: str
    commands: str

    def write(self) -> None:
        """Put the files where the jobs will read them.

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
        """Hand it over; returns the id of the array.

        Raises:
            ConfigError: sbatch refuses it; says what sbatch says.
        """
        found = subprocess.run(
            ["sbatch", str(self.folder / SCRIPT)],
            env=environment_outside(os.environ),
            capture_output=True,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in the middle of it must not leave open whether it was submitted
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
    """The arrays for some jobs: one for all that need as many nodes and processes.

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
    """The beginning of the names of a sweep's arrays. It is that of no other folder, whatever a file in it says."""
    place = hashlib.sha256(os.path.realpath(sweep).encode()).hexdigest()[:12]
    return f"vaelab-{re.sub(r'[^A-Za-z0-9_-]', '-', sweep.name)[:40]}-{place}"


def require_submitit() -> None:
    """Refuse the launcher where submitit is not installed.

    Raises:
        ConfigError: names the extra.
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
        ConfigError: names the program that is missing.
    """
    for name in ("sbatch", "squeue", "scancel"):
        if shutil.which(name) is None:
            raise ConfigError(
                f"launcher=slurm: this machine has no {name}; submit from a login node of the cluster. "
                "launcher.dry_run=true shows what would be submitted"
            )


def environment_outside(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job inherits: not those of the job that this process may itself be in."""
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
            return 2  # it only writes the script, which needs no SLURM

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
        # SLURM's own signal before the end of the time would end a run that does not know it.
        "additional_parameters": {"signal": f"TERM@{settings.signal_delay_s}"} | settings.additional_parameters,
        # From version 22.05 on, srun does not take this from the allocation.
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
    """A script lies in the folder of the sweep, which never holds a secret."""
    for text in words:
        if redact_override(text) != text:
            raise ConfigError(
                f"the script of a job for SLURM would contain a secret in {text.partition('=')[0]}; leave it out, and "
                "set it as an environment variable, which the job inherits"
            )
