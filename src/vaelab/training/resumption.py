"""Additions to a run's checkpoints, and which parts of a checkpoint the config overrides when a run is resumed."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.errors import ConfigError
from vaelab.notes import note
from vaelab.training.checkpoint_files import is_remote
from vaelab.training.saved_state import settings_in_key


class Resumption(Callback):
    """Saves in each checkpoint what the model was trained on, and gives the config priority when a run is resumed.

    Lightning restores settings of callbacks together with their state: a new patience for a resumed run would be
    ignored. It also forgets the best checkpoint if the run folder was moved or an interval was changed.

    Args:
        trained_on: plain data; see `vaelab.record.trained_on`.
    """

    def __init__(self, trained_on: dict[str, Any]) -> None:
        self._trained_on = trained_on

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the record."""
        checkpoint["trained_on"] = self._trained_on

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Change the states of callbacks before they are restored."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint["callbacks"]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.state_key in states:
                state = states[callback.state_key]
                state["patience"] = callback.patience
                state["stopped_epoch"] = 0
                if state["wait_count"] >= callback.patience:  # after a plateau, a resumed run waits for another one
                    state["wait_count"] = 0
            if isinstance(callback, ModelCheckpoint):
                _take_up_best(callback, states)


def _take_up_best(callback: ModelCheckpoint, states: dict[str, Any]) -> None:
    """Keep the part of the saved state whose files exist. If the best one does not, choose a new best and note it."""
    watched = callback.monitor is not None
    state = _state_of_best(callback, states) if watched else states.get(callback.state_key)
    kept = None if state is None else _files_here(state, callback)
    if kept is not None:
        states[callback.state_key] = kept
        return
    states.pop(callback.state_key, None)
    had_one = state is None or state["best_model_path"] or state["best_k_models"]
    if watched and had_one:
        best = states.get("BestValidation", {})
        if state is not None and best.get("watched") == [callback.monitor, callback.mode]:
            best["numbers"] = {}  # of a checkpoint that does not exist any more
        note(f"the best checkpoint is chosen again from here on, by {callback.monitor}")


def _state_of_best(callback: ModelCheckpoint, states: dict[str, Any]) -> dict[str, Any] | None:
    """The saved state of a callback that monitored the same metric in the same direction, at any interval."""
    for key, state in states.items():
        if key == callback.state_key:
            return dict(state)
        kind, brace, settings = key.partition("{")
        if kind == type(callback).__qualname__ and brace:
            watched = settings_in_key(brace + settings)
            if (watched.get("monitor"), watched.get("mode")) == (callback.monitor, callback.mode):
                return dict(state)
    return None


def _files_here(state: dict[str, Any], callback: ModelCheckpoint) -> dict[str, Any] | None:
    """The state with the checkpoints in the callback's own folder, by their names; None if the best is not there.

    Lightning deletes the paths in this state, and a whole folder if a path names one. So paths are not trusted: the run
    may have been moved, or may come from somebody else.
    """
    folder = str(callback.dirpath)

    def here(path: str) -> str:
        if not path.endswith(callback.FILE_EXTENSION):
            return ""
        place = f"{folder}/{Path(path).name}"
        if is_remote(folder):
            return place if path == place else ""
        return place if Path(place).is_file() and not Path(place).is_symlink() else ""

    best = {there: score for path, score in state["best_k_models"].items() if (there := here(path))}
    paths = {name: here(state[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
    if not paths["best_model_path"]:
        return None
    if paths["kth_best_model_path"] not in best:
        worst = max if callback.mode == "min" else min
        paths["kth_best_model_path"] = worst(best, key=lambda path: float(best[path]), default="")
    return state | paths | {"dirpath": callback.dirpath, "best_k_models": best}


def refuse_done(state: Any, max_epochs: int | None, max_steps: int) -> None:
    """Refuse fewer epochs or steps than a run already has.

    Args:
        state: of a checkpoint.
        max_epochs, max_steps: of the config.

    Raises:
        ConfigError: names what the run has.
    """
    epochs = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = state["global_step"]
    if max_epochs not in (None, -1) and epochs > max_epochs:
        raise ConfigError(f"trainer.max_epochs={max_epochs}: the run already has {epochs} epochs")
    if max_steps != -1 and steps > max_steps:
        raise ConfigError(f"trainer.max_steps={max_steps}: the run already has {steps} steps")
