"""A description of a trained model as plain data, for `vaelab info` and for its model card."""

import shlex
from pathlib import Path
from typing import Any

from vaelab.careful_read import read_json
from vaelab.errors import CheckpointError
from vaelab.models import Model
from vaelab.trained.trained import Trained


def facts(trained: Trained) -> dict[str, Any]:
    """Describe a model and the run that trained it."""
    spec, model = trained.spec, trained.model
    run = trained.folder.parent if trained.folder.name == "model" else None
    found: dict[str, Any] = {
        "model": type(model).__name__,
        "data": spec.name,
        "kind": kind_of(trained),
        "example": list(spec.shape),
        "values": spec.support + (f", {spec.levels} levels" if spec.levels else ""),
        "code": f"{trained.latent_dim} numbers, {_latent(model)}",
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "encoder": type(model.encoder).__name__,
        "decoder": type(model.decoder).__name__,
        "likelihood": type(model.likelihood).__name__,
    }
    if spec.classes:
        found["labels"] = list(spec.classes)
        found["given labels"] = "yes" if model.conditional else "no"
    if spec.columns:
        found["columns"] = [column.name for column in spec.columns]
    if trained.fitted is not None:
        found["fitted prior"] = trained.fitted.name
    if (threshold := trained.scorer.threshold) is not None:
        above = f"{threshold.score} above {threshold.value:.6g}, false-alarm rate {threshold.rate:g}"
        found["alarm"] = (
            above if threshold.value < float("inf") else "never: too few validation examples for a threshold"
        )
    return found if run is None else found | _of_run(run)


def kind_of(trained: Trained) -> str:
    """Return `image`, `table`, `series`, `text` or `music`."""
    reader = None if trained.reading is None else trained.reading.reader
    return {"text": "text", "midi": "music"}.get(str(reader), trained.spec.kind)


def _latent(model: Model) -> str:
    groups = model.latent.groups
    shapes = " and ".join(str(list(group.shape)) for group in groups)
    return f"{shapes}, {'indices' if groups[-1].discrete else type(model.posterior).__name__}"


def _of_run(run: Path) -> dict[str, Any]:
    """Read facts from a run folder; files that cannot be read are skipped."""
    found: dict[str, Any] = {}
    environment, metrics = _plain(run / "environment.json"), _plain(run / "metrics.json")
    if isinstance(command := environment.get("command"), str):
        found["command"] = command
    if isinstance(packages := environment.get("packages"), dict):
        known = {name: packages[name] for name in ("vaelab", "torch", "lightning") if name in packages}
        found["versions"] = ", ".join(f"{name} {value}" for name, value in known.items())
    numbers = {name: value for name, value in metrics.items() if name.startswith("test/") and isinstance(value, float)}
    if numbers:
        found["numbers"] = numbers
    return found


def _plain(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except CheckpointError:
        return {}
    return data if isinstance(data, dict) else {}


def without_places(command: str) -> str:
    """Replace local paths in a command line: `data.path=<path>`."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return " ".join(_placeless(word) for word in words)


def _placeless(word: str) -> str:
    key, equals, value = word.partition("=")
    if equals and ("/" in value or "\\" in value):
        return f"{key}=<path>"
    return shlex.quote(word if equals or "/" not in word else Path(word).name)
