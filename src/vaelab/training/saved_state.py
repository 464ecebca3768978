"""What a state of training must look like before any of it is taken up: it may come from a stranger's file."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, Strict, ValidationError, model_validator
from torch import Tensor

from vaelab.careful_read import brief
from vaelab.errors import CheckpointError


def settings_in_key(text: str) -> dict[str, Any]:
    """The settings of a callback, which the key of its state has behind the name of its class.

    None where one of them is no plain value, such as a time interval.
    """
    try:
        settings = ast.literal_eval(text)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


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
                settings_in_key(brace + settings if brace else "{}")
            except (SyntaxError, MemoryError, RecursionError) as error:
                raise broken(path, f"callbacks: {key[:60]}") from error


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
        raise broken(path, f"{where}: {why}") from error


def broken(path: Path, why: str) -> CheckpointError:
    """The error that names a checkpoint and the part of it that is wrong."""
    return CheckpointError(f"{path}: is broken ({brief(why)}); ckpt_path={path} begins a new run from its weights")


def _one_number(value: Any) -> Any:
    if value is None or isinstance(value, float) or (isinstance(value, Tensor) and value.numel() == 1):
        return value
    raise ValueError("should be one number")


MOST_PHASES = 64  # of training, each with an optimizer of its own; far more than any model has
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
    optimizer_states: Annotated[list[_Node], Strict(), Field(min_length=1, max_length=MOST_PHASES)]
    lr_schedulers: Annotated[list[_Schedule], Strict(), Field(min_length=1, max_length=MOST_PHASES)]
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
