"""Seconds from the command to help, and to the end of the first training step of the default run.

python benchmarks/start_up.py
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

from lightning.pytorch.callbacks import Callback

ROUNDS = 7
HERE = Path(__file__).resolve().parent
FIRST_STEP = ("trusted=[start_up]", "+callbacks.first._target_=start_up.FirstStep")


class FirstStep(Callback):
    """Says when the first step is done, and ends the process there."""

    def on_train_batch_end(self, *arguments: Any) -> None:
        print(f"first step at {time()}", flush=True)
        os._exit(0)


def seconds(*arguments: str) -> float:
    """Of one command, up to its first step where it has one."""
    environment = os.environ | {"PYTHONPATH": str(HERE), "WANDB_MODE": "offline"}
    began = time()
    done = subprocess.run(
        [sys.executable, HERE.parent / "train.py", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    stepped = [line for line in done.stdout.splitlines() if line.startswith("first step at")]
    return (float(stepped[0].split()[-1]) if stepped else time()) - began


def main() -> None:
    with TemporaryDirectory() as logs:
        commands = {"--help": ("--help",), "first training step": (f"paths.log_dir={logs}", *FIRST_STEP)}
        taken = {name: [seconds(*arguments) for _ in range(ROUNDS)] for name, arguments in commands.items()}
    for name, times in taken.items():
        print(f"{name}: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
