"""One run: build, fit, evaluate, record."""

import gc
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vaelab.check import COLLECTIONS, COMPONENTS, check
from vaelab.config.builder import Builder, produced
from vaelab.config.changes import refuse_changes
from vaelab.config.continuation import Continuation, run_folder
from vaelab.config.nearest import did_you_mean
from vaelab.config.recorded import read_recorded
from vaelab.corruptions import Corruption, Identity
from vaelab.data.module import DataModule
from vaelab.data.sharing import SharedExamples
from vaelab.errors import ConfigError
from vaelab.evaluation import fitted_priors
from vaelab.evaluation.perceptual import refuse_another_network
from vaelab.external import counts, launched, refuse_other_counts
from vaelab.latents.fitted import FittedPrior
from vaelab.models import Model
from vaelab.models import Start as ModelStart
from vaelab.models.building import architecture, build_model, outlined
from vaelab.models.perceptual import Perceptual
from vaelab.models.proportion import refuse_too_large
from vaelab.models.trial import refuse_ill_formed
from vaelab.notes import note
from vaelab.quoting import typed_path
from vaelab.record.checkpoints import Start, find_checkpoint, read_last, read_start
from vaelab.record.curves import CurveLogger
from vaelab.record.run_record import RunRecord
from vaelab.record.state import end_for
from vaelab.record.trackers import trackers_among, tracking
from vaelab.record.trained_on import TrainedOn, Use
from vaelab.record.training_pictures import TrainingPictures
from vaelab.run_folder import can_go_on
from vaelab.secrets import redact
from vaelab.tasks import Task
from vaelab.training import sharding
from vaelab.training.allocation import keep_freed_memory
from vaelab.training.averaged_weights import (
    averaging_among,
    refuse_other_averaging,
    refuse_other_names,
    refuse_sharded,
)
from vaelab.training.awaiting import ending_while_others_are_awaited
from vaelab.training.best_validation import BestValidation, finite
from vaelab.training.budget import Budget, TrainingTime, counts_steps, plateau, settled
from vaelab.training.checkpoint_files import CheckpointFiles, refuse_damaged
from vaelab.training.compilation import Compilation, check_compilation
from vaelab.training.epoch_loop import EpochLoop
from vaelab.training.heartbeat import noticing_lost_processes
from vaelab.training.interruption import StopSignals, keeping, stoppable
from vaelab.training.module import TrainingModule
from vaelab.training.optimization import Optimization
from vaelab.training.phases import refuse_misfit, take_clipping, weights_of
from vaelab.training.plain_step import needs_closure
from vaelab.training.precision import AUTO, allow_clipping, choose_precision, lay_channels_last, refuse_double
from vaelab.training.processes import ProcessLauncher, meet_by_torchrun
from vaelab.training.progress import RunProgress
from vaelab.training.resumption import Resumption, refuse_done
from vaelab.training.saved_state import broken, refuse_broken_position
from vaelab.training.seeding import OneSeed, choose_seed, seed_all
from vaelab.training.time_limit import TimeLimit
from vaelab.training.weight_average import Averaging, in_evaluation

_SHARED = SharedExamples()  # shared by the jobs of a sweep


