"""Training samples a second: the ordinary run against a loop written by hand, side by side.

    python benchmarks/throughput.py [overrides]        for example encoder=conv data.batch_size=128

Both train the same model on the same data with the same batch size, likelihood and optimizer. The run
is what `python train.py` does: Lightning's Trainer with the config's loggers, curves and progress bar.
The loop is what one would write instead: shuffle, gather, scale, forward, backward, step. Neither
validates nor saves. Rounds alternate, and the ratio is taken round by round, so that it holds while the
machine's speed drifts.
"""

import statistics
import sys
import tempfile
from time import perf_counter
from typing import Any

import lightning.pytorch as L
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import open_dict

from vaelab.config.builder import Builder
from vaelab.config.check import check
from vaelab.config.location import config_dir
from vaelab.data import Batch
from vaelab.data.module import DataModule, scale
from vaelab.models import Model
from vaelab.record.curves import CurveLogger
from vaelab.run import build, build_all, build_trainer, quieten
from vaelab.training.progress import RunProgress
from vaelab.training.seeding import seed_all

ROUNDS, SECONDS = 15, 2.0
SETTINGS = ("logger=none", "callbacks=none", "trainer.limit_val_batches=0", "trainer.num_sanity_val_steps=0")
CASES = {
    "digits, the default run": [],
    "MLP VAE 784-512-16-512-784, batch 128": [
        "data=fashion_mnist", "encoder.hidden=[512]", "decoder.hidden=[512]", "likelihood=bernoulli_dynamic",
    ],
}  # fmt: skip


def composed(overrides: list[str], folder: str) -> dict[str, Any]:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", [*SETTINGS, *overrides], return_hydra_config=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = folder
        HydraConfig.instance().set_config(config)
        del config["hydra"]
    return check(config)[0]


class Clock(Callback):
    """Seconds from the first training step to the last."""

    seconds = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = perf_counter() - self._began


def by_run(cfg: dict[str, Any], epochs: int, folder: str) -> tuple[float, Model]:
    builder = Builder()
    seed_all(0)
    data, model, task = build(cfg, builder)
    clock = Clock()
    callbacks = [task, clock, RunProgress()]
    loggers = [CurveLogger(folder), *build_all(builder, cfg, "logger")]
    settings = cfg["trainer"] | {"max_epochs": epochs, "enable_checkpointing": False}
    trainer = build_trainer(builder, cfg | {"trainer": settings}, callbacks)
    trainer.loggers = loggers
    trainer.fit(model, datamodule=data)
    return clock.seconds, model


def by_hand(cfg: dict[str, Any], epochs: int) -> tuple[float, Model]:
    seed_all(0)
    data, model, _ = build(cfg, Builder())
    optimizer = Builder().build(cfg["optimizer"], "optimizer", params=list(model.parameters()))
    model.train()
    began = perf_counter()
    for _ in range(epochs):
        for batch in handwritten_batches(data):
            optimizer.zero_grad(set_to_none=True)
            loss = model.terms(batch).loss.mean()
            loss.backward()
            optimizer.step()
    return perf_counter() - began, model


class PlainNoise:
    """What a hand-written loop draws: torch.randn and torch.rand."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def normal(self, stream: str, shape: Any, device: torch.device) -> torch.Tensor:
        return torch.randn(self.rows, *shape, device=device)

    def uniform(self, stream: str, shape: Any, device: torch.device) -> torch.Tensor:
        return torch.rand(self.rows, *shape, device=device)


def handwritten_batches(data: DataModule) -> Any:
    examples = data._loaded
    order = data.split["train"][torch.randperm(len(data.split["train"]))]
    for rows in order.split(data.batch_size):
        x = scale(examples.values[rows], examples.spec)
        noise = PlainNoise(len(rows))
        if data.binarize == "dynamic":
            x = (torch.rand_like(x) < x).to(x.dtype)
        yield Batch(x, x, examples.label, x, noise, 1.0)


def main() -> None:
    quieten()
    cases = {" ".join(sys.argv[1:]): sys.argv[1:]} if sys.argv[1:] else CASES
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {ROUNDS} rounds; medians")
    for name, overrides in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            cfg = composed(overrides, folder)
            size = len(build(cfg, Builder())[0].split["train"])
            by_run(cfg, 1, folder)  # warm up both
            once, _ = by_hand(cfg, 1)
            epochs = max(1, round(SECONDS / once))
            rates: dict[str, list[float]] = {"run": [], "hand": []}
            for _ in range(ROUNDS):
                rates["hand"].append(epochs * size / by_hand(cfg, epochs)[0])
                rates["run"].append(epochs * size / by_run(cfg, epochs, folder)[0])
        ratios = [run / hand for run, hand in zip(rates["run"], rates["hand"], strict=True)]
        print(
            f"{name}: run {statistics.median(rates['run']):,.0f}/s, by hand {statistics.median(rates['hand']):,.0f}/s, "
            f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
