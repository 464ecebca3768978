"""What may be changed when a run is gone on with, and what makes it another run."""

from typing import Any

from vaelab.config.recorded import covers, is_plain, written
from vaelab.errors import ConfigError

_ARCHITECTURE = "the weights are those of another architecture"
_EXAMPLES = "other examples would be in its splits, or the same ones in another form"
_STEPS = "its steps and epochs would be others from here on, and the schedule and the place in the epoch count them"
_COMPARED = "the best checkpoint so far would be compared with numbers measured in another way"
# The first that fits decides. What is not named is built anew from the config, and so takes effect.
REFUSED = (
    ("latent_dim", _ARCHITECTURE),
    ("model._target_", _ARCHITECTURE),
    ("encoder", _ARCHITECTURE),
    ("decoder", _ARCHITECTURE),
    ("likelihood", _ARCHITECTURE),
    ("data.batch_size", _STEPS),
    ("trainer.accumulate_grad_batches", _STEPS),
    ("trainer.limit_train_batches", _STEPS),
    ("trainer.overfit_batches", _STEPS),
    ("trainer.fast_dev_run", _STEPS),
    ("trainer.limit_val_batches", _COMPARED),
    ("corruption", _COMPARED),
    ("task._target_", _COMPARED),
    ("seed", "a run has one seed, which orders its examples and draws its noise"),
    ("data.seed", "a run has one seed, which orders its examples and draws its noise"),
    ("data", _EXAMPLES),
    ("optimizer._target_", "the state of one optimizer is not that of another"),
)
ALLOWED = (
    "data.path",
    "data.name",
    "data.data_dir",
)  # the same examples elsewhere, which is checked when they are read


def refuse_changes(run: dict[str, Any], now: dict[str, Any], folder: str) -> None:
    """Refuse to go on with a run under a config that makes it another run.

    Args:
        run: the config that the run had, resolved.
        now: the one it would go on with.
        folder: of the run.

    Raises:
        ConfigError: names the keys, what the run has there, and what to do instead.
    """
    changed = [key for key in differing(run, now) if key not in ALLOWED]
    for place, reason in REFUSED:
        if keys := [key for key in changed if covers(place, key)]:
            there, here = _shown(keys[0], run), _shown(keys[0], now)
            weights = "" if reason == _ARCHITECTURE else f" from the weights of this one with ckpt_path={folder}"
            raise ConfigError(
                f"resume={folder} {here}: the run has {there}; {reason}. Leave it out, or begin a new run{weights}"
            )


def differing(run: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys that both configs have, with other values."""
    found: list[str] = []
    for name in run.keys() & now.keys():
        key, before, after = f"{prefix}{name}", run[name], now[name]
        if isinstance(before, dict) and isinstance(after, dict):
            found += differing(before, after, f"{key}.")
        elif before != after:
            found.append(key)
    return sorted(found)


def _shown(key: str, config: dict[str, Any]) -> str:
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return written(key, value) if is_plain(value) else f"another {key}"