@stoppable
def run(config: DictConfig, continued: Continuation | None = None) -> float | None:
    """Train and evaluate what a composed config describes; return the metric that the task watches.

    Args:
        config: the composed config, not resolved.
        continued: the run that it was composed from, if it resumes, evaluates or repeats one.

    Raises:
        vaelab.errors.UserError: the config, the data or a checkpoint is not valid, the run was stopped by a signal, or
            the machine caused an error; see `stoppable`.
    """
    drawn = draw_seed(config)
    cfg, builder = check(config)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        refuse_several_devices(cfg)
    if cfg["resume"]:
        refuse_changes(read_recorded(Path(cfg["resume"])), redact(cfg), HydraConfig.get().runtime.choices)
    seed = seed_all(cfg["seed"])
    if cfg["data"].get("seed", 0) is None:
        cfg["data"]["seed"] = seed
    quieten(cfg["extras"]["ignore_warnings"])
    record = RunRecord(Path(cfg["paths"]["output_dir"]), cfg, HydraConfig.get(), continued)
    if cfg["extras"]["print_config"]:
        record.show()

    start = find_start(cfg, continued)
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    data, module, task, trained_on = build(cfg, builder, start, _SHARED if sweep else None)
    model = module.model
    best = BestValidation(*task.watched(model))
    check_compilation(cfg["compile"], model, data)
    compilation = Compilation(cfg["compile"])
    callbacks = [task, best, compilation, *build_callbacks(builder, cfg, best)]
    sharded = cfg["trainer"].get("strategy") == sharding.NAME
    if task.pictures_every is not None and not sharded:
        callbacks += [TrainingPictures(task, record.folder)]
    elif task.pictures_every not in (None, AUTO):
        note("no figures during training: one process draws them, and with trainer.strategy=fsdp none has all weights")
    callbacks += [Resumption(trained_on.to_json()), *([OneSeed(seed, data)] if drawn else [])]
    averaging = averaging_of_run(cfg, callbacks, start)
    if cfg["train"]:
        refuse_ill_formed(model, next(data.batches("val", "cpu", 2)))
        refuse_unknown_monitors(callbacks, task.validation_names(model, data))
    trainer = build_trainer(builder, cfg, callbacks, module, data.batch_size)

    # Only after all checks, and after the trackers: a refused resume must leave the run unchanged.
    record.take_over()
    with (
        record.kept_state() as running,
        noticing_lost_processes(trainer, record.folder, partial(end_for, record.folder)),
        ending_while_others_are_awaited(trainer, partial(end_for, record.folder)),
        opened_loggers(builder, cfg, record, position_of(trainer, data)) as loggers,
    ):
        running()
        weights_now = model.state_dict() if start is None else start.weights
        steps = None if cfg["train"] or start is None else start.step
        if cfg["train"] and start is not None:
            mention_start(start, goes_on=bool(cfg["resume"]))
        perceptual = None if model.perceptual is None else model.perceptual.about
        record.begin(seed, data, trainer, trained_on, weights_now, steps, averaging, perceptual)
        gc.enable()  # the command line disables it during imports, which are complete now
        trainer.loggers = loggers
        record.log_config(trainer, model)
        numbers: dict[str, float] = {}
        weights: Path | None = None
        if start is not None and not cfg["resume"]:
            start.load_into(model)
        if cfg["train"]:
            trainer.fit(
                module, datamodule=data, ckpt_path=start.path if start and cfg["resume"] else None, weights_only=True
            )
            told = any(isinstance(callback, TimeLimit) and callback.has_said for callback in callbacks)
            if start is not None and cfg["resume"] and trainer.global_step == start.step and not told:
                note(f"training was already complete at step {start.step}; train longer with trainer.max_epochs=<more>")
            if sharded:
                module = sharding.undivided(module, build_model(model.architecture, builder))
                model = module.model
            weights, numbers = best_checkpoint(trainer), dict(best.numbers)
            begun = module.average is not None and module.average.begun
            record.trained(trained_on, trainer.global_step, averaging if begun else None, (best.monitor, best.mode))
            record.trained_so(module.first_loss, compilation.since)
        elif start is not None:
            stand_at(trainer, start.step)
        if (prior := wanted_prior(cfg, builder, task)) is not None:
            with keeping(record.interrupted):
                take_weights(model, weights)
                model.fitted = record.fitted(prior, trainer, model, data, None if cfg["train"] else start, seed)
        if not task.encodes_corrupted:
            data.corruption = Identity()
        if cfg["test"]:
            with keeping(record.interrupted):
                trainer.test(module, datamodule=data, ckpt_path=weights, weights_only=True, verbose=False)
        numbers |= finite(trainer.callback_metrics, "test/")
        record.finish(trainer, model, data, task, numbers)
    return numbers.get(best.monitor)


