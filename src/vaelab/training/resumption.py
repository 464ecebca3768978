"""What a checkpoint of a run holds beside Lightning's own, and what of it gives way to the config later."""

import ast
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.errors import ConfigError
from vaelab.notes import note

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class Resumption(Callback):
    """Keeps in each checkpoint what the model was trained on, and lets the config win when a run is gone on with.

    Lightning restores settings of callbacks together with their state, so a patience that is given to a resumed run
    would be ignored, and forgets the best checkpoint where the run folder was moved or a period was changed.

    Args:
        trained_on: plain data; see `vaelab.record.trained_on`.
    """

    def __init__(self, trained_on: dict[str, Any]) -> None:
        self._trained_on = trained_on

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the record."""
        checkpoint["trained_on"] = self._trained_on

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Change the states of callbacks before they are handed out."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint["callbacks"]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.state_key in states:
                states[callback.state_key]["patience"] = callback.patience
            if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
                state = _state_of_best(callback, states)
                if state is not None:
                    states[callback.state_key] = _moved(state, callback)
                else:
                    note(f"the best checkpoint is chosen anew from here on, by {callback.monitor}")


def _state_of_best(callback: ModelCheckpoint, states: dict[str, Any]) -> dict[str, Any] | None:
    """The state of what watched the same number in the same direction, however often it looked."""
    for key, state in states.items():
        kind, brace, settings = key.partition("{")
        if kind == type(callback).__qualname__ and brace:
            watched = ast.literal_eval(brace + settings)
            if (watched.get("monitor"), watched.get("mode")) == (callback.monitor, callback.mode):
                return dict(state)
    return None


def _moved(state: dict[str, Any], callback: ModelCheckpoint) -> dict[str, Any]:
    """The state with its files where the run folder is now."""
    before, now = str(state["dirpath"]), str(callback.dirpath)

    def moved(path: str) -> str:
        there = Path(now) / Path(path).name
        return str(there) if path and Path(path).parent == Path(before) and there.is_file() else path

    best = {moved(path): score for path, score in state["best_k_models"].items()}
    return state | {name: moved(state[name]) for name in _PATHS} | {"dirpath": now, "best_k_models": best}


def refuse_done(state: Any, max_epochs: int | None, max_steps: int) -> None:
    """Refuse fewer epochs or steps than a run has.

    Args:
        state: of a checkpoint.
        max_epochs, max_steps: of the config.

    Raises:
        ConfigError: names what the run has.
    """
    epochs = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = state["global_step"]
    if max_epochs not in (None, -1) and epochs > max_epochs:
        raise ConfigError(f"trainer.max_epochs={max_epochs}: the run has {epochs} epochs already")
    if max_steps != -1 and steps > max_steps:
        raise ConfigError(f"trainer.max_steps={max_steps}: the run has {steps} steps already")
