"""Detect processes of a run that have died or are suspended; otherwise the others would wait for them."""

import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import lightning.pytorch as L
import torch.distributed

from vaelab.faults import how_to_go_on
from vaelab.run_folder import discard_unstarted

BEAT = 1.0  # seconds between heartbeats
SILENCE = 25.0  # seconds without a heartbeat after which a process counts as lost; a busy machine may delay one
ANSWER = 10.0  # seconds for the store to answer
PAUSE = 10.0  # seconds without a check, after which this process must itself have been suspended, as by Ctrl-Z
_DONE = "done"


@contextmanager
def noticing_lost_processes(trainer: L.Trainer, folder: Path, failed: Callable[[str], None]) -> Iterator[None]:
    """End this process with one message if another process of the run has no heartbeat any more.

    A suspended process keeps its connections, so the others would wait until the timeout of their collectives, which is
    half an hour. A thread of each process writes heartbeats to the store of the process group.

    Args:
        trainer: of the run.
        folder: the run folder.
        failed: records in the run folder why the run has ended.
    """
    if trainer.world_size < 2:
        yield
        return
    watch = _Watch(trainer.global_rank, trainer.world_size, folder, failed)
    watch.start()
    try:
        yield
    finally:
        watch.stop()


class _Watch:
    """Two threads: one accesses the store, which may block, and one evaluates the heartbeats."""

    def __init__(self, rank: int, world: int, folder: Path, failed: Callable[[str], None]) -> None:
        self._rank, self._world, self._folder, self._failed = rank, world, folder, failed
        self._ended = Event()
        self._beats = 0
        self._heard: dict[int, tuple[dict[str, Any], float]] = {}  # last heartbeat of each process, and its time
        self._answered: float | None = None  # time of the store's last answer
        self._agent = os.getppid() if _has_agent_here() else None  # torchrun, which runs the store
        self._threads = [
            Thread(target=work, name=name, daemon=True)
            for name, work in (("signs of life", self._talk), ("lost processes", self._judge))
        ]

    def start(self) -> None:
        """Begin, as soon as the processes have met."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tell the other processes that this one has no more work with them."""
        self._ended.set()
        for thread in self._threads:
            thread.join(ANSWER)

    def _talk(self) -> None:
        while not torch.distributed.is_initialized():
            if self._ended.wait(BEAT):
                return
        with suppress(RuntimeError, KeyError):  # the store is gone or unreachable, which the other thread notices
            store = self._store()
            ended = False
            began = monotonic()
            self._heard = {rank: ({"beat": 0}, began) for rank in range(self._world) if rank != self._rank}
            while not ended:
                ended = self._ended.wait(BEAT if self._beats else 0.0)
                self._beats += 1
                about = {"pid": os.getpid(), "host": platform.node(), "beat": _DONE if ended else self._beats}
                store.set(str(self._rank), json.dumps(about))
                for rank in range(self._world):
                    if rank != self._rank and store.check([str(rank)]):
                        said = json.loads(store.get(str(rank)).decode())
                        if said != self._heard[rank][0]:
                            self._heard[rank] = said, monotonic()
                now = monotonic()
                if self._answered is not None and now - self._answered > PAUSE:
                    self._listen_anew(now)  # heartbeats of the others were not read in this time either
                self._answered = now

    def _judge(self) -> None:
        looked = monotonic()
        while not self._ended.wait(BEAT):
            now, paused = monotonic(), monotonic() - looked > PAUSE
            looked = now
            if self._answered is None:
                continue
            if paused:
                self._answered = now
                self._listen_anew(now)
            if now - self._answered > SILENCE:
                if self._agent is None:
                    self._end([0])  # the process that runs the store, or is on the same machine as torchrun
                elif os.getppid() != self._agent:
                    self._end([])
                continue  # torchrun is suspended, and no process can write a heartbeat
            silent = [
                rank
                for rank, (about, when) in list(self._heard.items())
                if about["beat"] != _DONE and now - when > SILENCE
            ]
            if silent:
                self._end(silent)

    def _listen_anew(self, now: float) -> None:
        for rank, (about, _) in list(self._heard.items()):
            self._heard[rank] = about, now

    def _store(self) -> Any:
        """A separate connection: that of the process group is blocked while a collective waits."""
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = torch.distributed.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=ANSWER))
        return torch.distributed.PrefixStore(f"vaelab/life/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)

    def _end(self, lost: list[int]) -> None:
        living = [rank for rank in range(self._world) if rank not in lost]
        names = " and ".join(str(rank) for rank in lost)
        why = f"process {names} of {self._world} of this run has given no sign of life for {SILENCE:.0f} seconds"
        if not lost:
            why = "torchrun, which started the processes of this run, has ended"
        for rank in lost:
            about = self._heard[rank][0] if rank in self._heard else {}
            if about.get("host") == platform.node():  # a suspended process reacts to SIGKILL only
                with suppress(OSError):
                    os.kill(about["pid"], signal.SIGKILL)
        if self._rank == living[0]:
            self._failed(why)
            print(f"error: {why}; {how_to_go_on(self._folder)}", file=sys.stderr, flush=True)
            discard_unstarted()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(1)


def _has_agent_here() -> bool:
    """Whether this process was started by the torchrun agent that runs the store."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("GROUP_RANK", "0") == "0"
