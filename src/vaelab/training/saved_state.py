"""Validation of a saved training state before any of it is restored: it may come from an untrusted file."""

import ast
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError, model_validator
from torch import Tensor

from vaelab.careful_read import brief, lies_whole
from vaelab.errors import CheckpointError
from vaelab.training.weight_average import PART, Averaging


def settings_in_key(text: str) -> dict[str, Any]:
    """The settings of a callback, which follow the class name in the key of its state.

    None if one of them is not a plain value, such as a time interval.
    """
    try:
        settings = ast.literal_eval(text)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def refuse_broken(path: Path, state: Mapping[str, Any]) -> None:
    """Refuse a training state whose parts do not have the expected structure.

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
                settings_in_key(brace + settings if brace else "{}")
            except (SyntaxError, MemoryError, RecursionError) as error:
                raise broken(path, f"callbacks: {key[:60]}") from error


def refuse_broken_position(path: Path, state: Mapping[str, Any], data: str) -> None:
    """Refuse an invalid position within an epoch.

    Args:
        path: of the checkpoint, for the message.
        state: of a checkpoint.
        data: class name of the data module, under which the position is saved.

    Raises:
        CheckpointError: says what is wrong.
    """
    if data in state:
        _check(path, _Position, state[data], f"{data}.")


def averaging_of(path: Path, saved: Any) -> Averaging:
    """The settings of weight averaging in a file.

    Args:
        path: of the file, for the message.
        saved: a checkpoint's average, or the settings in a `training.json`.

    Raises:
        CheckpointError: names the first setting that is missing or wrong.
    """
    _check(path, _Averaging, saved, f"{PART}.", ANOTHER)
    return Averaging(saved["decay"], saved["start_step"], saved["every_n_steps"])


def refuse_broken_average(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Refuse averaged weights that do not belong to the weights of a checkpoint.

    Args:
        path: of the checkpoint, for the message.
        checkpoint: with an average; its `state_dict` holds tensors, and its `global_step` is a number.

    Raises:
        CheckpointError: names the first part that is missing or wrong.
    """
    average, weights = checkpoint[PART], checkpoint["state_dict"]
    _check(path, _Average, average, f"{PART}.", ANOTHER)
    if average["step"] > checkpoint["global_step"]:
        raise broken(path, f"{PART}.step: it is after the last step", ANOTHER)
    for name, value in average["weights"].items():
        own = weights.get(name)
        if own is None:
            why = "the model has no such weight"
        elif value.shape != own.shape or not value.is_floating_point() or not own.is_floating_point():
            why = "its shape or type differs from that of the weight"
        elif not lies_whole(value):
            why = "it has more numbers than the file"
        elif not bool(torch.isfinite(value).all()):
            why = "it is not a number"
        else:
            continue
        raise broken(path, f"{PART}.weights.{name}: {why}", ANOTHER)


def _check(path: Path, schema: type[BaseModel], value: Any, part: str = "", remedy: str | None = None) -> None:
    try:
        schema.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = (part + ".".join(map(str, first["loc"]))).rstrip(".")
        why = "Input should be a valid dictionary" if first["type"] == "model_type" else first["msg"]
        raise broken(path, f"{where}: {why}", remedy) from error


def broken(path: Path, why: str, remedy: str | None = None) -> CheckpointError:
    """The error that names a checkpoint and the part of it that is wrong."""
    remedy = remedy or f"ckpt_path={path} starts a new run from its weights"
    return CheckpointError(f"{path}: is broken ({brief(why)}); {remedy}")


def _one_number(value: Any) -> Any:
    if value is None or isinstance(value, float) or (isinstance(value, Tensor) and value.numel() == 1):
        return value
    raise ValueError("should be one number")


ANOTHER = "use another checkpoint of the run"
MOST_PHASES = 64  # of training, each with its own optimizer; far more than any model has
_VERSION = r"^[2-9]\.\d{1,4}(\.\d{1,4})?((a|b|rc)\d{1,4})?(\.post\d{1,4})?(\.dev\d{1,9})?(\+[a-z0-9]{1,40})?$"
_Count = Annotated[int, Strict(), Field(ge=0, le=2**53)]
_Text = Annotated[str, Strict(), Field(max_length=4096)]
_Score = Annotated[Any, AfterValidator(_one_number)]
_Node = Annotated[dict[str, Any], Strict()]


class _Part(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())


class _Counts(_Part):
    """Counts only: Lightning sets an attribute for any name that it finds here."""

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


def _part_of_one(value: float) -> float:
    if not (isfinite(value) and 0 < value < 1):
        raise ValueError("should be between 0 and 1")
    return value


class _Averaging(_Part):
    decay: Annotated[float, Strict(), AfterValidator(_part_of_one)]
    start_step: _Count
    every_n_steps: Annotated[_Count, Field(gt=0)]


class _Average(_Averaging):
    weights: Annotated[dict[_Text, Tensor], Strict()]
    step: _Count


class _State(_Part):
    version: Annotated[str, Strict(), Field(pattern=_VERSION)] = Field(alias="pytorch-lightning_version")
    epoch: _Count
    global_step: _Count
    loops: _Loops
    optimizer_states: Annotated[list[_Node], Strict(), Field(min_length=1, max_length=MOST_PHASES)]
    lr_schedulers: Annotated[list[_Schedule], Strict(), Field(min_length=1, max_length=MOST_PHASES)]
    callbacks: Annotated[dict[_Text, Any], Strict()]
    train_terms: _Terms | None = None
    scaler: _Scaler | None = Field(None, alias="MixedPrecision")


class _BestNumbers(_Part):
    numbers: Annotated[dict[_Text, Annotated[float, Strict()]], Strict()]
    watched: Annotated[list[_Text], Strict()] = []
    train: Annotated[dict[_Text, Annotated[float, Strict()]], Strict()] = {}


class _Decision(_Part):
    decided: Annotated[bool, Strict()] | None


class _Stopping(_Part):
    wait_count: _Count
    stopped_epoch: _Count
    best_score: _Score


class _Passes(_Part):
    passes: Annotated[list[tuple[_Count, float]], Field(max_length=10**7)]


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
    "TrainingTime": _Passes,
}
