"""TensorBoard, in the run folder."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from vaelab.config.targets import target
from vaelab.errors import ConfigError
from vaelab.record.trackers.tracker import Row, Status, Tracker, flat


class TensorBoardTracker(Tracker, TensorBoardLogger):
    """Curves, pictures, and final numbers beside the config under HParams."""

    def __init__(self, output_dir: str) -> None:
        Tracker.__init__(self, "TensorBoard", patience=None)
        TensorBoardLogger.__init__(self, save_dir=output_dir, name="tensorboard", version="", default_hp_metric=False)
        self._config: dict[str, Any] = {}

    def begin(self) -> None:
        """Have errors of TensorBoard's own thread told in one line at the end, as those of any tracker."""
        if not getattr(threading.excepthook, "quiet", False):
            threading.excepthook = _without_writers(threading.excepthook)

    def send_config(self, config: dict[str, Any]) -> None:
        """As `hparams.yaml`."""
        self._config = config
        TensorBoardLogger.log_hyperparams(self, config)
        TensorBoardLogger.save(self)

    def send_numbers(self, rows: list[Row]) -> None:
        """As scalars."""
        for row in rows:
            for name, value in row.numbers.items():
                self.experiment.add_scalar(name, value, row.step, walltime=row.time)

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """As images."""
        for name, path in pictures.items():
            with Image.open(path) as image:
                self.experiment.add_image(f"figures/{name}", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        """As `final/<name>` under HParams: a curve has no value of its own beside its last one."""
        from torch.utils.tensorboard.summary import hparams

        final = {f"final/{name}": value for name, value in numbers.items()}
        self.send_numbers([Row(final, step, time())])
        writer = self.experiment._get_file_writer()
        config = {name: value if isinstance(value, int | float) else str(value) for name, value in flat(self._config)}
        for part in hparams(config, final):
            writer.add_summary(part, step)

    def flush(self) -> None:
        """Write events."""
        self.experiment.flush()

    def end(self, status: Status) -> None:
        """Close the file."""
        TensorBoardLogger.finalize(self, "success" if status == "finished" else "failed")


def _without_writers(show: Callable[[threading.ExceptHookArgs], Any]) -> Callable[[threading.ExceptHookArgs], Any]:
    """Show what ends a thread, unless TensorBoard's writer: the next attempt to write raises that error again."""

    def quiet(ended: threading.ExceptHookArgs) -> None:
        if type(ended.thread).__name__ != "_AsyncWriterThread":
            show(ended)

    quiet.quiet = True  # type: ignore[attr-defined]
    return quiet


@target
def tensorboard(output_dir: str) -> TensorBoardTracker:
    """TensorBoard, its files under `<output_dir>/tensorboard`."""
    try:
        return TensorBoardTracker(output_dir)
    except ModuleNotFoundError as error:
        raise ConfigError("needs TensorBoard: pip install tensorboard") from error
