"""Multivariate time series of fixed or variable length, such as electrocardiograms."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Unpack

import numpy as np
import torch
from annotated_types import Gt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.csv_text import csv_text
from vaelab.data.examples import Examples
from vaelab.data.labels import natural
from vaelab.data.module import DataModule, DataSettings
from vaelab.data.preparation import missing_as_trained, read_preparation, recorded_data
from vaelab.data.scaling import Method
from vaelab.data.scratch import Scratch
from vaelab.data.series.format import AT_ONCE, SeriesFormat
from vaelab.data.series.recordings import ORDER, Form, Layout, Reading, Recording, read_recordings
from vaelab.data.series.windows import WindowLabel, blocks, label_of, occurrences, starts
from vaelab.data.tables.extremes import FAR, SQUARABLE
from vaelab.data.tables.files import stem_of
from vaelab.data.tables.table import MOST_CLASSES
from vaelab.errors import ConfigError, DataError
from vaelab.figures.series import panels
from vaelab.notes import note

FORMAT_FILE, PLACES_FILE = "series.json", "examples.csv"
MOST_LINES = 100_000  # of a CSV file of generated series; the .npy file beside it has all


class Piece(NamedTuple):
    """An example: where it was cut from."""

    values: NDArray[Any]  # (C, steps)
    source: str
    first: int
    split: str
    label: str | None
    place: Mapping[str, str | int]  # as columns of a CSV file


class Series(DataModule):
    """Series as `(C, T)`, NaN where a value is missing and after the end of one shorter than the longest.

    Sources: a .npy file of all series; a folder of tables, each a series with a column per channel, and subfolders for
    classes or splits; a Parquet file with columns of lists, each row a series and each such column a channel; with
    `form=rows`, a table whose rows are series of one channel; and with `window`, long recordings that are cut into
    windows. Recordings are split by time: the first part of each is train, the last part is test, and no step is in two
    splits. Each channel is scaled with statistics of the train split.

    Args:
        path: see above; CSV, TSV, Parquet or .npy.
        data_dir: a folder in which relative paths are searched too.
        form: whether the rows of a table are `steps`, or whole series (`rows`).
        layout: the order of the last dimensions of a .npy file; null means `channels_first` if there are no more
            channels than steps, and is an error otherwise.
        labels: a .npy file of labels, one for each series or for each step of one recording.
        label: a column of classes, by name or index; labels of steps become the label of a series by `window_label`.
        time: a column of ascending times.
        drop: columns to leave out.
        window, stride: the length of windows and the distance between their starts, in steps.
        window_label: the label of a window: `rarest`, the label of its steps that is rarest in all data, or
            `commonest`, the most frequent label of its steps.
        header: whether CSV files begin with names; null decides by whether the first line has only numbers.
        scaling: the scaling of each channel; see `Scaling`.
        encoding: the encoding of CSV files.
        name: the name of the data set; that of the file if null.
        batch_size, val_fraction, test_fraction, split_seed, seed, normal, corruption: see `DataModule`. For
            recordings that are cut, the fractions are fractions of time.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        form: Form,
        layout: Layout | None,
        labels: str | None,
        label: str | int | None,
        time: str | int | None,
        drop: Sequence[str | int],
        window: Annotated[int, Gt(0)] | None,
        stride: Annotated[int, Gt(0)] | None,
        window_label: WindowLabel,
        header: bool | None,
        scaling: Method,
        encoding: str,
        name: str | None,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize=None, normal=normal, **settings)
        if not path:
            raise ConfigError("data.path needs a .npy, .csv or .parquet file, or a folder of tables")
        if stride is not None and window is None:
            raise ConfigError(f"data.stride={stride}: goes with data.window=<steps>")
        self.path, self.data_dir = path, Path(data_dir)
        self.name: str = name or stem_of(Path(path))
        self.window, self.stride, self.window_label = window, stride or window, window_label
        self.scaling: Method = scaling
        self._labels = labels
        self._run: Path | None = None  # whose model the series are prepared for
        self._occurrences: Counter[str] = Counter()  # of the labels of steps, which say what is rare
        labels = None if labels is None else str(self._place("labels", labels))
        self._reading = Reading(form, layout, labels, label, time, tuple(drop), header, encoding, window is not None)
        self._channels: tuple[str, ...] = ()
        self._pieces: list[tuple[str, int, Mapping[str, str | int]]] = []  # source, first step and place of each
        self._values: list[NDArray[Any]] = []  # of the pieces, `(C, steps)` each, until they are scaled
        self._scratch = Scratch(self.data_dir / ".vaelab")
        self._format: SeriesFormat | None = None
        self._trained_missing: bool | None = None  # of the model that the series are prepared for
        self.times: Any = None  # of the steps of a single table, an Arrow array `(T,)`; None without a time column

    def prepare_as(self, folder: Path) -> None:
        """With the channels and scales of a trained model."""
        super().prepare_as(folder)
        read = read_preparation(
            folder / FORMAT_FILE,
            lambda about: (
                SeriesFormat.from_json(about),
                bool(about["gaps"]),
                Counter(about.get("labelled_steps", {})),
            ),
        )
        if read is not None:
            self._format, self._trained_missing, self._occurrences = read
        self._run = folder.parent

    def _place(self, key: str, path: str) -> Path:
        for place in (Path(path).expanduser(), self.data_dir / path):
            if place.exists():
                return place
        raise DataError(f"data.{key}={path}: no such file or folder, neither here nor in {self.data_dir}")

    def load(self) -> Examples:
        """Read all series; they are neither scaled nor one tensor yet."""
        how = self._reading_of_later() if self.all_as_test else self._reading
        self._channels, recordings = read_recordings(self._place("path", self.path), how)
        if how.later and how.label is not None and not any(recording.labels for recording in recordings):
            note(f"{self.path} has no column {how.label}, so its series have no labels")
        self.times = recordings[0].times if self.all_as_test and len(recordings) == 1 else None
        if self.window is None and len(recordings) == 1 and not self.all_as_test:
            raise ConfigError(
                f"data.path={self.path}: contains one series of {recordings[0].values.shape[1]} steps; cut it with "
                "data.window=<steps>, or set data.form=rows if each row is a series"
            )
        if not (self.all_as_test and self._occurrences):
            self._occurrences = occurrences(recording.labels for recording in recordings)
        pieces = self._cut(recordings) if self.window is not None else self._whole(recordings)
        for piece in pieces:
            _refuse_far(piece.values, SQUARABLE, self._channels, piece.source, piece.first)
        self._pieces = [(piece.source, piece.first, piece.place) for piece in pieces]
        self._values = [piece.values for piece in pieces]
        label, classes = _classes([piece.label for piece in pieces])
        shape = (len(self._channels), self._steps(pieces))
        spec = DataSpec(self.name, "series", shape, "real", classes=classes)
        parts = _parts([piece.split for piece in pieces])
        return Examples(torch.zeros(len(pieces), 1, dtype=torch.uint8), label, spec, parts)

    def _reading_of_later(self) -> Reading:
        """Labels, and columns that the run left out, may be missing; other columns than the model's are left out."""
        how = replace(self._reading, later=True, classes=self._trained.classes if self._trained else ())
        if self._format is not None:
            steps = how.form == "steps"
            how = replace(how, known=self._format.channels, channels=self._format.channels if steps else ())
        recorded = recorded_data(self._run) if self._run else {}
        if self._labels is not None and recorded.get("labels") == self._labels and recorded.get("path") != self.path:
            note(
                f"data.labels={self._labels}: belong to the run's own series, and are not used for {self.path}; "
                "name its own labels with data.labels=<.npy>"
            )
            how = replace(how, labels=None)
        return how

    def _steps(self, pieces: list[Piece]) -> int:
        """Of an example: as many as the longest has, or those of the model's.

        Raises:
            DataError: a series is longer than the model's; names it.
        """
        longest = max(pieces, key=lambda piece: piece.values.shape[1])
        steps = longest.values.shape[1]
        if self._trained is None or self.window is not None:
            return steps
        known = self._trained.shape[-1]
        if steps > known:
            raise DataError(
                f"{longest.source}: has {steps} steps, more than the {known} of the longest series that the model was "
                "trained on; cut it"
            )
        shortest = min(pieces, key=lambda piece: piece.values.shape[1])
        if not self._trained.has_missing and shortest.values.shape[1] < known:
            raise DataError(
                f"{shortest.source}: has {shortest.values.shape[1]} steps; the model was trained on series of {known}, "
                "none of them shorter"
            )
        return known

    def _whole(self, recordings: list[Recording]) -> list[Piece]:
        for recording in recordings:
            if np.isnan(recording.values).all():
                raise DataError(f"{recording.source}: holds no value")
        return [
            Piece(r.values, r.source, 0, r.split, label_of(r.labels, self.window_label, self._occurrences), r.place)
            for r in recordings
        ]

    def _cut(self, recordings: list[Recording]) -> list[Piece]:
        """Windows of all recordings, those of train first; windows without any value are left out."""
        window, stride = self.window or 0, self.stride or 0
        own = {recording.split for recording in recordings}
        found: list[Piece] = []
        for recording in recordings:
            steps = recording.values.shape[1]
            if steps < window:
                raise DataError(f"{recording.source}: has {steps} steps, fewer than data.window={window}")
            parts = {recording.split: range(steps)}
            if recording.split == "train" and not self.all_as_test:
                fractions = ("val" not in own) * self.val_fraction, ("test" not in own) * self.test_fraction
                parts = blocks(steps, *fractions)
            for split, block in parts.items():
                for first in starts(block, window, stride, to_the_end=self.all_as_test):
                    values = recording.values[:, first : first + window]
                    if not np.isnan(values).all():
                        of = recording.labels[first : first + window] if len(recording.labels) > 1 else recording.labels
                        label = label_of(of, self.window_label, self._occurrences)
                        place = {**recording.place, "first_step": first}
                        found.append(Piece(values, recording.source, first, split, label, place))
        if self.all_as_test and not found:
            raise DataError(f"data.path={self.path}: holds no value")
        lacking = [split for split in ORDER if split not in {piece.split for piece in found}]
        if lacking and not self.all_as_test:
            raise DataError(
                f"data.window={window}: no window lies within the {lacking[0]} part of a recording; use a shorter "
                f"window or a larger data.{lacking[0]}_fraction"
                if lacking[0] != "train"
                else f"data.window={window}: the train part of a recording has no window with a value"
            )
        return sorted(found, key=lambda piece: ORDER.index(piece.split))

    def fitted(self, examples: Examples, train: Tensor) -> Examples:
        """Scale each channel by what train has, or as a trained model's were."""
        old, series, self._values = examples.spec, self._values, []
        if self._format is None:
            steps = (
                np.concatenate([series[row][channel] for row in train.tolist()], dtype=np.float64)
                for channel in range(len(self._channels))
            )
            self._format = SeriesFormat.fit(self._channels, steps, self.scaling)
        elif sorted(self._format.channels) == sorted(self._channels):
            order = [self._channels.index(name) for name in self._format.channels]
            series = series if order == sorted(order) else [values[order] for values in series]
        else:
            raise DataError(
                f"{self.path}: has the channels {', '.join(self._channels)}; the model was trained on "
                f"{', '.join(self._format.channels)}"
            )
        how, at_once = self._format, max(1, AT_ONCE // prod(old.shape))
        blocks = range(0, len(series), at_once)
        encoded = (self._encoded(series[first : first + at_once], old.shape, how, first) for first in blocks)
        values, file = self._scratch.kept(encoded, (len(series), *old.shape), np.float32, self.storage)
        gaps = missing_as_trained(values, self._trained_missing)
        spec = DataSpec(old.name, old.kind, old.shape, old.support, classes=old.classes, has_missing=gaps)
        return Examples(values, examples.label, spec, examples.splits, file)

    def _encoded(
        self, series: Sequence[NDArray[Any]], shape: tuple[int, ...], how: SeriesFormat, first: int
    ) -> NDArray[np.float32]:
        """Some series, `(n, *shape)`, as a model sees them."""
        raw = _padded(series, shape)
        encoded = how.encode(raw).numpy()
        for number in np.unique(np.argwhere(np.abs(encoded) > FAR)[:, 0]):
            source, begin, _ = self._pieces[first + number]
            far = np.where(np.abs(encoded[number]) > FAR, raw[number].numpy(), 0.0)
            _refuse_far(far, 0.0, how.channels, source, begin)
        return encoded

    @property
    def format(self) -> SeriesFormat:
        """How series are scaled; after `setup`."""
        if self._format is None:
            raise RuntimeError("call setup() before asking for the format")
        return self._format

    def restore(self, values: Tensor) -> Tensor:
        """`(N, C, T)` as a model sees or gives them, to the units of the files; float64."""
        return self.format.decode(values.cpu())

    def written(self, stem: str, values: Tensor, generated: bool = True) -> dict[str, bytes | str]:
        """All series as `<stem>.npy`, `(N, C, T)`, and the first as `<stem>.csv` with a row for each step."""
        restored, binary = self.restore(values).numpy(), BytesIO()
        np.save(binary, restored.astype(np.float32))
        return {f"{stem}.npy": binary.getvalue(), f"{stem}.csv": self._csv(restored)}

    def _csv(self, series: NDArray[np.float64]) -> str:
        rows = (
            [number, step, *(None if np.isnan(value) else f"{value:.7g}" for value in row)]
            for number, one in enumerate(series[: max(1, MOST_LINES // series.shape[2])])
            for step, row in enumerate(one.T[: _length(one)])
        )
        return csv_text(["example", "step", *self.format.channels], rows)

    def pictures(self, name: str, values: Tensor) -> dict[str, Figure]:
        """The series as lines, in the units of the files."""
        return {name: panels({name: self.restore(values).numpy()}, self.format.channels)}

    def compared(
        self, name: str, versions: Mapping[str, Tensor], titles: Sequence[str] = (), step_scores: Tensor | None = None
    ) -> dict[str, Figure]:
        """See `DataModule.compared`."""
        restored = {version: self.restore(values).numpy() for version, values in versions.items()}
        below = None if step_scores is None else step_scores.cpu().numpy()
        return {name: panels(restored, self.format.channels, titles, below)}

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """See `DataModule.origins`: `file`; `row` of a .npy file or where rows are series; of windows `first_step`."""
        places = [self._pieces[row][2] for row in rows.tolist()]
        return {name: [place.get(name) for place in places] for name in (places[0] if places else ())}

    def reading(self) -> dict[str, Any] | None:
        """See `DataModule.reading`; channels and scales are in `series.json`."""
        how = self._reading
        own = {"form": how.form, "layout": how.layout, "label": how.label, "time": how.time, "drop": list(how.drop)}
        cut = {"window": self.window, "stride": self.stride if self.window else None}
        return {"reader": "series", "header": how.header, "encoding": how.encoding} | own | cut

    def files(self) -> dict[str, bytes | str]:
        """How new series are to be scaled, and where each example comes from."""
        split = {row: name for name, rows in self.split.items() for row in rows.tolist()}
        rows = ([row, split[row], *self._pieces[row][:2]] for row in sorted(split))
        about = {"gaps": self.spec.has_missing, "labelled_steps": dict(self._occurrences)}
        return {
            f"model/{FORMAT_FILE}": json.dumps(self.format.to_json() | about) + "\n",
            PLACES_FILE: csv_text(["example", "split", "source", "first_step"], rows),
        }


def _length(series: NDArray[np.float64]) -> int:
    """Steps of `(C, T)` up to the last that holds a value."""
    observed = np.flatnonzero(~np.isnan(series).all(0))
    return int(observed.max()) + 1 if len(observed) else 0


def _refuse_far(values: NDArray[Any], most: float, channels: Sequence[str], source: str, first: int) -> None:
    """Refuse a value, of a series `(C, T)`, that no network can compute with.

    Raises:
        DataError: one is infinite, or larger than `most` whatever its sign.
    """
    if values.dtype.kind != "f":
        return
    far = np.isinf(values) | (np.abs(values) > min(most, float(np.finfo(values.dtype).max)))
    if far.any():
        channel, step = (int(index) for index in np.argwhere(far)[0])
        value = float(values[channel, step])
        what = (
            "has an infinite value"
            if np.isinf(value)
            else f"{value:.6g} is too far from all other values to compute with"
        )
        raise DataError(
            f"{source}: {what}, channel {channels[channel]}, step {first + step}; correct it or leave it empty"
        )


def _padded(series: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> Tensor:
    """Of one shape, `(n, *shape)` float64, NaN after their ends."""
    values = np.full((len(series), *shape), np.nan)
    for row, one in zip(values, series, strict=True):
        row[:, : one.shape[1]] = one
    return torch.from_numpy(values)


def _parts(splits: list[str]) -> dict[str, range]:
    """Rows of each split that there is; they stand in order."""
    found, first = {}, 0
    for split in ORDER:
        if count := splits.count(split):
            found[split] = range(first, first + count)
            first += count
    return found


def _classes(labels: list[str | None]) -> tuple[Tensor, tuple[str, ...]]:
    """Numbers of labels, -1 for none, and their names."""
    classes = sorted({label for label in labels if label is not None}, key=natural)
    if len(classes) > MOST_CLASSES:
        raise ConfigError(f"data.label: has {len(classes)} distinct values; a label is a class")
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([-1 if label is None else numbers[label] for label in labels]), tuple(classes)
