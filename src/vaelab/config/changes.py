"""Which settings may change when a run is resumed, and which would make it a different run."""

from collections.abc import Mapping
from typing import Any

from vaelab.config.recorded import Recorded, covers, is_plain, written
from vaelab.errors import ConfigError

_WEIGHTS = "ckpt_path={folder} starts a new run from its weights"
_ARCHITECTURE = ("its weights belong to another architecture", "start a new run")
_EXAMPLES = ("its splits would contain other examples, or the same examples in another form", "start a new run")
_STEPS = ("its steps and epochs are counted in batches, which would change", _WEIGHTS)
_COMPARED = ("its best checkpoint so far would be compared with a metric measured in another way", _WEIGHTS)
_TASK = (_COMPARED[0], "train=false ckpt_path={folder} evaluates it under another task")
_SEED = ("a run has one seed, which determines the order of examples and the noise", _WEIGHTS)
_STATE = ("an optimizer cannot use the state of another one", _WEIGHTS)
# The first match decides. Keys that do not match are rebuilt from the config, so a change takes effect.
REFUSED = (
    ("data._target_", _EXAMPLES),
    ("latent_dim", _ARCHITECTURE),
    ("model._target_", _ARCHITECTURE),
    ("encoder", _ARCHITECTURE),
    ("decoder", _ARCHITECTURE),
    ("likelihood", _ARCHITECTURE),
    ("data.seed", _SEED),
    ("data.batch_size", _STEPS),
    ("data", _EXAMPLES),
    ("seed", _SEED),
    ("trainer.accumulate_grad_batches", _STEPS),
    ("trainer.limit_train_batches", _STEPS),
    ("trainer.overfit_batches", _STEPS),
    ("trainer.fast_dev_run", _STEPS),
    ("trainer.limit_val_batches", _COMPARED),
    ("corruption", _COMPARED),
    ("task._target_", _TASK),
    ("optimizer._target_", _STATE),
)
ALLOWED = (
    "data.path",
    "data.name",
    "data.data_dir",
)  # the same examples at another place, which is checked when they are read


def refuse_changes(run: Recorded, config: dict[str, Any], choices: Mapping[str, Any]) -> None:
    """Refuse to resume a run with a config that would make it a different run.

    Args:
        run: the record in its folder.
        config: the config to resume with, resolved and without secrets.
        choices: the chosen option of each group.

    Raises:
        ConfigError: a setting must not change; the message names the value of the run, and what to do instead.
    """
    changed = [key for key in differing(run.config, config) if key not in ALLOWED]
    objective = (("model", _COMPARED),) if _watches_the_loss(config) else ()
    for place, (reason, remedy) in (*REFUSED, *objective):
        if keys := sorted((key for key in changed if covers(place, key)), key=lambda key: not key.endswith("_target_")):
            there, here = _shown(keys[0], run.config, run.choices), _shown(keys[0], config, choices)
            raise ConfigError(
                f"resume={run.folder} {here}: the run has {there}; {reason}. Leave it out, or "
                f"{remedy.format(folder=run.folder)}"
            )


def _watches_the_loss(config: dict[str, Any]) -> bool:
    """Whether the best checkpoint is selected by the training loss, which depends on beta and other weights."""
    nodes = [config.get("task"), *(config.get("callbacks") or {}).values()]
    monitors = [node.get("monitor") for node in nodes if isinstance(node, dict)]
    return any(str(monitor).endswith("/loss") for monitor in monitors)


def differing(run: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Return keys that both configs have with different values."""
    found: list[str] = []
    for name in run.keys() & now.keys():
        key, before, after = f"{prefix}{name}", run[name], now[name]
        if isinstance(before, dict) and isinstance(after, dict):
            found += differing(before, after, f"{key}.")
        elif before != after:
            found.append(key)
    return sorted(found)


def _shown(key: str, config: dict[str, Any], choices: Mapping[str, Any]) -> str:
    """Return a key and its value as a word; an option by its name."""
    group, _, last = key.rpartition(".")
    if last == "_target_" and choices.get(group):
        return f"{group}={choices[group]}"
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return written(key, value) if is_plain(value) else f"another {key}"
