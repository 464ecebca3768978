"""Find, check and read the weights that a run starts from."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from struct import error as StructError
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

import torch
from torch import Tensor, nn

from vaelab.careful_read import Weights, brief, excess_of, lies_whole, read_json, refuse_no_file
from vaelab.config.recorded import may_be_set, read_recorded, written
from vaelab.core.spec import modern
from vaelab.errors import CheckpointError, DamagedError
from vaelab.models.building import VECTOR
from vaelab.notes import note, some
from vaelab.quoting import typed_path
from vaelab.run_folder import BEFORE_LAST, LAST, checkpoints_to_go_on_from
from vaelab.training.checkpoint_files import damaged_part
from vaelab.training.saved_state import averaging_of, refuse_broken, refuse_broken_average
from vaelab.training.weight_average import PART, Averaging, in_evaluation

MODEL, TRAINING = "model.safetensors", "training.json"  # in the `model/` of a run
STATE = {"state_dict", "epoch", "global_step", "pytorch-lightning_version"}
TRAINING_STATE = {"optimizer_states", "lr_schedulers", "loops", "callbacks"}  # needed to resume training
MOST_STRUCTURE = 2**26  # bytes of names, shapes and settings in a checkpoint; a few hundred per weight are usual
_PARTS = (
    "latent_dim",
    "model",
    "encoder",
    "decoder",
    "likelihood",
)  # keys of the config that an architecture consists of


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Attributes:
        path: a `.ckpt`, or the `model.safetensors` of a run.
        weights: the weights by their names in the model.
        architecture: the architecture of the model, as plain data.
        step: the optimizer steps of the run at its end, if known.
        trained_on: the run's record of its data; see `vaelab.record.trained_on`.
        state: the state of training, to resume it; empty if only weights are needed.
        averaging: how the weights were averaged; None for weights of a single step, as always with `state`.
        averaged: the names of weights that have an average in a `.ckpt`.
    """

    path: Path
    weights: Mapping[str, Tensor]
    architecture: dict[str, Any]
    step: int = 0
    trained_on: Any = None
    state: Mapping[str, Any] = field(default_factory=dict)
    averaging: Averaging | None = None
    averaged: frozenset[str] = frozenset()

    @property
    def model_folder(self) -> Path:
        """`model/` of the run that the weights belong to."""
        return model_folder(self.path)

    def refuse_another(self, architecture: dict[str, Any], advise: bool = False) -> None:
        """Refuse an architecture with other weights, before any weight is created.

        Args:
            architecture: the architecture of the config.
            advise: whether the message says which words would give the architecture of the run.

        Raises:
            CheckpointError: keys differ; the message names them.
        """
        before, now = flat(self.architecture), flat(architecture)
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and _matters(key)]
        if changed:
            advice = self._advice(changed, before) if advise else ""
            raise CheckpointError(
                f"{self.path}: was trained with another architecture: {_shown(changed, before, now)}{advice}"
            )

    def refuse_misfit(self, state: Mapping[str, Tensor], architecture: dict[str, Any]) -> None:
        """Refuse a model whose weights have other names or shapes.

        Args:
            state: the `state_dict` of the model, which may be on the meta device.
            architecture: the architecture of the model.

        Raises:
            CheckpointError: they differ; the message names the settings or the weights.
        """
        there = {name: tuple(value.shape) for name, value in self.weights.items()}
        here = {name: tuple(value.shape) for name, value in state.items()}
        if there == here:
            return
        before, now = flat(self.architecture), flat(architecture)
        settings = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        known, found = (list(of.get("spec.classes") or ()) for of in (before, now))
        new = [name for name in found if name not in known]
        if known and new and not {*settings} - {"spec.name", "spec.classes"}:
            raise CheckpointError(
                f"{now['spec.name']}: has the label {some(new, 5)}, but the model was trained with the labels "
                f"{some(known, 10)} only; leave out the examples with other labels"
            )
        why = f": {_shown(settings, before, now)}" if settings else ""
        weights = _shown(names, there, here)
        raise CheckpointError(
            f"{self.path}: was trained with another architecture{why}; weights that differ: {weights}"
        )

    def load_into(self, model: nn.Module) -> None:
        """Load these weights into a model."""
        model.load_state_dict(self.weights)

    def _advice(self, changed: list[str], before: dict[str, Any]) -> str:
        """Return the words that give the architecture of the run, as far as its folder records them."""
        choices = read_recorded(self.model_folder.parent).choices
        groups = [key.partition(".")[0] for key in changed if key.endswith("._target_") and key.count(".") == 1]
        words = [f"{group}={choices[group]}" for group in groups if group in choices and group in _PARTS]
        if len(words) < len(groups):
            return ""
        words += [
            written(key, before[key])
            for key in changed
            if key in before and key.partition(".")[0] in _PARTS and may_be_set(key, before[key])
        ]
        return f". Type {' '.join(words)} for the same one" if words else ""


