"""A signal is heard where a run can end well: between two steps, or at once where nothing is trained."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from vaelab.errors import InterruptionError
from vaelab.record.run_record import RunRecord
from vaelab.training.interruption import STOPS, StoppedError, StopSignals, exit_code, keeping, listening, stoppable

Run = Callable[..., Path]
SMALL = ("task=compression", "model=ae", "encoder.hidden=[8]", "trainer.max_epochs=2", "task.baselines=false")
CONFIG = OmegaConf.create({"paths": {"output_dir": "nowhere"}, "data": {"batch_size": 8}})


@pytest.fixture(autouse=True)
def _handlers_are_restored() -> Any:
    before = [signal.getsignal(number) for number in (*STOPS, signal.SIGINT)]
    yield
    assert [signal.getsignal(number) for number in (*STOPS, signal.SIGINT)] == before


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # a handler runs between two instructions


def only_run(tmp_path: Path) -> Path:
    (config,) = tmp_path.rglob("config.yaml")
    return config.parent


def weights(run: Path) -> Any:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_each_signal_has_the_exit_code_of_its_kind(number: int, code: int) -> None:
    with pytest.raises(InterruptionError) as stopped:
        stoppable(lambda config: send(number))(CONFIG)
    assert stopped.value.exit_code == code


def test_a_signal_that_somebody_else_handles_is_left_to_him() -> None:
    """Such as SIGHUP under nohup, or SIGUSR1 of a launcher that requeues."""
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGUSR1, lambda n, f: heard.append(n))
    try:
        with listening():
            send(signal.SIGHUP)
            send(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGUSR1, before[1])
    assert heard == [signal.SIGUSR1]


def test_a_signal_that_comes_again_at_once_does_not_break_the_saving() -> None:
    saved = []
    with listening():
        with pytest.raises(StoppedError):
            send(signal.SIGTERM)
        send(signal.SIGTERM)
        saved.append(True)
    assert saved


def test_other_exits_are_not_taken_for_interruptions() -> None:
    def leave(config: Any) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit) as left:
        stoppable(leave)(CONFIG)
    assert left.value.code == 3
    assert exit_code(SystemExit(1)) is None
    lightnings = SystemExit(1)
    lightnings.__context__ = KeyboardInterrupt()
    assert exit_code(lightnings) == 130


def test_what_is_kept_is_said_by_the_innermost_part() -> None:
    def run(config: Any) -> None:
        with keeping("outer"), keeping("inner"):
            raise KeyboardInterrupt

    with pytest.raises(InterruptionError, match="interrupted; inner"):
        stoppable(run)(CONFIG)


# Whole runs in this process


class Signal(Callback):
    """Sends a signal at one of Lightning's hooks."""

    def __init__(self, hook: str, number: int, step: int = 0) -> None:
        self.sent_at: int | None = None

        def at(trainer: Any, *others: Any) -> None:
            if self.sent_at is None and trainer.global_step >= step and not trainer.sanity_checking:
                self.sent_at = trainer.global_step
                send(number)

        setattr(self, hook, at)


class EachStep(Callback):
    """Wants to see each batch, so that no block of steps passes a signal by."""

    def on_train_batch_start(self, *others: Any) -> None:
        """Nothing."""


@pytest.fixture
def with_callback(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callback], None]:
    import vaelab.run

    def add(callback: Callback) -> None:
        build = vaelab.run.build_callbacks
        monkeypatch.setattr(vaelab.run, "build_callbacks", lambda *given: [callback, *build(*given)])

    return add


@pytest.mark.parametrize(
    "number", [signal.SIGHUP, *(pytest.param(n, marks=pytest.mark.long) for n in (signal.SIGTERM, signal.SIGUSR1))]
)
def test_training_saves_at_the_next_step(
    train: Run, with_callback: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int
) -> None:
    signals = Signal("on_train_batch_end", number, step=7)
    with_callback(signals)
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL, "data.batch_size=100")
    assert stopped.value.code == (129 if number == signal.SIGHUP else 143)
    run = only_run(tmp_path)
    assert f"resume it with resume={run}" in capsys.readouterr().err
    assert weights(run)["global_step"] == signals.sent_at


