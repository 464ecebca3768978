"""Ctrl-C and signals: save if there is something to save, print how to resume, exit as an interrupted process does."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Concatenate, ParamSpec

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf

from vaelab.errors import InterruptionError
from vaelab.external import launched
from vaelab.faults import fault, how_to_go_on, is_peer_lost
from vaelab.signals import Terminated, hear_signals, raise_terminated, silence_lost_output
from vaelab.training.processes import after_another
from vaelab.training.requeue import requeue

# 128 + the signal, as shells and schedulers expect; SIGUSR1 is how schedulers announce a SIGTERM
EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGHUP: 129}
STOPS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
REPEATS = 10.0  # seconds in which the same signal counts as one: schedulers send it to every process of a job
PATIENCE = 20.0  # seconds that a validation may continue after a signal, to complete its epoch; schedulers allow 30

Settings = ParamSpec("Settings")
Run = Callable[Concatenate[DictConfig, Settings], float | None]


class StoppedError(SIGTERMException):
    """A signal has stopped this process. It is a SystemExit, as Lightning's own, so that nothing catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(EXIT[signal.Signals(number)])
        self.number = number


def stoppable(run: Run[Settings]) -> Run[Settings]:
    """Turn what ends a run from outside into one message: Ctrl-C, a signal, a full disk, too little memory.

    Raises:
        InterruptionError: the run was stopped. The message says what is kept and how to resume. Its exit code is 128
            plus the signal; for SIGUSR1 that of SIGTERM.
        FaultError: the machine refused something; see `vaelab.faults`.
    """

    @wraps(run)
    def guarded(config: DictConfig, *settings: Settings.args, **named: Settings.kwargs) -> float | None:
        folder = Path(_setting(config, "paths.output_dir") or ".")
        try:
            with listening():
                return run(config, *settings, **named)
        except (KeyboardInterrupt, SystemExit) as stop:
            code = exit_code(stop)
            if code is None:
                if isinstance(stop.__context__, BrokenPipeError):  # rich exits without a message
                    raise fault(stop.__context__, folder, output_lost=True) or stop from stop.__context__
                raise
            requeues = getattr(stop, "number", None) == signal.SIGUSR1 and _in_slurm()
            if getattr(rank_zero_only, "rank", 0) != 0:  # the first process prints the message
                # srun --kill-on-bad-exit would kill the first process before it has closed trackers and asked SLURM.
                raise SystemExit(0 if requeues else code) from stop
            kept = getattr(stop, "__notes__", None)
            told = kept[0] if kept else how_to_go_on(folder)
            if requeues:
                told += f"; {requeue()}"
            raise InterruptionError(f"interrupted; {told}", code) from stop
        except Exception as error:
            if is_peer_lost(error):
                raise after_another(folder) from error
            lost = isinstance(error, OSError) and silence_lost_output()
            found = fault(error, folder, _setting(config, "data.batch_size"), lost)
            if found is None:
                raise
            raise found from error

    return guarded


def _in_slurm() -> bool:
    launch = launched()
    return launch is not None and launch.launcher == "slurm"


def _setting(config: DictConfig, key: str) -> Any:
    """A value of a config that has not been validated yet and may be wrong in any way."""
    return OmegaConf.select(config, key, throw_on_resolution_failure=False)


def exit_code(stop: BaseException) -> int | None:
    """The exit code of an interrupted process; None if it was not interrupted."""
    if isinstance(stop, Terminated):  # by a signal before the handlers here were installed
        return stop.exit_code
    if isinstance(stop, StoppedError):
        return EXIT[signal.Signals(stop.number)]
    if isinstance(stop, SIGTERMException):
        return EXIT[signal.SIGTERM]
    pressed = isinstance(stop, KeyboardInterrupt) or isinstance(stop.__context__, KeyboardInterrupt)
    return EXIT[signal.SIGINT] if pressed else None  # Lightning exits with 1 after Ctrl-C