def find_checkpoint(path: str) -> Path:
    """Find a file of weights: the named file, or the best one of a run folder or of a folder in it.

    Raises:
        CheckpointError: there is none.
    """
    place = Path(path)
    if place.is_file():
        return place
    for name in ("best.ckpt", "last.ckpt", MODEL):
        for folder in (place / "checkpoints", place / "model", place):
            if (folder / name).is_file():
                if name == "last.ckpt":
                    note(f"{place} has no best.ckpt, so its last checkpoint is used: {folder / name}")
                return folder / name
    raise CheckpointError(
        f"ckpt_path={path}: there is no checkpoint; give a run folder, a model/ folder or a .ckpt file"
    )


def model_folder(checkpoint: Path) -> Path:
    """Return `model/` of the run that a checkpoint belongs to."""
    inside = checkpoint.absolute().parent
    if checkpoint.name == MODEL:
        return inside
    return (inside.parent if inside.name == "checkpoints" else inside) / "model"


def read_start(path: Path, resumes: bool = False) -> Start:
    """Read weights without running code, and the state of training if the run is resumed.

    From a checkpoint with averaged weights, the averaged ones are read, unless the run is resumed.

    Raises:
        CheckpointError: the file is damaged, could run code, or is incomplete; the message says which.
    """
    start = _read_model(path) if path.suffix == ".safetensors" else _read_checkpoint(path, resumes)
    for name, value in start.weights.items():
        if not lies_whole(value):
            raise CheckpointError(f"{path}: is broken (weight {brief(str(name))} is larger than the file)")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: weight {brief(str(name))} is not a number")
    return start


def read_last(folder: Path) -> Start:
    """Read the checkpoint to resume from: the last one, or the one before it if the last one is damaged or missing.

    Args:
        folder: the run folder.

    Raises:
        CheckpointError: neither can be used.
    """
    damaged: DamagedError | None = None
    for path in checkpoints_to_go_on_from(folder):
        try:
            start = read_start(path, resumes=True)
        except DamagedError as error:
            damaged = damaged or error
            continue
        if path.name == BEFORE_LAST:
            why = damaged or f"{path.with_name(LAST)}: is missing"
            note(f"{why}; the run resumes from the checkpoint before it, {path}")
        return start
    if damaged is None:
        raise CheckpointError(f"{folder}: has no checkpoint to resume from")
    both = f"; {BEFORE_LAST} beside it is damaged too" if len(checkpoints_to_go_on_from(folder)) > 1 else ""
    best = folder / "checkpoints/best.ckpt"
    anew = f". {typed_path('ckpt_path', folder)} starts a new run from its best weights" if best.is_file() else ""
    raise CheckpointError(f"{damaged}{both}, so the run cannot be resumed{anew}") from damaged


def _read_checkpoint(path: Path, resumes: bool) -> Start:
    loaded = _loaded(path)
    checkpoint: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    architecture, weights = checkpoint.get("architecture"), checkpoint.get("state_dict")
    if not isinstance(architecture, dict) or not isinstance(weights, dict) or not checkpoint.keys() >= STATE:
        raise CheckpointError(f"{path}: is not a checkpoint of vaelab")
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: is not a checkpoint of vaelab")
    architecture = _plain(path, architecture)
    if resumes and not checkpoint.keys() >= TRAINING_STATE:
        raise CheckpointError(
            f"{path}: contains weights but no state of training, so the run cannot be resumed; ckpt_path={path} "
            "starts a new run from them"
        )
    if resumes:
        refuse_broken(path, checkpoint)
    if type(checkpoint["global_step"]) is not int:
        raise CheckpointError(f"{path}: is broken (global_step should be a whole number)")
    averaging, averaged = None, frozenset[str]()
    if PART in checkpoint:
        refuse_broken_average(path, checkpoint)
        averaged = frozenset(checkpoint[PART]["weights"])
        if not resumes:
            weights, averaging = in_evaluation(checkpoint), averaging_of(path, checkpoint[PART])
    about = _training_record(model_folder(path))
    step = checkpoint["global_step"] if resumes else about.get("steps", checkpoint["global_step"])
    trained_on = checkpoint.get("trained_on", about.get("data"))
    return Start(path, weights, architecture, step, trained_on, checkpoint if resumes else {}, averaging, averaged)


