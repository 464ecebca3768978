"""The same model trained by the ordinary run and by what one would use instead.

    python benchmarks/contenders.py NAME JSON-OF-A-CASE   # as `turns.race` starts them

All take the same model, data, batches an epoch and optimizer settings. None validates or saves. Each tells a
clock when an epoch begins and ends.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as L
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import open_dict
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from turns import Clock, TurnClock

from vaelab.check import check
from vaelab.config.builder import Builder
from vaelab.config.location import config_dir
from vaelab.core import Batch
from vaelab.data.examples import scale
from vaelab.data.module import DataModule
from vaelab.models import Model
from vaelab.record.curves import CurveLogger
from vaelab.run import build, build_trainer, quieten
from vaelab.training.compilation import Compilation
from vaelab.training.precision import convolves
from vaelab.training.progress import RunProgress
from vaelab.training.seeding import seed_all

SETTINGS = ("logger=none", "callbacks=none", "trainer.limit_val_batches=0", "trainer.num_sanity_val_steps=0")


@dataclass(frozen=True)
class Case:
    """What is trained, and how fast numbers may be.

    Attributes:
        overrides: of the run.
        compiled: whether `compile=auto` compiles a run of the usual length of this kind.
        limit: batches of an epoch; None for all.
        epochs: of a turn. Each turn begins with cold caches, so a very short one measures little else.
    """

    overrides: tuple[str, ...]
    compiled: bool
    limit: int | None = None
    epochs: int = 1

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
    data, module, task, _ = build(cfg, builder)
    settings = cfg["trainer"] | {"max_epochs": epochs, "enable_checkpointing": False}
    trainer = build_trainer(
        builder,
        cfg | {"trainer": settings},
        [task, TrainerClock(clock), Compilation(case.compiled), RunProgress()],
        module,
        data.batch_size,
    )
    trainer.loggers = [CurveLogger(folder)]
    trainer.fit(module, datamodule=data)


def by_hand(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """Shuffle, gather, scale, forward, backward, step; eager, in float32."""
    _by_hand(case, cfg, epochs, clock, tuned=False)


def by_hand_tuned(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """The same loop compiled; convolutions in bfloat16 and channels-last instead, which compiling would slow down.

    The optimizer is fused in all of them.
    """
    _by_hand(case, cfg, epochs, clock, tuned=True)


def by_hand_in_bfloat16(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """The tuned loop in bfloat16, for models that `trainer.precision=auto` trains so."""
    _by_hand(case, cfg, epochs, clock, tuned=True, bfloat16=True)


def _by_hand(case: Case, cfg: dict[str, Any], epochs: int, clock: Clock, tuned: bool, bfloat16: bool = False) -> None:
    seed_all(0)
    data, module, *_ = build(cfg, Builder())
    model = module.model
    half = bfloat16 or (tuned and convolves(model))
    if half:
        model.to(memory_format=torch.channels_last)
    optimizer = Builder().build(cfg["optimizer"], "optimizer", torch.optim.Optimizer, params=list(model.parameters()))
    model.train()

    def loss_of(x: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return _loss(model, x, noise)

    if tuned and not convolves(model):
        loss_of = torch.compile(loss_of)
    for _ in range(epochs):
        clock.begin()
        for x in _batches(data, case.limit):
            optimizer.zero_grad(set_to_none=True)
            loss_of(x, torch.randn(len(x), 1, model.latent_dim)).backward()
            optimizer.step()
        clock.end()


def plain_lightning(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """What Lightning's own examples do: a DataLoader over examples, and `self.log` in each step."""
    seed_all(0)
    data, module, *_ = build(cfg, Builder())
    model = module.model
    values = data._loaded.values[data.split["train"]]
    x = scale(values, data._loaded.spec)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
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


def matrix_peak(case: Case, cfg: dict[str, Any], epochs: int, folder: str, clock: Clock) -> None:
    """As many floating-point operations as the model's matrix products and convolutions take, in large products."""
    seed_all(0)
    data, module, *_ = build(cfg, Builder())
    model = module.model
    batches = list(_batches(data, case.limit))
    x = batches[0]
    with FlopCounterMode(display=False) as counter:
        _loss(model, x, torch.randn(len(x), 1, model.latent_dim)).backward()
    operations = counter.get_total_flops() * sum(map(len, batches)) / len(x)
    side = 1024 if operations > 1e11 else 512
    left, right, product = torch.rand(3, side, side).unbind()
    for _ in range(epochs):
        clock.begin()
        for _ in range(round(operations / (2 * side**3))):
            torch.mm(left, right, out=product)
        clock.end()


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
        weights = list(self.model.parameters())
        return Builder().build(self.cfg["optimizer"], "optimizer", torch.optim.Optimizer, params=weights)


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


IN_BFLOAT16 = "tuned by hand, in bfloat16"
CONTENDERS = {
    "run": run,
    "by hand": by_hand,
    "tuned by hand": by_hand_tuned,
    IN_BFLOAT16: by_hand_in_bfloat16,
    "plain Lightning": plain_lightning,
    "float32 matrix products": matrix_peak,
}
FOREVER = 10**6  # epochs; `turns.race` ends a contender


def command(contender: str, case: Case, epochs: int = 1) -> list[str]:
    """What starts a contender whose turns have so many epochs."""
    return [sys.executable, __file__, contender, json.dumps(asdict(case)), str(epochs)]


def main() -> None:
    contender, case, epochs = sys.argv[1:]
    clock = TurnClock(int(epochs))
    quieten()
    with TemporaryDirectory() as folder:
        of = Case(**json.loads(case))
        CONTENDERS[contender](of, of.config(folder), FOREVER, folder, clock)


if __name__ == "__main__":
    main()
