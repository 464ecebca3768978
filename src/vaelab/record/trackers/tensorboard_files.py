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

CODE = re.compile(r"z_?\d+(_\d+)*")  # the name of a column of codes
PROJECTED = 10_000  # largest number of codes in the embedding projector


class TensorBoardTracker(Tracker, TensorBoardLogger):
    """Curves and figures, and final numbers with the config under HParams."""

    def __init__(self, output_dir: str) -> None:
        Tracker.__init__(self, "TensorBoard", patience=None)
        TensorBoardLogger.__init__(self, save_dir=output_dir, name="tensorboard", version="", default_hp_metric=False)
        self._config: dict[str, Any] = {}

    def begin(self) -> None:
        """Collect errors of TensorBoard's own thread, which are reported in one line at the end, as for any tracker."""
        if not getattr(threading.excepthook, "quiet", False):
            threading.excepthook = _without_writers(threading.excepthook)

    def send_config(self, config: dict[str, Any]) -> None:
        """Write the config as `hparams.yaml`."""
        self._config = config
        TensorBoardLogger.log_hyperparams(self, config)
        TensorBoardLogger.save(self)

    def send_numbers(self, rows: list[Row]) -> None:
        """Write numbers as scalars."""
        for row in rows:
            for name, value in row.numbers.items():
                self.experiment.add_scalar(name, value, row.step, walltime=row.time)

    def send_finals(self, numbers: dict[str, float], step: int) -> None:
        """Do nothing: `send_summary` writes them under HParams, to avoid curves with a single point."""

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
        """Write texts, each line literally."""
        for name, text in texts.items():
            lines = [f"    {line}" for line in text.splitlines()]  # Markdown shows indented lines as they are
            self.experiment.add_text(name, "\n".join(lines), step)

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Write latents for the embedding projector; TensorBoard does not support other tables."""
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
            if labels is not None and len(about) == 1:  # TensorBoard expects a single column without a header
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
        """Write final numbers as `final/<name>` under HParams, since a curve has no summary value."""
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
    """Show errors that end a thread, except those of TensorBoard's writer, which the next write raises again."""

    def quiet(ended: threading.ExceptHookArgs) -> None:
        if type(ended.thread).__name__ != "_AsyncWriterThread":
            show(ended)

    quiet.quiet = True  # type: ignore[attr-defined]
    return quiet


@target
def tensorboard(output_dir: str, examples: bool) -> TensorBoardTracker:
    """Make the TensorBoard tracker, with files in `<output_dir>/tensorboard`.

    Args:
        examples: write figures, texts and tables, which may show examples of your data.
    """
    try:
        tracker = TensorBoardTracker(output_dir)
        tracker.examples = examples
        return tracker
    except ModuleNotFoundError as error:
        raise ConfigError("needs TensorBoard: pip install tensorboard") from error
