"""What a checkpoint of a run holds beside Lightning's own, and what of it gives way to the config later."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError, model_validator
from torch import Tensor

from vaelab.careful_read import shown
from vaelab.errors import CheckpointError, ConfigError
from vaelab.notes import note
from vaelab.training.checkpoint_files import is_remote


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
            if isinstance(callback, ModelCheckpoint):
                _take_up_best(callback, states)


def _take_up_best(callback: ModelCheckpoint, states: dict[str, Any]) -> None:
    """Leave of the saved state what is in the folder now; where the best one is gone, choose it anew and say so."""
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
            best["numbers"] = {}  # of a checkpoint that is gone
        note(f"the best checkpoint is chosen anew from here on, by {callback.monitor}")


def _state_of_best(callback: ModelCheckpoint, states: dict[str, Any]) -> dict[str, Any] | None:
    """The state of what watched the same number in the same direction, however often it looked."""
    for key, state in states.items():
        if key == callback.state_key:
            return dict(state)
        kind, brace, settings = key.partition("{")
        if kind == type(callback).__qualname__ and brace:
            watched = _settings(brace + settings)
            if (watched.get("monitor"), watched.get("mode")) == (callback.monitor, callback.mode):
                return dict(state)
    return None


def _settings(text: str) -> dict[str, Any]:
    """Settings in the key of a state; none where one of them is no plain value, such as a time interval."""
    try:
        settings = ast.literal_eval(text)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def _files_here(state: dict[str, Any], callback: ModelCheckpoint) -> dict[str, Any] | None:
    """The state with the checkpoints that lie in the callback's own folder, by their names; None if no best one does.

    Lightning deletes what it finds in this state, and a whole folder if the path names one. So no path is believed:
    the run may have been moved, or may come from somebody else.
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


def refuse_broken(path: Path, state: Mapping[str, Any]) -> None:
    """Refuse a state of training whose parts are not what those who take them up look for.

    Args:
        path: of the checkpoint, for the message.
        state: of a checkpoint.

    Raises:
        CheckpointError: names the first part that is missing or wrong.
    """
    _check(path, _State, state)
    for key, saved in state["callbacks"].items():
        kind, brace, settings = key.partition("{")
        if kind in _CALLBACKS:
            _check(path, _CALLBACKS[kind], saved, f"callbacks.{kind}.")
            try:
                _settings(brace + settings if brace else "{}")
            except (SyntaxError, MemoryError, RecursionError) as error:
                raise _broken(path, f"callbacks: {key[:60]}") from error


def refuse_broken_position(path: Path, state: Mapping[str, Any], data: str) -> None:
    """Refuse a place within an epoch that is none.

    Args:
        path: of the checkpoint, for the message.
        state: of a checkpoint.
        data: the name of the class of the data module, under which the place is kept.

    Raises:
        CheckpointError: says what is wrong.
    """
    if data in state:
        _check(path, _Position, state[data], f"{data}.")


def _check(path: Path, schema: type[BaseModel], value: Any, part: str = "") -> None:
    try:
        schema.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = (part + ".".join(map(str, first["loc"]))).rstrip(".")
        why = "Input should be a valid dictionary" if first["type"] == "model_type" else first["msg"]
        raise _broken(path, f"{where}: {why}") from error


def _broken(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path}: is broken ({shown(why)}); ckpt_path={path} begins a new run from its weights")


def _one_number(value: Any) -> Any:
    if value is None or isinstance(value, float) or (isinstance(value, Tensor) and value.numel() == 1):
        return value
    raise ValueError("should be one number")


_VERSION = r"^[2-9]\.\d{1,4}(\.\d{1,4})?((a|b|rc)\d{1,4})?(\.post\d{1,4})?(\.dev\d{1,9})?(\+[a-z0-9]{1,40})?$"
_Count = Annotated[int, Strict(), Field(ge=0, le=2**53)]
_Text = Annotated[str, Strict(), Field(max_length=4096)]
_Score = Annotated[Any, AfterValidator(_one_number)]
_Node = Annotated[dict[str, Any], Strict()]