def _plain(path: Path, architecture: dict[str, Any]) -> dict[str, Any]:
    """Return an architecture as it would be in a `model.json`.

    Raises:
        CheckpointError: it cannot be stored in such a file.
    """
    try:
        text = json.dumps(architecture)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is broken (its architecture is not plain data)") from error
    if excess := excess_of(text.encode()):
        raise CheckpointError(f"{path}: its architecture {excess}, and is not read")
    return _modern(json.loads(text))


def _modern(architecture: dict[str, Any]) -> dict[str, Any]:
    """Convert the names of earlier versions; before latent layouts could be chosen, a code was a vector."""
    spec = architecture.get("spec")
    return {"latent": dict(VECTOR)} | architecture | ({"spec": modern(spec)} if isinstance(spec, dict) else {})


def _loaded(path: Path) -> Any:
    """Load a checkpoint, memory-mapped from the file."""
    broken = f"{path}: is broken, cut short or not a checkpoint"
    refuse_no_file(path)
    if not is_zipfile(path):
        raise DamagedError(broken)
    try:
        with ZipFile(path) as archive:
            _refuse_inflated(path, archive.infolist())
            if damaged := damaged_part(archive):
                raise DamagedError(f"{path}: is damaged ({damaged} has changed since it was written)")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: contains more than weights and plain data, and is not loaded (it could run code)"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError,
            AssertionError, NotImplementedError, StructError, BadZipFile) as error:  # fmt: skip
        raise DamagedError(broken) from error


def _refuse_inflated(path: Path, members: list[ZipInfo]) -> None:
    """Refuse a file that needs more memory or time to read than its size on disk; torch never compresses.

    Raises:
        CheckpointError: it is such a file; the message says why.
    """
    if any(member.compress_type != ZIP_STORED for member in members):
        raise CheckpointError(f"{path}: is compressed, unlike any checkpoint, and is not read")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise CheckpointError(f"{path}: is broken (its parts are larger than the file)")
    if any(member.file_size > MOST_STRUCTURE for member in members if member.filename.endswith(".pkl")):
        raise CheckpointError(f"{path}: names and settings take more than {MOST_STRUCTURE:,} bytes, and are not read")


def _read_model(path: Path) -> Start:
    about = path.with_name("model.json")
    for part in (about, path):
        if not part.exists():
            raise CheckpointError(f"{path.parent}: holds no model ({part.name} is missing)")
    architecture = read_json(about)
    if not isinstance(architecture, dict):
        raise CheckpointError(f"{about}: does not describe a model")
    architecture = _modern(architecture)
    training = _training_record(path.parent)
    return Start(
        path,
        Weights(path).load(),
        architecture,
        training.get("steps", 0),
        training.get("data"),
        averaging=averaging_of(path.with_name(TRAINING), training[PART]) if PART in training else None,
    )


def _training_record(folder: Path) -> dict[str, Any]:
    """Read the training record of a `model/`; empty for an older run without this record."""
    path = folder / TRAINING
    if not path.exists():
        return {}
    about = read_json(path)
    if not isinstance(about, dict) or type(about.get("steps", 0)) is not int:
        raise CheckpointError(f"{path}: does not describe a training")
    return about


def _matters(key: str) -> bool:
    """Whether a key of the architecture must match: names and objectives (such as beta) may differ, sizes may not."""
    objective = key.startswith("model.") and key != "model._target_"
    return (
        not objective
        and key not in ("spec.name", "spec.characters", "likelihood.binarize")
        and not key.startswith("spec.classes")
    )


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts, with keys joined by dots."""
    rows: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[prefix + key] = value
    return rows


def _shown(keys: list[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    some = "; ".join(f"{key}={_text(before.get(key))} there, {_text(now.get(key))} here" for key in keys[:5])
    return f"{some}; and {len(keys) - 5} more" if len(keys) > 5 else some


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)
