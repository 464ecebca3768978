"""The same model trained by the ordinary run and by what one would use instead.

All take the same model, data, batches an epoch and optimizer settings. None validates or saves. Each tells a
clock when an epoch begins and ends.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import lightning.pytorch as L
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import open_dict
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from vaelab.config.builder import Builder
from vaelab.config.check import check
from vaelab.config.location import config_dir
from vaelab.data import Batch
from vaelab.data.module import DataModule, scale
from vaelab.models import Model
from vaelab.record.curves import CurveLogger
from vaelab.run import build, build_trainer
from vaelab.training.compilation import Compilation
from vaelab.training.progress import RunProgress
from vaelab.training.seeding import seed_all

WARM_UP = 2  # epochs that are not counted: the first compiles, and the last batch of one may be short
SETTINGS = ("logger=none", "callbacks=none", "trainer.limit_val_batches=0", "trainer.num_sanity_val_steps=0")


@dataclass(frozen=True)
class Case:
    """What is trained, and how fast numbers may be.

    Attributes:
        overrides: of the run.
        compiled: whether `compile=auto` compiles a run of the usual length of this kind.
        limit: batches of an epoch; None for all.
    """

    overrides: tuple[str, ...]
    compiled: bool
    limit: int | None = None

    def config(self, folder: str) -> dict[str, Any]:
        """The checked config of the run."""
        limits = () if self.limit is None else (f"trainer.limit_train_batches={self.limit}",)
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("train", [*SETTINGS, *limits, *self.overrides], return_hydra_config=True)
        with open_dict(config):
            config.hydra.runtime.output_dir = folder
            HydraConfig.instance().set_config(config)
            del config["hydra"]
        return check(config)[0]


class Clock:
    """Seconds of each epoch that counts."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._epochs = 0

    def begin(self) -> None:
        """An epoch begins."""
        self._began = perf_counter()

    def end(self) -> None:
        """It has ended."""
        self._epochs += 1
        if self._epochs > WARM_UP:
            self.seconds.append(perf_counter() - self._began)


class TrainerClock(Callback):
    """Tells a clock of the epochs of a Trainer, which end where the next begins."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._running = clock, False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._running:
            self._clock.end()
        self._running = True
        self._clock.begin()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._clock.end()


def run(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """`python train.py`: Lightning's Trainer with the run's callbacks, curves and progress bar."""
    builder = Builder()
    seed_all(0)
    data, model, task = build(cfg, builder)
    settings = cfg["trainer"] | {"max_epochs": epochs + WARM_UP, "enable_checkpointing": False}
    trainer = build_trainer(
        builder, cfg | {"trainer": settings}, [task, TrainerClock(clock), Compilation(case.compiled), RunProgress()]
    )
    trainer.loggers = [CurveLogger(folder)]
    trainer.fit(model, datamodule=data)


def by_hand(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """Shuffle, gather, scale, forward, backward, step; eager."""
    _by_hand(cfg, epochs, case.limit, lambda loss: loss, clock)


def by_hand_tuned(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """The same loop with its loss compiled; the optimizer is fused in all of them."""
    _by_hand(cfg, epochs, case.limit, torch.compile, clock)


def _by_hand(cfg: dict[str, Any], epochs: int, limit: int | None, compiled: Callable[..., Any], clock: Clock) -> None:
    seed_all(0)
    data, model, _ = build(cfg, Builder())
    optimizer = Builder().build(cfg["optimizer"], "optimizer", params=list(model.parameters()))
    model.train()
    loss_of = compiled(lambda x, noise: _loss(model, x, noise))
    for _ in range(epochs + WARM_UP):
        clock.begin()
        for x in _batches(data, limit):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=cfg["trainer"]["precision"] == "bf16-mixed"):
                loss = loss_of(x, torch.randn(len(x), 1, model.latent_dim))
            loss.backward()
            optimizer.step()
        clock.end()


def plain_lightning(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """What Lightning's own examples do: a DataLoader over examples, and `self.log` in each step."""
    seed_all(0)
    data, model, _ = build(cfg, Builder())
    values = data._loaded.values[data.split["train"]]
    x = scale(values, data._loaded.spec)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs + WARM_UP,
        logger=False,
        callbacks=[TrainerClock(clock)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=True,
        limit_train_batches=case.limit,
    )
    trainer.fit(
        Plain(model, cfg, data.binarize == "dynamic"), DataLoader(TensorDataset(x), data.batch_size, shuffle=True)
    )


class Plain(L.LightningModule):
    """The same objective in the shape that a tutorial gives it."""

    def __init__(self, model: Model, cfg: dict[str, Any], binarize: bool) -> None:
        super().__init__()
        self.model, self.cfg, self.binarize = model, cfg, binarize

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Loss, and three numbers to the log."""
        (x,) = batch
        x = torch.bernoulli(x) if self.binarize else x
        terms = self.model.terms(Batch(x, x, x, x, Given(torch.randn(len(x), 1, self.model.latent_dim)), 1.0))
        for name in ("loss", "reconstruction", "kl"):
            self.log(f"train_{name}", terms.named()[name].mean(), prog_bar=name == "loss", on_step=False, on_epoch=True)
        return terms.loss.mean()

    def configure_optimizers(self) -> Any:
        """The run's own."""
        return Builder().build(self.cfg["optimizer"], "optimizer", params=list(self.model.parameters()))


class Given:
    """Noise that has been drawn."""

    def __init__(self, drawn: Tensor) -> None:
        self._drawn = drawn

    def normal(self, stream: str, shape: Any, device: torch.device) -> Tensor:
        """What was drawn."""
        return self._drawn

    uniform = normal


def _loss(model: Model, x: Tensor, noise: Tensor) -> Tensor:
    return model.terms(Batch(x, x, x, x, Given(noise), 1.0), {"beta": 1.0}).loss.mean()


def _batches(data: DataModule, limit: int | None) -> Iterator[Tensor]:
    examples = data._loaded
    order = data.split["train"][torch.randperm(len(data.split["train"]))]
    for rows in order.split(data.batch_size)[:limit]:
        x = scale(examples.values[rows], examples.spec)
        yield torch.bernoulli(x) if data.binarize == "dynamic" else x


def examples_an_epoch(case: Case, data: DataModule) -> int:
    """Trained on in each epoch."""
    size = len(data.split["train"])
    return size if case.limit is None else min(size, case.limit * data.batch_size)
