"""One run: build, fit, evaluate, record."""

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from vaelab.config.builder import Builder
from vaelab.config.check import check
from vaelab.config.nearest import did_you_mean
from vaelab.data.module import DataModule
from vaelab.data.sharing import SharedExamples
from vaelab.errors import ConfigError
from vaelab.models import Model
from vaelab.record.checkpoints import find_checkpoint, model_folder, vet_checkpoint
from vaelab.record.curves import CurveLogger
from vaelab.record.export import architecture, build_model
from vaelab.record.run_record import RunRecord
from vaelab.record.trackers import close
from vaelab.tasks import Task
from vaelab.training.allocation import keep_freed_memory
from vaelab.training.best_validation import BestValidation, finite
from vaelab.training.compilation import Compilation, check_compilation
from vaelab.training.epoch_loop import EpochLoop
from vaelab.training.interruption import interruptible
from vaelab.training.optimization import Optimization
from vaelab.training.precision import AUTO, allow_clipping, choose_precision, lay_channels_last, refuse_double
from vaelab.training.progress import RunProgress
from vaelab.training.seeding import seed_all

_SHARED = SharedExamples()  # among the jobs of a sweep


def run(config: DictConfig) -> float | None:
    """Train and evaluate what a composed config describes; returns the number the task watches.

    Raises:
        vaelab.errors.UserError: something in the config, the data or a checkpoint does not fit.
    """
    cfg, builder = check(config)
    refuse_sweep_over_devices(cfg)
    seed = seed_all(cfg["seed"])
    if cfg["data"].get("seed", 0) is None:
        cfg["data"]["seed"] = seed
    quieten()
    record = RunRecord(Path(cfg["paths"]["output_dir"]), cfg, HydraConfig.get())
    record.show()

    start = find_start(cfg)
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    data, model, task = build(cfg, builder, start, _SHARED if sweep else None)
    if start is not None:
        vet_checkpoint(start, model.architecture)
    best = BestValidation(*task.watched(model))
    check_compilation(cfg["compile"], model, data)
    callbacks = [task, best, Compilation(cfg["compile"]), *build_callbacks(builder, cfg, best)]
    refuse_unknown_monitors(callbacks, task.validation_names(model, data))
    trainer = build_trainer(builder, cfg, callbacks, model, data.batch_size)

    record.begin(seed, data, trainer)  # not before all is checked: a refused resume must leave the run as it was
    with opened_loggers(builder, cfg, record.folder) as loggers, interruptible(record.folder):
        gc.enable()  # the command line disables it while modules are imported, and W&B's are by now
        trainer.loggers = loggers
        record.log_config(trainer, model)
        numbers: dict[str, float] = {}
        if cfg["train"]:
            trainer.fit(model, datamodule=data, ckpt_path=start, weights_only=True)
            start, numbers = best_checkpoint(trainer), dict(best.numbers)
        if cfg["test"]:
            trainer.test(model, datamodule=data, ckpt_path=start, weights_only=True, verbose=False)
        numbers |= finite(trainer.callback_metrics, "test/")
        record.finish(trainer, model, data, task, numbers)
    return numbers.get(best.monitor)


@contextmanager
def opened_loggers(builder: Builder, cfg: dict[str, Any], folder: Path) -> Iterator[list[Logger]]:
    """The curves of the run folder and every tracker, closed at the end whatever happens."""
    loggers = [CurveLogger(folder), *build_all(builder, cfg, "logger")]
    try:
        yield loggers
    except BaseException:
        close(loggers, failed=True)
        raise
    close(loggers)


def build(
    cfg: dict[str, Any], builder: Builder, start: Path | None = None, shared: SharedExamples | None = None
) -> tuple[DataModule, Model, Task]:
    """Data first, since every size in the model is derived from what one example is.

    Where there is a checkpoint to start from, examples are prepared as its model's were; else they may be `shared`
    with other jobs of this process.
    """
    corruption = builder.build(cfg["corruption"], "corruption")
    data: DataModule = builder.build(cfg["data"], "data", corruption=corruption)
    data.storage = cfg["storage"]
    task: Task = builder.build(cfg["task"], "task")
    if shared is not None and start is None:
        data = shared.prepared(data, cfg["data"])
    else:
        if start is not None:
            data.prepare_as(model_folder(start))
        data.prepare_data()
        data.setup()
    task.check_data(data)
    model = build_model(architecture(cfg, data.spec), builder)
    model.start_at(data.mean())
    model.optimization = Optimization(cfg["optimizer"], cfg["scheduler"], builder)
    model.optimization.configure(model, total_steps=1)  # what does not fit is refused before any tracker opens
    task.check(model, data.spec, corruption.changes)
    return data, model, task


