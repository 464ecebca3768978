"""What the machine refuses is one message that names the file and the remedy, and leaves no part of a file."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vaelab.atomic_write import remove_half_written, replacing, write_file
from vaelab.errors import CheckpointError
from vaelab.faults import fault, is_peer_lost
from vaelab.record.curves import CurveLogger
from vaelab.training import checkpoint_files, processes
from vaelab.training.checkpoint_files import CheckpointFiles
from vaelab.training.processes import after_another

Run = Callable[..., Path]
SMALL = ("task=compression", "model=ae", "encoder.hidden=[8]", "trainer.max_epochs=2", "task.baselines=false",
         "trainer.limit_train_batches=3")  # fmt: skip


class FullDisk:
    """A file that takes a few bytes, as the last ones of a disk do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, content: Any) -> int:
        if self._path.exists() and self._path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._path.write_bytes(bytes(content)[:3])
        return len(content)

    def flush(self) -> None:
        pass


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, code: int, after: int = 0) -> None:
    """Writing a file of this name fails, from the so-many-th time on."""
    make, seen = tempfile.mkstemp, []

    def failing(prefix: str = "", **others: Any) -> Any:
        if prefix == f".{name}.":
            seen.append(prefix)
            if len(seen) > after:
                raise OSError(code, os.strerror(code), "partial")
        return make(prefix=prefix, **others)

    monkeypatch.setattr(tempfile, "mkstemp", failing)


def message(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    lines = [line for line in captured.splitlines() if line]
    assert len(lines) == 1, captured
    assert lines[0].startswith("error: ")
    return lines[0]


# Files


def test_errors_of_the_system_come_through_libraries_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("before")
    with pytest.raises(OSError, match="No space left") as raised, replacing(path) as partial:
        torch.save({"a": torch.ones(100_000)}, FullDisk(partial))  # type: ignore[arg-type]
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    with pytest.raises(IsADirectoryError) as raised, replacing(path) as partial:
        save_file({"a": torch.ones(3)}, tmp_path)  # safetensors has one kind of error for all
    assert raised.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"


def test_errors_of_programs_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"), replacing(tmp_path / "a"):
        raise RuntimeError("mine")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, io = tmp_path / "checkpoints" / "best.ckpt", CheckpointFiles(tmp_path)
    io.save_checkpoint({"step": 1, "weights": torch.ones(4)}, path)
    kept = path.read_bytes()
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: save(content, FullDisk(Path(file.name))))
    with pytest.raises(OSError, match="No space left"):
        io.save_checkpoint({"step": 2, "weights": torch.ones(40_000)}, path)
    assert path.read_bytes() == kept
    assert [p.name for p in path.parent.iterdir()] == ["best.ckpt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path, io = tmp_path / "checkpoints" / "best.ckpt", CheckpointFiles(tmp_path)
    io.save_checkpoint({"step": 1, "weights": torch.ones(4_000), "state": torch.zeros(4_000)}, path)
    assert io.load_checkpoint(path, weights_only=True)["step"] == 1
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], bytes(len(whole)), whole[:5_000] + bytes(20_000) + whole[25_000:]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"best\.ckpt: is damaged"):
            io.load_checkpoint(path, weights_only=True)


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(FileNotFoundError) as raised:
        CheckpointFiles(folder).save_checkpoint({}, folder / "checkpoints" / "last.ckpt")
    assert raised.value.filename == str(folder)
    curves = CurveLogger(folder)
    curves.log_metrics({"train/loss": 1.0}, 1)
    with pytest.raises(FileNotFoundError):
        curves.save()
    curves.finalize("failed")  # what has failed before is what should be said
    assert not folder.exists()


# Runs


LONG = ("config.yaml", "metrics.csv", "model.safetensors", "metrics.json", "curves.png")


@pytest.mark.parametrize(
    ("name", "after"),
    [
        *((name, 0) for name in ("best.ckpt", "report.html")),
        ("last.ckpt", 1),
        *(pytest.param(name, 0, marks=pytest.mark.long) for name in LONG),
    ],
)
def test_a_full_disk_is_one_message(
    train: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    after: int,
) -> None:
    refuse(monkeypatch, name, errno.ENOSPC, after)
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL)
    assert stopped.value.code == 1
    said = message(capsys)
    assert name in said
    assert "the disk is full" in said
    assert "paths.log_dir" in said
    files = [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]
    assert not [path for path in files if path.name.startswith(".")]
    if name == "config.yaml":
        assert not files  # nothing ran
    elif name != "best.ckpt" and name != "metrics.csv":
        assert "resume it with resume=" in said
        assert torch.load(next(p for p in files if p.name == "last.ckpt"), weights_only=True)["global_step"] >= 3


