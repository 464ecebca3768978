"""Run folders as runs leave them, made up: of any config, with any numbers, in any state."""

import fcntl
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from pictures import png
from vaelab.record.state import RunState, RunStatus

PATTERN = Path(__file__).parent / "record" / "old_runs" / "digits_vae" / "config.yaml"
CHOICES = {"task": "generation", "data": "digits", "model": "vae", "encoder": "mlp", "decoder": "mlp",
           "likelihood": "discretized_logistic", "optimizer": "adam", "trainer": "default"}  # fmt: skip
BEGAN = datetime(2026, 1, 1, 12).astimezone()


def make_run(
    folder: Path,
    *words: str,
    status: RunStatus | None = RunStatus.FINISHED,
    why: str = "",
    day: int = 0,
    curves: dict[str, list[float]] | None = None,
    watched: tuple[str, str] | None = None,
    **metrics: float,
) -> Path:
    """Write what a run leaves.

    Args:
        folder: of the run.
        words: of its command line, such as `latent_dim=8`; `data=mnist` is the option of a group.
        status: what became of it; None for a run that is older than that record.
        why: it failed.
        day: that it was started on, counted from the first of January.
        curves: what was logged, one number a step.
        watched: the number by which its best checkpoint was chosen, and its direction.
        metrics: such as `test__nll=80.0`.
    """
    folder.mkdir(parents=True)
    config: dict[str, Any] = yaml.safe_load(PATTERN.read_text())
    config["paths"]["output_dir"] = str(folder)
    config["latent_dim"] = 16
    choices = dict(CHOICES)
    for word in words:
        key, _, value = word.partition("=")
        if key in choices:
            choices[key] = value
            continue
        *above, last = key.split(".")
        node = config
        for name in above:
            node = node.setdefault(name, {})
        node[last] = yaml.safe_load(value)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "choices.yaml").write_text(yaml.safe_dump(choices))
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(words)))
    began = BEGAN + timedelta(days=day)
    environment = {
        "command": " ".join(["python train.py", *words]),
        "seed": config["seed"],
        "started": began.isoformat(),
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    ended = status in (None, RunStatus.FINISHED)
    (folder / "model").mkdir()
    trained: dict[str, Any] = {"data": {}} | ({"steps": 100} if ended else {})
    trained |= {} if watched is None else {"watched": dict(zip(("name", "better"), watched, strict=True))}
    (folder / "model" / "training.json").write_text(json.dumps(trained))
    if ended or metrics:
        (folder / "metrics.json").write_text(json.dumps({k.replace("__", "/"): v for k, v in metrics.items()}))
    if status is not None:
        over = "" if status == RunStatus.RUNNING else (began + timedelta(seconds=90)).isoformat()
        RunState(status, gone(), platform.node(), None, began.isoformat(), over, why).write(folder)
    if curves:
        lines = ["step," + ",".join(curves)]
        lines += [",".join(map(str, [step, *row])) for step, row in enumerate(zip(*curves.values(), strict=True))]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_picture(folder: Path, name: str = "samples", width: int = 640, shade: int = 90) -> None:
    """A figure of a run."""
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "figures" / f"{name}.png").write_bytes(png(width, width // 2, shade))


_gone: list[int] = []


def gone() -> int:
    """The number of a process that has ended."""
    if not _gone:
        ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
        ended.wait()
        _gone.append(ended.pid)
    return _gone[0]


def mark_running(folder: Path) -> None:
    """As if this process ran it."""
    assert os.getpid() > 0
    RunState.of_this_process().write(folder)


@contextmanager
def held_by_another(folder: Path) -> Iterator[None]:
    """As if another process was running what is in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
