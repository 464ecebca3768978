"""Check a composed config as a whole, before any data is read."""

from dataclasses import MISSING, asdict, fields
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch.optim import Optimizer

from vaelab.config.builder import Builder, check_arguments
from vaelab.config.nearest import did_you_mean
from vaelab.corruptions import Corruption
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError, own_error
from vaelab.latents.fitted import FittedPrior
from vaelab.models.building import LATENT_PARTS, PARTS
from vaelab.models.perceptual import Perceptual
from vaelab.settings import Extras, Settings
from vaelab.tasks import Task
from vaelab.training.budget import Budget
from vaelab.training.optimization import merged
from vaelab.training.precision import AUTO
from vaelab.training.schedulers import LearningRate

COMPONENTS: dict[str, type] = {
    "task": Task,
    "data": DataModule,
    **PARTS,
    **LATENT_PARTS,
    "perceptual": Perceptual,
    "fitted_prior": FittedPrior,
    "corruption": Corruption,
    "optimizer": Optimizer,
    "scheduler": LearningRate,
    "trainer": L.Trainer,
}
OPTIONAL = {
    "posterior",
    "prior",
    "shortcut",
    "adversary",
    "perceptual",
    "fitted_prior",
}  # groups that may be null: the model has its own, or needs none
COLLECTIONS: dict[str, type] = {"callbacks": L.Callback, "logger": Logger}  # name -> node, or null to disable an entry
OF_PHASES = {
    "optimizer": "lr",
    "scheduler": "warmup_steps",
}  # groups that a phase may override, with an example setting
# Settings of the Trainer that may be `auto`, and placeholders for the check.
AUTO_SETTINGS = {"precision": None, "max_epochs": 1, "check_val_every_n_epoch": 1}
RECORDS: dict[str, type] = {"budget": Budget, "extras": Extras}
PATHS = ("log_dir", "data_dir", "output_dir")


def check(config: DictConfig) -> tuple[dict[str, Any], Builder]:
    """Resolve a composed config to plain data, and check every key, type and range.

    Returns the plain config, and a builder with the config's trusted packages.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not valid; the message names the first such key.
    """
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        if (own := own_error(error)) is not None:  # raised by a resolver
            raise own from error
        raise ConfigError(str(error).splitlines()[0] + f" (key {error.full_key})") from error
    plain.pop("launcher", None)  # a setting of sweeps, not of a run
    groups = {*COMPONENTS, *COLLECTIONS, "paths", "phases", *RECORDS}
    given = {key: value for key, value in plain.items() if key not in groups}
    known = [field.name for field in fields(Settings)]
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown key {key}; {did_you_mean(key, {*known, *groups})}")
    for field in fields(Settings):
        if field.name not in given and field.default_factory is MISSING:
            raise ConfigError(f"{field.name}: needs a value")
    for key in ("resume", "ckpt_path"):  # YAML reads the folder name of a sweep's job as a number
        given |= {key: str(given[key])} if type(given.get(key)) in (int, float) else {}
    plain |= asdict(Settings(**check_arguments(Settings, given, "")))
    builder = Builder(plain["trusted"])
    for key in (paths := plain.setdefault("paths", {})):
        if key not in PATHS:
            raise ConfigError(f"unknown key paths.{key}; {did_you_mean(f'paths.{key}', [f'paths.{p}' for p in PATHS])}")
    for key in PATHS:
        if not paths.get(key) or not isinstance(paths[key], str):
            raise ConfigError(f"paths.{key}={paths.get(key, '')}: should be the name of a folder")
    for group, kind in COMPONENTS.items():
        node = plain.get(group)
        if group in OPTIONAL and not node:  # null, or an option `none` that is an empty node
            continue
        if group in OPTIONAL and isinstance(node, dict) and node.get("_target_", group) is None:
            del plain[group]  # an option `none` beside settings of an experiment
            continue
        if not isinstance(node, dict):
            raise ConfigError(f"{group}={node}: choose an option of the group, see --help")
        if group == "data" and plain["seed"] is None and node.get("seed", 0) is None:
            node = {**node, "seed": 0}  # the seed is drawn when the run begins
        if group == "trainer":
            _check_trainer(builder, node)
        else:
            builder.check(node, group, kind)
    for key, record in RECORDS.items():
        plain[key] = _checked_record(plain.get(key), key, record)
    plain["phases"] = _checked_phases(builder, plain)
    for group, kind in COLLECTIONS.items():
        nodes = plain[group] = plain.get(group) or {}
        if not isinstance(nodes, dict):
            raise ConfigError(f"{group}={nodes}: choose an option of the group, see --help")
        for name, node in nodes.items():
            if node is not None:
                if not isinstance(node, dict):
                    raise ConfigError(f"{group}.{name}={node}: should name a class (_target_) or be null")
                builder.check(node, f"{group}.{name}", kind)
    return plain, builder


def _checked_record(node: Any, key: str, record: type) -> dict[str, Any]:
    """Check a node that must have all fields of a record."""
    names = [field.name for field in fields(record)]
    if not isinstance(node, dict):
        raise ConfigError(
            f"{key}={node}: should hold {', '.join(names[:-1])} and {names[-1]}, such as {key}.{names[0]}"
        )
    checked = check_arguments(record, node, key)
    for name in names:
        if name not in checked:
            raise ConfigError(f"{key}.{name}: needs a value")
    return checked


def _checked_phases(builder: Builder, plain: dict[str, Any]) -> dict[str, Any]:
    """Check `phases.<name>.optimizer` and `.scheduler`: nodes, or settings that override those of the first phase."""
    phases = plain.get("phases") or {}
    if not isinstance(phases, dict):
        raise ConfigError(
            f"phases={phases}: should hold settings for a phase, such as phases.discriminator.optimizer.lr"
        )
    for name, phase in phases.items():
        if not isinstance(phase, dict):
            raise ConfigError(f"phases.{name}={phase}: should hold {' or '.join(OF_PHASES)}")
        for group, node in phase.items():
            key = f"phases.{name}.{group}"
            if group not in OF_PHASES:
                raise ConfigError(f"unknown key {key}; {did_you_mean(group, OF_PHASES)}")
            if not isinstance(node, dict):
                raise ConfigError(f"{key}={node}: should hold settings, such as {key}.{OF_PHASES[group]}")
            builder.check(merged(plain[group], node), key, COMPONENTS[group])
    return phases


def _check_trainer(builder: Builder, node: dict[str, Any]) -> None:
    """Check the Trainer's node. Settings may be `auto`, which is resolved when model, device and data are known."""
    known = {key: value for key, value in AUTO_SETTINGS.items() if node.get(key) == AUTO}
    try:
        builder.check({**node, **known}, "trainer", COMPONENTS["trainer"])
    except ConfigError as error:
        more = f" or '{AUTO}'" if str(error).startswith(tuple(f"trainer.{key}=" for key in AUTO_SETTINGS)) else ""
        raise ConfigError(f"{error}{more}") from error
