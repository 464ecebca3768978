"""How the processes of a run were started: by vaelab itself, by torchrun, or by SLURM, which may start them again.

Imports no heavy modules: the command line needs it before a run begins.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Literal

from vaelab.errors import ConfigError
from vaelab.faults import FaultError

ANSWER = 300.0  # seconds for torchrun's agent to answer
INTERACTIVE = ("bash", "interactive")  # names of interactive SLURM jobs
_DRAWN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # an identifier that torchrun --standalone draws
_OF_TORCHRUN = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
Launcher = Literal["torchrun", "slurm"]


@dataclass(frozen=True)
class Launch:
    """What a launcher tells this process through environment variables.

    Attributes:
        launcher: the launcher that started the process.
        job: the name of the job, the same after each restart; empty if the launcher gives none.
        identity: identifies the job among jobs that run at the same time; the same after each restart.
        attempt: how often the job has been restarted.
        rank: the rank of this process among all processes of the run, from 0.
        world: the number of processes of the run.
        per_node: the number of processes on this node.
        nodes: the number of nodes of the run.
    """

    launcher: Launcher
    job: str
    identity: str
    attempt: int
    rank: int
    world: int
    per_node: int
    nodes: int

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints messages."""
        return self.rank == 0

    def folder_name(self, words: list[str]) -> str:
        """Return the name of the run folder. It depends on the command line too, since a job may have several runs.

        Args:
            words: the words of the command line.
        """
        name = re.sub(r"[^A-Za-z0-9._-]", "-", self.job)[:60].strip(".-")
        return f"{self.launcher}-{name}-{sha256(' '.join(words).encode()).hexdigest()[:6]}"


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return how this process was launched; None if a user or vaelab itself started it.

    Raises:
        ConfigError: a variable of the launcher is not a number.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        return _torchrun(environment)
    if "SLURM_JOB_ID" in environment and environment.get("SLURM_JOB_NAME") not in INTERACTIVE:
        return _slurm(environment)
    return None


def by_itself(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without a launcher's variables, for a child process with a run of its own."""
    kept = {name: value for name, value in environment.items() if name not in _OF_TORCHRUN}
    kept = {name: value for name, value in kept.items() if not name.startswith("TORCHELASTIC_")}
    # Lightning and `launched` treat processes of such a job as typed by a user.
    return kept | ({"SLURM_JOB_NAME": INTERACTIVE[1]} if "SLURM_JOB_ID" in kept else {})


def from_launcher(what: Literal["per_node", "nodes"], launcher: Launcher) -> int:
    """Return the number of processes per node, or the number of nodes, for the config of a trainer.

    Raises:
        ConfigError: this process was not started by the launcher.
    """
    found = launched()
    if found is None or found.launcher != launcher:
        how = "start the run with torchrun, such as torchrun --nproc-per-node=2 train.py trainer=torchrun"
        if launcher == "slurm":
            how = "start the run with srun in a SLURM job whose name is not bash or interactive"
        raise ConfigError(f"trainer={launcher}: {launcher} did not start this process; {how}")
    return found.per_node if what == "per_node" else found.nodes


def counts(launch: Launch | None, devices: object, nodes: object) -> tuple[Any, Any]:
    """Return devices per node and nodes; `auto` devices become the number of processes that a launcher started.

    Args:
        launch: how this process was launched; None without a launcher.
        devices: `trainer.devices`; `auto` for all that are available.
        nodes: `trainer.num_nodes`.
    """
    alone = launch is None or (
        launch.launcher == "slurm" and launch.world == 1
    )  # then Lightning starts the other processes
    if alone or launch is None or devices != "auto":
        return devices, nodes
    return launch.per_node, launch.nodes


def refuse_other_counts(launch: Launch | None, devices: object, nodes: object) -> None:
    """Refuse trainer settings that do not match what a launcher started: each process would train separately.

    Args:
        launch: how this process was launched; None without a launcher.
        devices: `trainer.devices`.
        nodes: `trainer.num_nodes`.

    Raises:
        ConfigError: the counts differ; the message names the option of `trainer` that takes them from the launcher.
    """
    if launch is None or launch.world == 1:
        return
    if launch.world % launch.nodes:
        raise ConfigError(
            f"{launch.launcher} started {launch.world} processes on {launch.nodes} nodes; all nodes need the same "
            "number"
        )
    if (str(devices), str(nodes)) != (str(launch.per_node), str(launch.nodes)):
        raise ConfigError(
            f"trainer.devices={devices} trainer.num_nodes={nodes}: {launch.launcher} started {launch.per_node} "
            f"processes on each of {launch.nodes} nodes; trainer={launch.launcher} takes both numbers from there"
        )


def _torchrun(environment: Mapping[str, str]) -> Launch:
    identity = environment["TORCHELASTIC_RUN_ID"]
    named = identity != "none" and not _DRAWN.fullmatch(identity)
    if identity == "none":  # the value of `torchrun --nnodes=2 --master-addr=...`, also on one node
        identity = f"{environment.get('MASTER_ADDR', '')}:{environment.get('MASTER_PORT', '')}"
    world = _number(environment, "WORLD_SIZE", 1)
    per_node = _number(environment, "LOCAL_WORLD_SIZE", world)
    return Launch(
        "torchrun",
        identity if named else "",
        identity,
        _number(environment, "TORCHELASTIC_RESTART_COUNT", 0),
        _number(environment, "RANK", 0),
        world,
        per_node,
        _number(environment, "GROUP_WORLD_SIZE", max(1, world // per_node)),
    )


def _slurm(environment: Mapping[str, str]) -> Launch:
    """Return the launch of an srun task, or of the batch script itself, which is one process."""
    job = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_TASK_ID" in environment:
        job = f"{environment.get('SLURM_ARRAY_JOB_ID', job)}_{environment['SLURM_ARRAY_TASK_ID']}"
    attempt = _number(environment, "SLURM_RESTART_COUNT", 0)
    step = environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID", ""))
    if not step.isdecimal():
        return Launch("slurm", job, job, attempt, 0, 1, 1, 1)
    job += f"-{step}" if step != "0" else ""
    world = _number(environment, "SLURM_NTASKS", 1)
    nodes = _number(environment, "SLURM_NNODES", 1)
    return Launch(
        "slurm", job, job, attempt, _number(environment, "SLURM_PROCID", 0), world, max(1, world // nodes), nodes
    )


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environment.get(name, "")
    if not text:
        return otherwise
    if not text.isdecimal():
        raise ConfigError(f"{name}={text}: the launcher should set a whole number")
    return int(text)


def agent_store() -> Any:
    """Connect to the store that torchrun's agent provides for its processes on all nodes.

    Raises:
        ConfigError: the agent provides none.
        FaultError: it does not answer.
    """
    from torch.distributed import DistStoreError, TCPStore

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise ConfigError("torchrun shares no store with its processes; unset TORCH_DISABLE_SHARE_RDZV_TCP_STORE")
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=ANSWER))
    except DistStoreError as error:
        raise FaultError(f"torchrun's agent at {address}:{port} does not answer ({error})") from error
