"""Training with one and with two processes (gloo, one thread each), at the same batch over all of them.

python benchmarks/devices.py
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from throughput import CONV, MLP

ROUNDS, EPOCHS = 5, 8
HERE = Path(__file__).resolve().parent
COMMON = ("logger=none", "test=false", "trainer=ddp_sim", "trainer.limit_val_batches=0", f"trainer.max_epochs={EPOCHS}")
CLOCK = ("trusted=[devices]", "+callbacks.clock._target_=devices.EpochSeconds")
CASES = {"MLP VAE": (*MLP, "trainer.limit_train_batches=60"), "conv VAE": (*CONV, "trainer.limit_train_batches=6")}


class EpochSeconds(Callback):
    """Prints how long each epoch took on the first device."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            print(f"\nepoch {perf_counter() - self._began}")


def seconds(overrides: tuple[str, ...], devices: int, threads: int) -> float:
    """Of a typical epoch."""
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": str(threads)}
    with TemporaryDirectory() as logs:
        settings = ("callbacks=none", f"trainer.devices={devices}", f"paths.log_dir={logs}")
        ran = subprocess.run(
            [sys.executable, HERE.parent / "train.py", *COMMON, *overrides, *CLOCK, *settings],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    epochs = [float(line.split()[1]) for line in ran.stdout.splitlines() if line.startswith("epoch ")]
    return statistics.median(epochs[2:])


def main() -> None:
    for name, overrides in CASES.items():
        rounds = [[seconds(overrides, *shape) for shape in ((1, 1), (1, 2), (2, 1))] for _ in range(ROUNDS)]
        one = statistics.median(alone / both for alone, _, both in rounds)
        threaded = statistics.median(threads / both for _, threads, both in rounds)
        print(f"{name}: two processes are {one:.2f} times one with one thread, {threaded:.2f} times one with two")


if __name__ == "__main__":
    main()