@contextmanager
def keeping(what: str) -> Iterator[None]:
    """Sets the message about what an interruption in this block leaves behind; the innermost block's is used."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stop.add_note(what)
        raise


@contextmanager
def listening() -> Iterator[None]:
    """Raise `StoppedError` on a signal, unless it is handled elsewhere, such as by nohup or a launcher."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Shutdown.begun = None
    known = {number: signal.getsignal(number) for number in STOPS}
    before = {number: handler for number, handler in known.items() if handler in (signal.SIG_DFL, raise_terminated)}
    for number in before:
        signal.signal(number, _stop_here)
    hear_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Shutdown:
    """The first signal ends the run; one that arrives much later, while the run still ends, ends the process.

    Signals of a launcher do not count: it sends more of them as processes end, and kills those that take too long.
    """

    begun: float | None = None

    @classmethod
    def begin(cls, number: int) -> None:
        """Raise `StoppedError`, once.

        Raises:
            StoppedError: for the first signal.
        """
        if cls.begun is None:
            cls.begun = monotonic()
            raise StoppedError(number)
        if monotonic() - cls.begun > REPEATS and launched() is None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _stop_here(number: int, frame: FrameType | None) -> None:
    silence_lost_output()
    _Shutdown.begin(number)


class StopSignals(_SignalConnector):
    """In training all devices stop after the same step, and save; in evaluation a signal stops the process at once.

    Lightning's own handler also sets a flag that its loops check between steps. But it calls a collective within the
    handler, handles SIGTERM only, and does not interrupt a test pass. In a SLURM job it saves within a step, to a file
    outside the run folder. Here SIGUSR1 saves as all signals do, and then SLURM requeues the job.
    """

    def __init__(self, trainer: L.Trainer) -> None:
        self.number = 0  # number of a received signal that the loop has not handled yet
        self.agreed_time: float | None = None  # clock of the first device in seconds, at the last `agree`
        self._since = 0.0
        self._set_by_lightning = False
        super().__init__(trainer)

    @property
    def received_sigterm(self) -> bool:
        """The flag that Lightning's loops check; also set if validation takes too long, see `PATIENCE`."""
        late = bool(self.number) and monotonic() - self._since > PATIENCE
        return self._set_by_lightning or (late and bool(self.trainer.validating) and self.trainer.world_size == 1)

    @received_sigterm.setter
    def received_sigterm(self, value: bool) -> None:
        self._set_by_lightning = value

    def register_signal_handlers(self) -> None:
        """Install handlers for the signals that `listening` handles."""
        ours = [number for number in STOPS if signal.getsignal(number) is _stop_here]
        self.number, self._since = 0, 0.0
        known = (*STOPS, signal.SIGINT)  # Lightning ignores SIGINT while it shuts down
        self._original_handlers = {number: signal.getsignal(number) for number in known}
        for number in ours:
            self._register_signal(number, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        silence_lost_output()
        trainer: Any = self.trainer
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.number = self.number or number
            self._since = self._since or monotonic()
            return
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(number)
        _Shutdown.begin(number)

    def agree(self) -> None:
        """Called on every device between the same two steps. It also shares the clock of the first device.

        Raises:
            StoppedError: one of the devices has received a signal.
        """
        number, now = self.number, monotonic()
        if self.trainer.world_size > 1:
            milliseconds = int(1000 * now) if self.trainer.is_global_zero else 0
            told = torch.tensor([number, milliseconds], device=self.trainer.strategy.root_device)
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
            number, now = int(told[0]), int(told[1]) / 1000
        self.agreed_time = now
        if number:
            self.number = 0
            _Shutdown.begin(number)

    def teardown(self) -> None:
        """Restore the handlers; a signal received after the last step ends the run here."""
        super().teardown()
        number, self.number = self.number, 0
        if number and sys.exc_info()[0] is None:
            _Shutdown.begin(number)