def test_a_run_folder_that_is_removed_is_named_and_stays_removed(
    train: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import shutil

    from vaelab.training.best_validation import BestValidation

    def remove(*others: Any) -> None:
        for config in list(tmp_path.rglob("config.yaml")):
            shutil.rmtree(config.parent)

    monkeypatch.setattr(BestValidation, "on_train_epoch_start", remove, raising=False)
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL)
    assert stopped.value.code == 1
    assert "the run folder no longer exists" in message(capsys)
    assert not list((tmp_path / "logs").rglob("*.*"))


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO, errno.EFBIG])
def test_what_cannot_be_written_is_named(code: int, tmp_path: Path) -> None:
    found = fault(OSError(code, os.strerror(code), str(tmp_path / "checkpoints/last.ckpt")), tmp_path)
    assert found is not None
    assert f"{tmp_path}/checkpoints/last.ckpt: " in str(found)
    assert os.strerror(code) in str(found)


def test_a_checkpoint_that_is_gone_is_named(tmp_path: Path) -> None:
    path = f"{tmp_path}/checkpoints/best.ckpt"
    lightnings = FileNotFoundError(f"Checkpoint file not found: {path}")
    for error in lightnings, FileNotFoundError(errno.ENOENT, "No such file", path):
        assert path in str(fault(error, tmp_path))
    other = FileNotFoundError(errno.ENOENT, "No such file", "/elsewhere/data.csv")
    assert fault(other, tmp_path / "never made") is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 4 GiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["host", "device", "torch on the host"],
)
def test_too_little_memory_names_the_batch_size(error: Exception, tmp_path: Path) -> None:
    assert "data.batch_size=64" in str(fault(error, tmp_path, 128))
    assert "data.batch_size" in str(fault(error, tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"), RuntimeError("size mismatch"), FileNotFoundError(errno.ENOENT, "No such file", "other.csv"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError("no code"), KeyError("a"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_of_the_program_keep_their_traceback(error: Exception, tmp_path: Path) -> None:
    assert fault(error, tmp_path) is None


def test_a_process_that_lost_another_one_leaves_it_to_that_one_to_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gloo = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:29413. GLHF!")
    store = torch.distributed.DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed. Did the")
    assert is_peer_lost(gloo)
    assert is_peer_lost(store)
    assert not is_peer_lost(RuntimeError("size mismatch"))
    assert "another process of this run has ended" in str(after_another(tmp_path))  # started by somebody else
    for code, expected in ((3, 3), (130, 130), (-signal.SIGTERM, 143), (-signal.SIGKILL, 1)):
        other = subprocess.Popen([sys.executable, "-c", f"import os; os.kill(os.getpid(), {-code})"
                                  if code < 0 else f"raise SystemExit({code})"])  # fmt: skip
        monkeypatch.setattr(processes, "_started", [other])
        ending = after_another(tmp_path)
        assert (ending.code if isinstance(ending, SystemExit) else ending.exit_code) == expected
        assert ("SIGKILL" in str(ending)) == (code == -signal.SIGKILL)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert isinstance(after_another(tmp_path), SystemExit)


def test_a_terminal_that_is_gone_is_no_fault_of_the_program(tmp_path: Path) -> None:
    found = fault(BrokenPipeError(errno.EPIPE, "Broken pipe"), tmp_path, output_lost=True)
    assert "read this run's output has ended" in str(found)


def test_writing_text_and_bytes(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b.txt", "ä")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ä".encode()


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [".last.ckpt", "last.ckpt", ".tracking.lock", "wandb/.x.run.settings", "last.ckpt.k3v9x_2a", ".env.template"]
    for name in (*kept, ".metrics.csv.b1e8tjdn", "checkpoints/.last.ckpt.k3v9x_2a"):
        write_file(tmp_path / name, "x")
    remove_half_written(tmp_path, besides=["wandb"])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)


def test_weights_that_are_not_what_was_written_are_not_tested(train: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Torch reads flipped bits without a word."""
    run = train(*SMALL)
    best = run / "checkpoints/best.ckpt"
    content = bytearray(best.read_bytes())
    weight = next(iter(torch.load(best, weights_only=True)["state_dict"].values()))
    content[content.index(weight.numpy().tobytes()) + 2] ^= 0x40
    best.write_bytes(content)
    torch.load(best, weights_only=True)
    before = (run / "metrics.json").read_text()
    with pytest.raises(SystemExit) as stopped:
        train(f"resume={run}")
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    assert "best.ckpt: is damaged" in said
    assert "remove it" in said
    assert (run / "metrics.json").read_text() == before


def test_any_byte_that_is_not_what_was_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save({"weights": torch.arange(5.0)}, path)
    content = path.read_bytes()
    files, harmless = CheckpointFiles(tmp_path), 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        checkpoint_files._whole.clear()  # the clock of the file system is too coarse to tell these files apart
        with suppress(CheckpointError):  # between the parts there are bytes that mean nothing
            assert torch.equal(files.load_checkpoint(path, weights_only=True)["weights"], torch.arange(5.0))
            harmless += 1
    assert harmless < 0.6 * len(content)  # names, padding and times fill most of so small a file
