"""TensorBoard, in the run folder."""

import re
import threading
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from vaelab.config.targets import target
from vaelab.errors import ConfigError
from vaelab.record.trackers.contents import Histogram, Row
from vaelab.record.trackers.table_rows import first_rows
from vaelab.record.trackers.tracker import Status, Tracker, flat

CODE = re.compile(r"z_?\d+(_\d+)*")  # a column of a code
PROJECTED = 10_000  # codes in the embedding projector, at most


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

    def send_finals(self, numbers: dict[str, float], step: int) -> None:
        """Nothing: `send_summary` puts them under HParams, where they make no curve of a single point."""

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """As images."""
        for name, path in pictures.items():
            with Image.open(path) as image:
                self.experiment.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def send_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """As audio."""
        for name, path in sounds.items():
            with wave.open(str(path)) as file:
                samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32) / 2**15
                self.experiment.add_audio(name, torch.from_numpy(samples), step, file.getframerate())

    def send_texts(self, texts: Mapping[str, str], step: int) -> None:
        """As texts, each line as it is."""
        for name, text in texts.items():
            lines = [f"    {line}" for line in text.splitlines()]  # Markdown shows indented lines as they are
            self.experiment.add_text(name, "\n".join(lines), step)

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Latents for the embedding projector; TensorBoard has no place for other tables."""
        for name, path in tables.items():
            found = first_rows(path, PROJECTED)
            columns, rows = found.columns, found.rows
            places = [place for place, column in enumerate(columns) if CODE.fullmatch(column)]
            about = [place for place in range(len(columns)) if place not in places]
            if not name.startswith("tables/latents/") or not places or not rows:
                continue
            codes = np.array([[row[place] for place in places] for row in rows], dtype=np.float32)
            labels = [[str(row[place]) for place in about] for row in rows] if about else None
            head = [columns[place] for place in about] if about else None
            if labels is not None and len(about) == 1:  # TensorBoard wants one column without a head
                labels, head = [row[0] for row in labels], None  # type: ignore[misc]
            self.experiment.add_embedding(codes, labels, global_step=step, tag=name, metadata_header=head)

    def send_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """As histograms."""
        for name, one in histograms.items():
            middles = (one.edges[:-1] + one.edges[1:]) / 2
            self.experiment.add_histogram_raw(
                name, float(one.edges[0]), float(one.edges[-1]), int(one.counts.sum()),
                float((one.counts * middles).sum()), float((one.counts * middles**2).sum()),
                one.edges[1:].tolist(), one.counts.tolist(), step,
            )  # fmt: skip

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
def tensorboard(output_dir: str, examples: bool) -> TensorBoardTracker:
    """TensorBoard, its files under `<output_dir>/tensorboard`.

    Args:
        examples: write what shows examples of your data.
    """
    try:
        tracker = TensorBoardTracker(output_dir)
        tracker.examples = examples
        return tracker
    except ModuleNotFoundError as error:
        raise ConfigError("needs TensorBoard: pip install tensorboard") from error
