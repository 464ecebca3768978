"""Figures and texts during training: `progress/<name>/epoch-0005.png`, and the same in every tracker."""

import logging
import re
from io import BytesIO
from math import ceil
from pathlib import Path
from stat import S_ISREG

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from PIL import Image

from vaelab.atomic_write import write_file
from vaelab.notes import note
from vaelab.record.trackers import trackers_among
from vaelab.tasks import Task
from vaelab.tasks.progress import Picture
from vaelab.training.module import TrainingModule

log = logging.getLogger(__name__)

FOLDER = "progress"
LARGEST = 2**24  # bytes of the largest image that is read
_NAME = re.compile(r"epoch-([0-9]{4,9})\.png")
AUTO = 10  # images per name, if the length of the run is known


class TrainingPictures(Callback):
    """Draws figures of the same few examples at the end of some epochs.

    It uses none of the random streams of training. Figures that fail are reported once and left out.

    Args:
        task: decides what is drawn, and how often.
        folder: the run folder.
    """

    def __init__(self, task: Task, folder: Path) -> None:
        self._task, self._folder, self._failed = task, folder, False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw figures, if they are due."""
        epoch = trainer.current_epoch + 1
        last = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
        if not trainer.fast_dev_run and not self._failed and due(epoch, self._task.pictures_every, last):  # type: ignore[attr-defined]
            self._take(trainer, pl_module, epoch)

    @rank_zero_only
    def _take(self, trainer: L.Trainer, module: L.LightningModule, epoch: int) -> None:
        assert isinstance(module, TrainingModule)
        model, data = module.model, trainer.datamodule  # type: ignore[attr-defined]
        modes = {part: part.training for part in model.modules()}
        try:
            model.eval()
            with torch.no_grad(), module.evaluated():
                found = self._task.progress(model, data)
            paths = {}
            for name, picture in found.pictures.items():
                path = self._folder / FOLDER / name / f"epoch-{epoch:04}.png"
                write_file(path, png(picture))
                paths[f"{FOLDER}/{name}"] = path
            for name, text in found.texts.items():
                write_file(self._folder / FOLDER / name / f"epoch-{epoch:04}.txt", text + "\n")
        except Exception as error:  # a failed figure must not end training
            self._failed = True
            log.debug("pictures of training failed", exc_info=True)
            note(f"pictures during training failed and are left out: {type(error).__name__}: {error}")
            return
        finally:
            for part, mode in modes.items():
                part.training = mode
        texts = {f"{FOLDER}/{name}": text for name, text in found.texts.items()}
        for tracker in trackers_among(trainer.loggers):
            tracker.log_pictures(paths, trainer.global_step - 1)
            tracker.log_texts(texts, trainer.global_step - 1)


def due(epoch: int, every: int | str | None, last: int | None) -> bool:
    """Whether figures are drawn at the end of an epoch, counted from 1: after the first, the last, and every n-th.

    Args:
        epoch: the epoch that ends.
        every: n; `auto` draws about ten, or after epochs 1, 2, 4, 8, ... if the last epoch is unknown.
        last: the last epoch of the run, if known.
    """
    if every is None:
        return False
    if every == "auto":
        if last is None:
            return epoch & (epoch - 1) == 0
        every = ceil(last / AUTO)
    return epoch == 1 or epoch == last or epoch % int(every) == 0


def png(picture: Picture) -> bytes:
    """Return a figure, or `(H, W, 1 or 3)` uint8 pixels, as the bytes of a PNG file."""
    buffer = BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(buffer, format="png")
    else:
        Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def films(folder: Path, most: int = 40) -> dict[str, list[tuple[str, bytes]]]:
    """Return the training figures of a run folder by name, oldest first: `("epoch 5", PNG bytes)`.

    If there are more than `most`, they are thinned out evenly, with the first and last kept. A resumed folder may be
    untrusted: entries with other names, that are not files, or that are too large are ignored.
    """
    found = {}
    for place in sorted((folder / FOLDER).glob("*/")):
        paths = {epoch: path for path in place.glob("epoch-*.png") if (epoch := _epoch(path)) is not None}
        epochs = sorted(paths)
        count = min(most, len(epochs))
        chosen = [epochs[round(number * (len(epochs) - 1) / max(1, count - 1))] for number in range(count)]
        found[place.name] = [(f"epoch {epoch}", paths[epoch].read_bytes()) for epoch in chosen]
    return {name: frames for name, frames in found.items() if frames}


def _epoch(path: Path) -> int | None:
    """Return the epoch in the name of an image; None if there is none."""
    named = _NAME.fullmatch(path.name)
    try:
        about = path.stat()
    except OSError:
        return None
    return int(named[1]) if named and S_ISREG(about.st_mode) and about.st_size <= LARGEST else None
