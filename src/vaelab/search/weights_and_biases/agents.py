"""The processes of a sweep on this machine: W&B's agents, and trials that are resumed from a checkpoint."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from vaelab.external import by_itself
from vaelab.launch.process import LAST, PATIENCE
from vaelab.search.weights_and_biases.trial import OUTPUT, PLACE
from vaelab.signals import ENDS_WITH, ends_with_this_process

_STOPPED = re.compile(rb"INFO - Stop: ([\w-]+)\s*$", re.MULTILINE)  # a line in the log of W&B's agent
_TWICE = 0.5  # seconds between two signals, so that the process receives both


class Child:
    """A Python process in its own session, whose output is written to a file.

    Args:
        arguments: the arguments of Python.
        output: the file for its output.
        variables: environment variables.
    """

    def __init__(self, arguments: Sequence[str], output: Path, variables: Mapping[str, str]) -> None:
        self.output = output
        self._told: list[float] = []
        self._read = output.stat().st_size if output.is_file() else 0
        output.parent.mkdir(parents=True, exist_ok=True)
        environment = by_itself(os.environ) | {**variables}
        environment.pop("HYDRA_FULL_ERROR", None)
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C goes to the sweep, which ends its processes
            )

    def ended(self) -> int | None:
        """The exit code, or minus the number of the signal that ended the process; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask the process to end. Call it repeatedly: it sends a second signal later, and finally kills the process."""
        now = monotonic()
        if not self._told:
            self._signal()
        elif now - self._told[0] > LAST:
            self.kill()
        elif now - self._told[0] > PATIENCE and len(self._told) == 1:
            self._signal()

    def hasten(self) -> None:
        """End the process now: three signals, since W&B's agent kills its trial at the third, and then `kill`."""
        for _ in range(3):
            if self.ended() is None:
                self._signal()
                sleep(_TWICE)
        self.kill()

    def kill(self) -> None:
        """Kill the process. The processes that it has started end soon afterwards."""
        if self.ended() is None:
            self._process.kill()

    def _signal(self) -> None:
        self._told.append(monotonic())
        if self.ended() is None:
            self._process.send_signal(signal.SIGTERM)

    def new_output(self) -> bytes:
        """The output since the last call."""
        with suppress(OSError), self.output.open("rb") as file:
            file.seek(self._read)
            found = file.read()
            self._read += len(found)
            return found
        return b""

    def last_line(self) -> str:
        """The last line of the output with an error, or else its last line; empty without output."""
        try:
            lines = [line.strip() for line in self.output.read_text(encoding="utf-8", errors="replace").splitlines()]
        except OSError:
            lines = []
        wrong = [line for line in lines if "ERROR" in line or "Error" in line]
        return (
            (wrong or [line for line in lines if line] or [""])[-1]
            .removeprefix("wandb: ERROR ")
            .removeprefix("Error: ")
        )


def agent(folder: Path, path: str, number: int, most: int | None) -> Child:
    """Start an agent.

    Args:
        folder: the folder of the sweep.
        path: the path of the sweep at W&B.
        number: the number of the agent in this process, from 0.
        most: the number of trials of the sweep; None for no limit. W&B's agent stops if the first five trials fail.
            This rule is switched off if there is a limit.
    """
    output = folder / "output"
    variables = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "WANDB_DIR": str(folder.absolute()),
        "WANDB_AGENT_DISABLE_FLAPPING": "true",
        **({"WANDB_AGENT_MAX_INITIAL_FAILURES": str(most + 1)} if most is not None else {}),
        OUTPUT: str(output.absolute()),
        ENDS_WITH: ends_with_this_process(),
    }
    arguments = ["-m", "vaelab.search.weights_and_biases.agent_process", path]
    return Child(arguments, output / f"agent-{os.getpid()}-{number}.txt", variables)


def trial_that_goes_on(folder: Path, path: str, run_id: str, start: Sequence[str], words: Sequence[str]) -> Child:
    """Resume an interrupted trial from its checkpoint, with the same run of W&B.

    Args:
        folder: the folder of the sweep.
        path: the path of the sweep at W&B.
        run_id: the id of the run at W&B.
        start: the beginning of the command line of a trial.
        words: flags and overrides that are typed now.
    """
    *account, sweep = path.split("/")
    variables = {"WANDB_RUN_ID": run_id, "WANDB_SWEEP_ID": sweep, "WANDB_PROJECT": account[-1]}
    if len(account) > 1:
        variables["WANDB_ENTITY"] = account[0]
    arguments = [*start, f"{PLACE}{folder.as_posix()}", *words]
    return Child(arguments, folder / "output" / f"{run_id}.txt", variables)


def stopped_by_server(output: bytes) -> list[str]:
    """The ids of the runs that W&B told an agent to stop, found in the output of the agent."""
    return [found.decode("ascii") for found in _STOPPED.findall(output)]