@contextmanager
def opened_loggers(
    builder: Builder, cfg: dict[str, Any], record: RunRecord, position: Callable[[int], dict[str, float]]
) -> Iterator[list[Logger]]:
    """Open the logger of the run folder and every tracker; close them at the end in any case."""
    loggers = [CurveLogger(record.folder), *build_all(builder, cfg, "logger")]
    for tracker in trackers_among(loggers):
        tracker.position = position
    with tracking(loggers, record.description):
        yield loggers


def position_of(trainer: L.Trainer, data: DataModule) -> Callable[[int], dict[str, float]]:
    """Return a function that maps a step, from 0, to its epoch and the number of examples seen, including its own."""

    def position(step: int) -> dict[str, float]:
        batches, train = int(min(trainer.num_training_batches, 2**62)), data.epoch_size
        if not batches:  # nothing is trained
            return {}
        batch = data.batch_size * trainer.accumulate_grad_batches * trainer.world_size
        steps = -(-batches // trainer.accumulate_grad_batches)
        epochs, within = divmod(step + 1, steps)
        seen = min(train, steps * batch)
        return {"epoch": step // steps, "trainer/examples": epochs * seen + min(within * batch, seen)}

    return position


def build(
    cfg: dict[str, Any], builder: Builder, start: Start | None = None, shared: SharedExamples | None = None
) -> tuple[DataModule, TrainingModule, Task, TrainedOn]:
    """Build data, model and task. Data come first, since all sizes in the model follow from one example.

    If there are weights to start from, data are preprocessed as in their run, and the weights are checked against the
    model; else data may be `shared` with other jobs of this process.

    Returns:
        The data, the module that trains the model, the task, and what the model is or was trained on.
    """
    corruption = builder.build(cfg["corruption"], "corruption", COMPONENTS["corruption"])
    task: Task = builder.build(cfg["task"], "task", COMPONENTS["task"])
    settle_label(cfg, builder, task, new=start is None)
    if start is None and task.needs_distances and cfg["data"].get("scaling") == "auto":
        cfg["data"]["scaling"] = "standard"
    if start is None:
        data = new_data(cfg, builder, corruption)
        if shared is None:
            prepare(data)
        else:
            data = shared.prepared(data, cfg["data"])
        trained_on = TrainedOn.from_data(data, cfg["data"])
    else:
        data, trained_on = data_for(start, cfg, builder, corruption, task)
    task.check_data(data)
    about = architecture(cfg, data.spec)
    if start is not None:
        start.refuse_another(about, advise=cfg["train"] and not cfg["resume"])
        outline = outlined(about, builder, len(start.weights), str(start.path))
        if outline is not None:  # before memory is allocated for a model larger than the weights
            start.refuse_misfit(outline, about)
    else:
        refuse_too_large(about, builder, len(data.split["train"]))
    model = build_model(about, builder)
    model.perceptual = perceptual_of(cfg, builder, data)
    if cfg["resume"] and model.perceptual is not None:
        refuse_another_network(model.perceptual, Path(cfg["resume"]))
    data.labelled_share = model.labelled_share
    model.count_labels(len(data.split["train"]), data.known_labels, data.repeats)
    if start is not None:
        start.refuse_misfit(model.state_dict(), about)
        if start.averaged:
            refuse_other_names(start.path, start.averaged, model)
    else:
        begin(model, data)
    settle_budget(cfg, data)
    optimization = Optimization(cfg["optimizer"], cfg["scheduler"], builder, cfg["phases"])
    refuse_other_phases(model, optimization)
    if start is not None and cfg["resume"]:
        refuse_other_optimizers(start, model, optimization)
        refuse_broken_position(start.path, start.state, type(data).__qualname__)
        refuse_done(start.state, cfg["trainer"].get("max_epochs"), cfg["trainer"].get("max_steps", -1))
    if (prior := wanted_prior(cfg, builder, task)) is not None:
        fitted_priors.refuse_misfit(prior, model)
    task.check(model, data.spec, corruption.changes)
    return data, TrainingModule(model, optimization), task, trained_on


def perceptual_of(cfg: dict[str, Any], builder: Builder, data: DataModule) -> Perceptual | None:
    """Build the perceptual term of a run that trains; None if it has none."""
    if cfg.get("perceptual") is None or not cfg["train"]:
        return None
    found: Perceptual = builder.build(cfg["perceptual"], "perceptual", COMPONENTS["perceptual"])
    found.prepare(data)
    return found


def settle_label(cfg: dict[str, Any], builder: Builder, task: Task, new: bool) -> None:
    """For a new model, replace `data.label_as_column=auto` by what the task needs.

    The label is not a column if the model is conditioned on labels (`model.condition=label`) or infers them, since it
    then draws samples for labels; nor if train is restricted to some labels, or if labels are hidden.

    Raises:
        ConfigError: the label is requested as a column, but the model is conditioned on it or infers it, or labels are
            hidden: the model would read the answer.
    """
    data = cfg["data"]
    model_class: Any = produced(builder.resolve(cfg["model"], "model", Model))
    infers = model_class.infers_label
    if new and data.get("label_as_column") is True and (infers or data.get("labelled") is not None):
        why = "the model infers the label" if infers else f"data.labelled={data['labelled']} hides labels"
        raise ConfigError(f"data.label_as_column=true: {why}, but the column would show it; leave label_as_column out")
    if new and data.get("label_as_column") is True and cfg["model"].get("condition") is not None:
        raise ConfigError(
            "data.label_as_column=true: model.condition=label already gives the model the label that the column "
            "would have it generate; leave one of them out"
        )
    if new and data.get("label_as_column") == "auto":
        named = data["label"] is not None and str(data["label"]) not in map(str, data["drop"])
        given = infers or cfg["model"].get("condition") is not None or data.get("labelled") is not None
        data["label_as_column"] = task.models_label and named and not given and data["normal"] is None


def settle_budget(cfg: dict[str, Any], data: DataModule) -> None:
    """Replace `auto` in the Trainer's settings by numbers.

    If the length of training is set by a number, `budget` and `effort` are None afterwards.
    """
    budget, effort = Budget(**cfg["budget"]), cfg["effort"]
    chosen = cfg["trainer"].get("max_epochs") == AUTO and not counts_steps(cfg["trainer"])
    cfg["trainer"] = settled(cfg["trainer"], budget, effort, data.epoch_size, data.batch_size)
    cfg["budget"], cfg["effort"] = asdict(budget) if chosen else None, effort if chosen else None


def refuse_other_phases(model: Model, optimization: Optimization) -> None:
    """Refuse optimizers that do not match the phases of a model, before any tracker opens.

    Raises:
        ConfigError: an optimizer is for an unknown phase, is not valid, or needs a closure in training with several
            phases.
    """
    names = [phase.name for phase in model.phases]
    for name in optimization.phases:
        if name not in names:
            raise ConfigError(f"phases.{name}: there is no such phase, only {' and '.join(names)}")
    for phase in model.phases:
        optimizer = optimization.configure(weights_of(model, phase), 1, phase.name)["optimizer"]
        if len(names) > 1 and needs_closure(optimizer):
            raise ConfigError(
                f"optimizer: {type(optimizer).__name__} evaluates the objective itself, which training in several "
                f"phases ({' and '.join(names)}) cannot do; use optimizer=adam"
            )


def refuse_other_optimizers(start: Start, model: Model, optimization: Optimization) -> None:
    """Refuse optimizer states that do not match the phases of a model.

    Raises:
        CheckpointError: their number differs, or one does not match.
    """
    states, phases = start.state["optimizer_states"], len(model.phases)
    for part in ("optimizer_states", "lr_schedulers"):
        if len(start.state[part]) != phases:
            raise broken(start.path, f"{part}: there should be {phases}, one for each phase")
    for phase, state in zip(model.phases, states, strict=True):
        optimization.refuse_other_state(state, weights_of(model, phase), start.path, phase.name)


def begin(model: Model, data: DataModule) -> None:
    """Give a new model the train examples that it asks for."""
    count = min(model.start_examples, len(data.split["train"]))
    shown = data.mean().new_empty(0, *data.spec.shape)
    if count:
        places = torch.randperm(len(data.split["train"]), generator=torch.Generator().manual_seed(data.seed))[:count]
        shown = next(data.batches("train", batch_size=count, which=places)).target
    model.start(ModelStart(len(data.split["train"]), data.mean(), shown))


def new_data(cfg: dict[str, Any], builder: Builder, corruption: Corruption) -> DataModule:
    """Build the data of the config, not yet read."""
    data: DataModule = builder.build(cfg["data"], "data", COMPONENTS["data"], corruption=corruption)
    data.storage = cfg["storage"]
    return data


def prepare(data: DataModule) -> None:
    """Read and split the data."""
    data.prepare_data()
    data.setup()


def data_for(
    start: Start, cfg: dict[str, Any], builder: Builder, corruption: Corruption, task: Task
) -> tuple[DataModule, TrainedOn]:
    """Return data for existing weights, and what they were trained on; their train examples are not held out now.

    On data other than those of its training, a model is evaluated on all examples.
    """
    use: Use = "resume" if cfg["resume"] else "training" if cfg["train"] else "evaluation"
    known = trained_before(start)
    evaluates = use == "evaluation"
    if evaluates:
        task.detector_from = start.model_folder

    def read(all_as_test: bool) -> tuple[DataModule, TrainedOn]:
        data = new_data(cfg, builder, corruption)
        data.all_as_test = all_as_test
        data.prepare_as(start.model_folder)
        prepare(data)
        return data, TrainedOn.from_data(data, cfg["data"], known if use == "training" else None)

    other = evaluates and known is not None and known.is_elsewhere(cfg["data"])
    data, now = read(all_as_test=other)
    if known is None:
        return data, now
    if other and known.content == now.content:  # a copy of the same data
        data, now = read(all_as_test=False)
    elif evaluates and not other and known.content not in ("", now.content) and known.folder != now.folder:
        data, now = read(all_as_test=True)  # other data with the same name
    if remark := known.allows(now, use):
        note(remark)
    if use == "resume":
        now = replace(now, before=known.before)
    return data, known if use == "evaluation" else now


def trained_before(start: Start) -> TrainedOn | None:
    """Return what weights were trained on, as far as their run recorded it."""
    if start.trained_on is not None:
        return TrainedOn.from_json(start.trained_on)
    node = read_recorded(start.model_folder.parent).config.get("data")
    return TrainedOn.from_settings(node) if isinstance(node, dict) else None


def build_trainer(
    builder: Builder, cfg: dict[str, Any], callbacks: list[L.Callback], module: TrainingModule, batch_size: int
) -> L.Trainer:
    """Build Lightning's Trainer, which runs steps in blocks; loggers open when everything else is ready."""
    auto = cfg["trainer"].get("precision") == AUTO
    settings = cfg["trainer"] | ({"precision": None} if auto else {})
    launch = launched()
    devices, nodes = counts(launch, settings.get("devices"), settings.get("num_nodes", 1))
    refuse_other_counts(launch, devices, nodes)
    if devices != settings.get("devices"):
        settings = settings | {"devices": devices, "num_nodes": nodes}
    if settings.get("strategy") == sharding.NAME:
        if cfg["train"]:
            sharding.refuse_undivided(module.model, compiled=cfg["compile"] not in (False, AUTO))
        settings = settings | {"strategy": sharding.Sharded()}
    trainer: L.Trainer = builder.build(settings, "trainer", COMPONENTS["trainer"], logger=False, callbacks=callbacks)
    if auto and cfg["train"]:
        choose_precision(trainer, module.model, batch_size)
    refuse_double(trainer)
    allow_clipping(trainer)
    lay_channels_last(trainer, module.model)
    if cfg["train"]:
        refuse_misfit(trainer, module.model)
        if averaging_among(callbacks) is not None:
            refuse_sharded(trainer)
    module.clip = take_clipping(trainer, module.model)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    trainer.fit_loop.epoch_loop = EpochLoop(trainer)
    trainer._signal_connector = StopSignals(trainer)
    folder = Path(cfg["paths"]["output_dir"])
    if isinstance(launcher := trainer.strategy.launcher, _SubprocessScriptLauncher):
        trainer.strategy._launcher = ProcessLauncher(launcher, folder)
    if launch is not None and launch.launcher == "torchrun" and launch.world > 1:
        meet_by_torchrun(trainer, launch)
    trainer.strategy.checkpoint_io = CheckpointFiles(folder, trainer.checkpoint_callbacks)
    return trainer


def build_all(builder: Builder, cfg: dict[str, Any], group: str) -> list[Any]:
    """Build every node of a collection that is not null."""
    nodes = (cfg[group] or {}).items()
    kind = COLLECTIONS[group]
    return [builder.build(node, f"{group}.{name}", kind) for name, node in nodes if node is not None]


def build_callbacks(builder: Builder, cfg: dict[str, Any], best: BestValidation) -> list[L.Callback]:
    """Build the callbacks of the config. By default, early stopping and checkpoints watch the metric of the task."""
    watching = {"monitor": best.monitor, "mode": best.mode}
    nodes = {
        name: node | {key: value for key, value in watching.items() if node.get(key) == "task"}
        for name, node in (cfg["callbacks"] or {}).items()
        if node is not None
    }
    callbacks = build_all(builder, cfg | {"callbacks": nodes}, "callbacks")
    if cfg["budget"] is not None and not any(isinstance(callback, EarlyStopping) for callback in callbacks):
        callbacks += plateau(cfg["trainer"], Budget(**cfg["budget"]), watching)
    has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    bar = [RunProgress()] if cfg["trainer"].get("enable_progress_bar", True) and not has_bar else []
    time = [TrainingTime(best.monitor, best.mode, cfg["effort"]), TimeLimit(Path(cfg["paths"]["output_dir"]))]
    return [*callbacks, *bar, *time]


def averaging_of_run(cfg: dict[str, Any], callbacks: list[L.Callback], start: Start | None) -> Averaging | None:
    """Return how the final weights of a run are averaged; None if they are not.

    Raises:
        ConfigError: the config averages twice, or a resumed run would use another average.
    """
    if not cfg["train"]:
        return None if start is None else start.averaging
    averaging = averaging_among(callbacks)
    if start is not None and cfg["resume"]:
        refuse_other_averaging(start.path, start.state, averaging)
    elif start is not None and start.averaging is not None:
        note(f"training begins from the averaged weights of {start.path} ({start.averaging})")
    return averaging


def refuse_unknown_monitors(callbacks: list[L.Callback], known: set[str]) -> None:
    """Refuse a monitor that nothing logs; Lightning would only notice it after the first epoch."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and not monitor.startswith("train/") and monitor not in known:
            raise ConfigError(f"monitor={monitor}: nothing logs it; {did_you_mean(monitor, known)}")


def draw_seed(config: DictConfig) -> bool:
    """Draw a seed if the config has none, before other keys interpolate it; return whether it was drawn."""
    try:
        drawn: bool = config.get("seed", 0) is None
    except OmegaConfBaseException:  # the check reports the error
        return False
    if drawn:
        config.seed = choose_seed(None)
    return drawn


def find_start(cfg: dict[str, Any], continued: Continuation | None) -> Start | None:
    """Return the weights to start from, with the whole state for a resumed run."""
    if cfg["resume"]:
        return read_last(Path(cfg["resume"]))
    if cfg["ckpt_path"]:
        if not cfg["train"] and continued is None and run_folder(Path(cfg["ckpt_path"])):
            raise ConfigError(
                "train=false: must be typed, since an option that sets it would not use the config of the run"
            )
        return read_start(find_checkpoint(cfg["ckpt_path"]))
    if not cfg["train"]:
        raise ConfigError("train=false: needs ckpt_path=<run folder, model/ folder or checkpoint> to evaluate")
    return None


def mention_start(start: Start, goes_on: bool) -> None:
    """Print where training begins: at a step of the resumed run, or from the start with weights of another run."""
    if goes_on:
        note(f"resumes from step {start.step:,}")
    elif (folder := run_folder(start.path)) is not None and can_go_on(folder):
        on = typed_path("resume", folder)
        note(f"ckpt_path starts a new run from the weights in {start.path}; to resume that run, use {on}")


def stand_at(trainer: L.Trainer, step: int) -> None:
    """Set the step of a trainer that only tests to the end of training, so that schedules have their last values."""
    loop = trainer.fit_loop.epoch_loop
    loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
    loop.manual_optimization.optim_step_progress.total.completed = step  # the counter that is used with several phases


def wanted_prior(cfg: dict[str, Any], builder: Builder, task: Task) -> FittedPrior | None:
    """Build the prior to fit to the codes of the trained model, not yet fitted; None if there is none."""
    if not cfg.get("fitted_prior"):  # null, or the option `none`
        return task.fitted_prior()
    prior: FittedPrior = builder.build(cfg["fitted_prior"], "fitted_prior", COMPONENTS["fitted_prior"])
    return prior


def take_weights(model: Model, best: Path | None) -> None:
    """Load the best weights into a model, for the test too; keep the current weights if no best were saved."""
    if best is not None:
        refuse_damaged(best)
        model.load_state_dict(in_evaluation(torch.load(best, map_location=model.device, weights_only=True)))


def best_checkpoint(trainer: L.Trainer) -> Path | None:
    """Return the best checkpoint; None if none was saved (`debug=fdr`), which means the current weights."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    return Path(best) if best else None


def devices_of(cfg: dict[str, Any]) -> tuple[int, int]:
    """Return the number of devices per node, and of nodes; 0 devices if the machine decides and it may be several.

    A run on several devices starts other processes, each of which runs its command line again. So such a job of a
    sweep must be a process of its own.
    """
    trainer = cfg["trainer"]
    devices, nodes = trainer.get("devices"), int(trainer.get("num_nodes") or 1)
    if isinstance(devices, str) and devices.lstrip("-").isdecimal():
        devices = int(devices)
    if devices in (None, "auto", -1):
        gpus = 0 if trainer.get("accelerator") == "cpu" else torch.cuda.device_count()
        devices = 0 if gpus > 1 else 1
    elif isinstance(devices, str):  # "0,1" are two GPUs
        devices = len([part for part in devices.split(",") if part.strip()])
    elif isinstance(devices, list):
        devices = len(devices)
    return devices, nodes


def refuse_several_devices(cfg: dict[str, Any]) -> None:
    """Refuse a job of a sweep on several devices that is not a process of its own.

    Raises:
        ConfigError: it is not; the message names launchers under which it is.
    """
    if devices_of(cfg) != (1, 1):
        raise ConfigError(
            "trainer.devices: each job of a sweep on several devices must be a process of its own, which "
            "hydra/launcher does not start; use launcher=local, joblib or slurm instead"
        )


def quieten(ignore_warnings: bool) -> None:
    """Silence Lightning's startup messages; keep warnings that a user can act on, unless `ignore_warnings`."""
    if ignore_warnings:
        warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    messages = (
        ".*LeafSpec.*",
        ".*smaller than the logging interval.*",
        ".*Checkpoint directory.*exists.*",
        ".*could not find the monitored key.*",  # training shorter than an epoch, of which `BestValidation` tells
        ".*dirpath has changed.*",  # a checkpoint evaluated from another run folder
        ".*callbacks used to create the checkpoint.*",  # `Resumption` reports what matters
        ".*sync_dist=True.*",  # what is logged here is the same on all devices already
    )
    for message in messages:
        warnings.filterwarnings("ignore", message)
