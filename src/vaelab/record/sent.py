"""What of a run folder goes to its trackers, and when."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaelab.data.module import DataModule
from vaelab.models import Model
from vaelab.record.trackers import Tracker
from vaelab.record.trackers.contents import SavedModel
from vaelab.tasks import Findings

TABLES = (".csv", ".parquet")


def send_results(trackers: Sequence[Tracker], folder: Path, new: Findings, step: int) -> None:
    """Texts, tables and sounds of findings that have just been written into a run folder."""
    files = {name: folder / name for name in new.files}
    tables = {f"tables/{Path(name).with_suffix('')}": path for name, path in files.items() if path.suffix in TABLES}
    for tracker in trackers:
        tracker.log_texts({f"texts/{name}": text for name, text in new.texts.items()}, step)
        tracker.log_tables(tables, step)
        tracker.log_sounds({name: path for name, path in files.items() if path.suffix == ".wav"}, step)


def send_final(
    trackers: Sequence[Tracker], folder: Path, figures: Sequence[str], numbers: Mapping[str, float], step: int
) -> None:
    """The figures, once, since baselines may have been added to them; the report; the numbers of `metrics.json`."""
    page = folder / "report.html"
    for tracker in trackers:
        tracker.log_pictures({f"figures/{name}": folder / "figures" / f"{name}.png" for name in figures}, step)
        if tracker.examples and page.is_file():
            tracker.log_files({page.name: page})
        tracker.log_summary(numbers, step)


def saved_model(
    folder: Path, name: str, about: Mapping[str, Any], model: Model, data: DataModule, source: str | None
) -> SavedModel:
    """The model of a run folder with its best checkpoint, and the data that it comes from.

    Args:
        folder: of the run.
        name: of the model.
        about: plain data without secrets.
        model: trained.
        data: of the run.
        source: where the data lie, without a password.
    """
    best, splits = folder / "checkpoints" / "best.ckpt", {split: len(rows) for split, rows in data.split.items()}
    return SavedModel(
        folder=folder / "model",
        checkpoint=best if best.is_file() else None,
        name=name,
        about=about,
        data=data.spec.name,
        fingerprint=data.fingerprint(),
        about_data={"examples": data.examples, "shape": list(data.spec.shape), "kind": data.spec.kind} | splits,
        source=source,
        example=made_example(model),
    )


@torch.no_grad()
def made_example(model: Model) -> NDArray[Any]:
    """An input `(1, *shape)` that a model takes, made by the model and not taken from somebody's data."""
    made = model.decode(torch.zeros(1, model.latent_dim, device=model.device)).cpu()
    tokens = model.likelihood.spec.support == "categories"
    return made.numpy().astype(np.int64 if tokens else np.float32)