def build_trainer(
    builder: Builder, cfg: dict[str, Any], callbacks: list[L.Callback], model: Model, batch_size: int
) -> L.Trainer:
    """Lightning's Trainer, taking steps in blocks; loggers are opened when all else is ready."""
    auto = cfg["trainer"].get("precision") == AUTO
    settings = cfg["trainer"] | ({"precision": None} if auto else {})
    trainer: L.Trainer = builder.build(settings, "trainer", logger=False, callbacks=callbacks)
    if auto and cfg["train"]:
        choose_precision(trainer, model, batch_size)
    refuse_double(trainer)
    allow_clipping(trainer)
    lay_channels_last(trainer, model)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    trainer.fit_loop.epoch_loop = EpochLoop(trainer)
    return trainer


def build_all(builder: Builder, cfg: dict[str, Any], group: str) -> list[Any]:
    """Every node of a collection that is not null."""
    nodes = (cfg[group] or {}).items()
    return [builder.build(node, f"{group}.{name}") for name, node in nodes if node is not None]


def build_callbacks(builder: Builder, cfg: dict[str, Any], best: BestValidation) -> list[L.Callback]:
    """The callbacks of the config; what stops or keeps the best watches what the task watches, unless told."""
    watching = {"monitor": best.monitor, "mode": best.mode}
    nodes = {
        name: node | {key: value for key, value in watching.items() if node.get(key) == "task"}
        for name, node in (cfg["callbacks"] or {}).items()
        if node is not None
    }
    callbacks = build_all(builder, cfg | {"callbacks": nodes}, "callbacks")
    return [*callbacks, RunProgress()] if cfg["trainer"].get("enable_progress_bar", True) else callbacks


def refuse_unknown_monitors(callbacks: list[L.Callback], known: set[str]) -> None:
    """Lightning would notice a monitor that nothing logs after the first epoch only."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and not monitor.startswith("train/") and monitor not in known:
            raise ConfigError(f"monitor={monitor}: nothing logs it; {did_you_mean(monitor, known)}")


def find_start(cfg: dict[str, Any]) -> Path | None:
    """The checkpoint to start from."""
    if cfg["resume"]:
        return Path(cfg["resume"]) / "checkpoints" / "last.ckpt"
    if cfg["ckpt_path"]:
        return find_checkpoint(cfg["ckpt_path"])
    if not cfg["train"]:
        raise ConfigError("train=false: needs ckpt_path=<checkpoint or run folder> to evaluate")
    return None


def best_checkpoint(trainer: L.Trainer) -> Path | None:
    """What the fit kept as its best; None where it kept nothing (`debug=fdr`): the weights in hand then."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    return Path(best) if best else None


def refuse_sweep_over_devices(cfg: dict[str, Any]) -> None:
    """A multirun in one process cannot start other ranks: each of them would run the sweep again."""
    several = cfg["trainer"].get("devices") not in (None, 1, "1", "auto") or cfg["trainer"].get("num_nodes", 1) > 1
    if HydraConfig.get().mode == RunMode.MULTIRUN and several:
        raise ConfigError(
            "trainer.devices with --multirun: each job of a sweep over several devices must be a process of its "
            "own; start the jobs one by one, or use trainer.devices=1"
        )


def quieten() -> None:
    """Silence what Lightning says of itself at each start; its warnings that a user can act on stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    messages = (
        ".*LeafSpec.*",
        ".*smaller than the logging interval.*",
        ".*Checkpoint directory.*exists.*",
        ".*dirpath has changed.*",  # a checkpoint evaluated from another run folder
        ".*sync_dist=True.*",  # what is logged here is the same on all devices already
    )
    for message in messages:
        warnings.filterwarnings("ignore", message)