@pytest.mark.parametrize(
    ("hook", "steps"),
    [
        ("on_validation_batch_end", 13),
        pytest.param("on_train_epoch_end", 13, marks=pytest.mark.long),
        pytest.param("on_train_epoch_start", 13, marks=pytest.mark.long),
        ("on_train_end", 26),
    ],
)
def test_an_epoch_is_not_lost_to_a_signal_at_its_end(
    train: Run, with_callback: Any, tmp_path: Path, hook: str, steps: int
) -> None:
    with_callback(Signal(hook, signal.SIGTERM, step=13))
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL, "data.batch_size=100")
    assert stopped.value.code == 143
    run = only_run(tmp_path)
    assert weights(run)["global_step"] == steps
    assert not (run / "metrics.json").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("on_train_batch_end", ["data.batch_size=100"]),
        ("on_validation_batch_end", ["data.batch_size=100"]),
        ("on_train_batch_start", ["data.batch_size=34", "trainer.accumulate_grad_batches=3"]),  # within a step
    ],
)
def test_a_resumed_run_ends_as_if_no_signal_had_come(
    train: Run, with_callback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str, words: list[str]
) -> None:
    whole = train(*SMALL, *words)
    with_callback(Signal(hook, signal.SIGHUP, step=7))
    with_callback(EachStep())
    with pytest.raises(SystemExit):
        train(*SMALL, *words)
    monkeypatch.undo()
    (stopped,) = {path.parent for path in tmp_path.rglob("config.yaml")} - {whole}
    train(f"resume={stopped}")
    ours, theirs = weights(stopped), weights(whole)
    assert ours["global_step"] == theirs["global_step"] == 26
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in theirs["state_dict"].items())
    assert (stopped / "metrics.json").read_text() == (whole / "metrics.json").read_text()


@pytest.mark.parametrize(
    ("where", "number", "code"),
    [
        ("test", signal.SIGTERM, 143),
        ("findings", signal.SIGINT, 130),
        pytest.param("test", signal.SIGINT, 130, marks=pytest.mark.long),
        pytest.param("findings", signal.SIGTERM, 143, marks=pytest.mark.long),
    ],
)
def test_evaluation_ends_at_once_and_says_how_to_do_it_again(
    train: Run,
    with_callback: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    where: str,
    number: int,
    code: int,
) -> None:
    if where == "test":
        with_callback(Signal("on_test_batch_end", number))
    else:
        monkeypatch.setattr(RunRecord, "_findings", lambda *others: send(number))
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL)
    assert stopped.value.code == code
    said, run = capsys.readouterr().err, only_run(tmp_path)
    assert f"train=false ckpt_path={run}" in said
    assert "Traceback" not in said
    assert (run / "checkpoints/best.ckpt").is_file()
    assert (run / "metrics.json").is_file() == (where == "findings")  # of the passes over validation and test
    if where == "findings" and number == signal.SIGTERM:
        monkeypatch.undo()
        again = train(*SMALL, "train=false", f"ckpt_path={run}")
        assert (again / "metrics.json").is_file()


def test_devices_agree_on_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to another one of them is heard here."""

    def reduced(told: torch.Tensor, how: Any) -> None:
        told[0] = signal.SIGTERM

    monkeypatch.setattr(torch.distributed, "all_reduce", reduced)
    environment = SimpleNamespace(cluster_environment=None)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(
        world_size=2, strategy=strategy, is_global_zero=True, _accelerator_connector=environment
    )
    with listening(), pytest.raises(StoppedError) as stopped:
        StopSignals(trainer).agree()
    assert stopped.value.number == signal.SIGTERM


def test_slurm_requeues_after_its_signal_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}

    def hears_again() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(name, value)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        with pytest.raises(InterruptionError) as stopped:
            stoppable(lambda config, number=number: send(number))(CONFIG)
        assert stopped.value.exit_code == 143
        asked = tmp_path / "asked"
        assert (asked.read_text() if asked.exists() else "") == ("" if number == signal.SIGTERM else "requeue 9_3\n")
    assert "SLURM requeues job 9_3" in str(stopped.value)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # SLURM ends what it requeues
    hears_again()
    (tmp_path / "scontrol").write_text(
        "#!/bin/sh\necho 'slurm_update error: Job/step is not requeueable' >&2; exit 1\n"
    )
    with pytest.raises(InterruptionError, match=r"SLURM did not requeue job 9_3 .*not requeueable.; submit it again"):
        stoppable(lambda config: send(signal.SIGUSR1))(CONFIG)
    hears_again()
