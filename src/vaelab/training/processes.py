"""The other processes of a run on several devices: the first one starts them, and ends if one of them fails."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import torch.distributed
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from vaelab.errors import InterruptionError, UserError
from vaelab.external import Launch, agent_store, launched
from vaelab.faults import FaultError, how_to_go_on
from vaelab.run_folder import discard_unstarted
from vaelab.signals import ENDS_WITH, ends_with_this_process, holding_signals, is_first, say

MEETING = 1.0  # seconds for this process to end by itself while it waits for the others; it handles no signal then
RUNNING = 20.0  # seconds for the same later, when it may be saving
EXITING = 3.0  # seconds from a lost connection until the process at its other end has exited
INTERRUPTED = (130, 143, 129)  # exit codes after SIGINT, SIGTERM and SIGHUP

_started: list["subprocess.Popen[bytes]"] = []


class ProcessLauncher(_SubprocessScriptLauncher):
    """Starts a process for every other device, as Lightning's launcher does, which kills a run without a message.

    Args:
        other: Lightning's own launcher.
        folder: the run folder.
    """

    def __init__(self, other: _SubprocessScriptLauncher, folder: Path) -> None:
        super().__init__(other.cluster_environment, other.num_processes, other.num_nodes)
        self._folder = folder

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        """Start the others unless they run already, and call the function."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # hides their warnings about lost connections
            os.environ[ENDS_WITH] = ends_with_this_process()  # this process may be killed before it can end them
            with holding_signals():  # a Python process that is just starting would print a traceback
                self._call_children_scripts()
            del os.environ[ENDS_WITH]
            _started[:] = self.procs
            Thread(target=_watch, args=(self.procs, self._folder), name="other processes", daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def meet_by_torchrun(trainer: Trainer, launch: Launch) -> None:
    """Let the processes of a restarted job find each other, and not the addresses of the previous processes.

    torchrun keeps one store over all starts of its processes, and torch reads the addresses of the others there, under
    the same keys after each start.
    """
    strategy: Any = trainer.strategy
    if not hasattr(strategy, "_get_process_group_backend"):
        return
    set_up = strategy.setup_environment

    def set_up_environment() -> None:
        if not torch.distributed.is_initialized():
            strategy.accelerator.setup_device(strategy.root_device)
            torch.distributed.init_process_group(
                strategy._get_process_group_backend(),
                store=torch.distributed.PrefixStore(f"vaelab/{launch.attempt}/{launch.world}", agent_store()),
                rank=launch.rank,
                world_size=launch.world,
                timeout=strategy._timeout,
            )
        set_up()

    strategy.setup_environment = set_up_environment


def after_another(folder: Path) -> UserError | SystemExit:
    """How to end after the connection to another process is lost: silently, if that process prints the reason."""
    if not is_first():
        return SystemExit(1)
    if launched() is not None:
        return FaultError(f"another process of this run has ended; {how_to_go_on(folder)}")
    until = monotonic() + EXITING
    while (code := _failed(_started)) is None and _started and monotonic() < until:
        sleep(0.1)
    if code is None:
        return FaultError(f"another process of this run has ended, and has printed why; {how_to_go_on(folder)}")
    return _ending(code, folder)


def _failed(processes: list["subprocess.Popen[bytes]"]) -> int | None:
    """The exit code of the first process that has failed."""
    return next((code for process in processes if (code := process.poll())), None)


def _ending(code: int, folder: Path) -> UserError | SystemExit:
    if code in INTERRUPTED or 128 - code in INTERRUPTED:
        return InterruptionError(f"interrupted; {how_to_go_on(folder)}", code if code > 0 else 128 - code)
    if code > 0:  # it has printed why
        return SystemExit(code)
    name = signal.Signals(-code).name
    return FaultError(f"another process of this run was ended by {name}; {how_to_go_on(folder)}")


def _watch(processes: list["subprocess.Popen[bytes]"], folder: Path) -> None:
    """End this process some time after another one has failed: it may wait for it, and not handle signals."""
    met = False
    while (code := _failed(processes)) is None:
        if all(process.poll() == 0 for process in processes):
            return
        met = met or torch.distributed.is_initialized()
        sleep(0.2)
    sleep(RUNNING if met or torch.distributed.is_initialized() else MEETING)
    for process in processes:
        process.kill()
    ending = _ending(code, folder)
    if isinstance(ending, UserError):
        say(f"error: {ending}")
    discard_unstarted()
    sys.stdout.flush()
    os._exit(ending.exit_code if isinstance(ending, UserError) else code)