class _Part(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())


class _Counts(_Part):
    """Lightning takes whatever name is here as an attribute of its own."""

    model_config = ConfigDict(extra="forbid")
    ready: _Count
    completed: _Count
    started: _Count = 0
    processed: _Count = 0


class _Progress(_Part):
    total: _Counts
    current: _Counts


class _BatchProgress(_Progress):
    is_last_batch: Annotated[bool, Strict()]


class _OptimizerProgress(_Part):
    step: _Progress
    zero_grad: _Progress


class _OptimProgress(_Part):
    optimizer: _OptimizerProgress


class _Position(_Part):
    batches: _Count
    epoch: _Count = 0


class _FitState(_Part):
    combined_loader: Annotated[list[_Position], Strict(), Field(max_length=1)] = []


class _EpochState(_Part):
    steps: _Count = Field(0, alias="_batches_that_stepped")


class _FitLoop(_Part):
    state: _FitState = Field(_FitState(), alias="state_dict")
    epoch: _Progress = Field(alias="epoch_progress")
    epoch_state: _EpochState = Field(_EpochState.model_validate({}), alias="epoch_loop.state_dict")
    batch: _BatchProgress = Field(alias="epoch_loop.batch_progress")
    scheduler: _Progress = Field(alias="epoch_loop.scheduler_progress")
    optimizer: _OptimProgress = Field(alias="epoch_loop.automatic_optimization.optim_progress")
    manual: _Progress = Field(alias="epoch_loop.manual_optimization.optim_step_progress")
    validation: _BatchProgress = Field(alias="epoch_loop.val_loop.batch_progress")


class _Loops(_Part):
    fit_loop: _FitLoop


class _Schedule(_Part):
    last_epoch: _Count
    steps: _Count = Field(alias="_step_count")


class _Terms(_Part):
    names: Annotated[list[_Text], Strict()]
    epoch: Annotated[list[float], Strict()]
    window: Annotated[list[float], Strict()]

    @model_validator(mode="after")
    def _refuse_other_lengths(self) -> Self:
        if {len(self.epoch), len(self.window)} - {0, len(self.names) + 1}:
            raise ValueError("epoch and window should have a count, and a sum for each name")
        return self


class _Scaler(_Part):
    scale: FiniteFloat
    growth_factor: FiniteFloat
    backoff_factor: FiniteFloat
    growth_interval: _Count
    growth_tracker: _Count = Field(alias="_growth_tracker")


class _State(_Part):
    version: Annotated[str, Strict(), Field(pattern=_VERSION)] = Field(alias="pytorch-lightning_version")
    epoch: _Count
    global_step: _Count
    loops: _Loops
    optimizer_states: Annotated[list[_Node], Strict(), Field(min_length=1, max_length=1)]
    lr_schedulers: Annotated[list[_Schedule], Strict(), Field(min_length=1, max_length=1)]
    callbacks: Annotated[dict[_Text, Any], Strict()]
    train_terms: _Terms | None = None
    scaler: _Scaler | None = Field(None, alias="MixedPrecision")


class _BestNumbers(_Part):
    numbers: Annotated[dict[_Text, Annotated[float, Strict()]], Strict()]
    watched: Annotated[list[_Text], Strict()] = []


class _Decision(_Part):
    decided: Annotated[bool, Strict()] | None


class _Stopping(_Part):
    wait_count: _Count
    stopped_epoch: _Count
    best_score: _Score


class _Time(_Part):
    time_elapsed: Annotated[dict[_Text, FiniteFloat], Strict()]


class _Checkpoints(_Part):
    dirpath: _Text
    best_model_path: _Text
    kth_best_model_path: _Text
    last_model_path: _Text
    best_model_score: _Score
    kth_value: _Score
    current_score: _Score
    best_k_models: Annotated[dict[_Text, _Score], Strict()]


_CALLBACKS: dict[str, type[_Part]] = {
    "BestValidation": _BestNumbers,
    "Compilation": _Decision,
    "EarlyStopping": _Stopping,
    "ModelCheckpoint": _Checkpoints,
    "Timer": _Time,
}
