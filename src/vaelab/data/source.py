"""Rows of encoded images, read through Hugging Face `datasets`."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.errors import DataError

SPLITS: dict[str, str] = {"train": "train", "training": "train", "validation": "val", "valid": "val", "val": "val",
          "dev": "val", "test": "test", "testing": "test"}  # fmt: skip


@dataclass(frozen=True)
class EncodedImage:
    """One row: the bytes of an image file, its label (-1 for none), and a name for messages."""

    content: bytes
    label: int
    name: str


@dataclass(frozen=True)
class Table:
    """What a source holds: its splits in order, each with a count and its rows, and its classes."""

    counts: dict[str, int]
    classes: tuple[str, ...]
    rows: Any  # split name -> datasets.Dataset

    def images(self, split: str) -> Iterator[EncodedImage]:
        """The rows of a split in their order."""
        data, image, label = self.rows[split]
        for number, row in enumerate(data):
            cell = row[image] or {}
            name = cell.get("path") or f"row {number} of {split}"
            content = cell.get("bytes")
            if content is None and cell.get("path"):
                content = Path(cell["path"]).read_bytes()
            yield EncodedImage(content or b"", int(row[label]) if label and row[label] is not None else -1, name)


class LocalSource:
    """A folder of image files (subfolders are classes, or splits of classes), or Parquet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def fingerprint(self) -> str:
        """Changes when a file is added, removed or written; contents are not read."""
        files = [self.path] if self.path.is_file() else sorted(_visible(self.path))
        stats = [(str(f.relative_to(self.path.parent)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()

    @property
    def home(self) -> Path:
        """The folder that this source lies in or is."""
        return self.path if self.path.is_dir() else self.path.parent

    def open(self, scratch: str) -> Table:
        """Read the table of contents; images stay encoded.

        Raises:
            DataError: there is no image in it.
        """
        if self.path.is_file():
            if self.path.suffix != ".parquet":
                raise DataError(f"data.path={self.path}: should be a folder of images or a .parquet file")
            return _table(str(self), "parquet", scratch, data_files={"train": str(self.path)})
        files = list(_visible(self.path))
        if not files:
            raise DataError(f"data.path={self.path}: the folder is empty")
        if any(f.suffix == ".parquet" for f in files):
            return _table(str(self), str(self.path), scratch)
        return _table(str(self), "imagefolder", scratch, data_dir=str(self.path))


class HubSource:
    """A data set on the Hugging Face hub."""

    def __init__(self, hub_id: str, copy: Path) -> None:
        self.hub_id, self.copy = hub_id, copy

    def __str__(self) -> str:
        return self.hub_id

    @property
    def fingerprint(self) -> str:
        """Of the id alone: a hub set is decoded once and kept."""
        return hashlib.sha256(self.hub_id.encode()).hexdigest()

    @property
    def home(self) -> None:
        """Nowhere on this machine."""
        return None

    def open(self, scratch: str) -> Table:
        """Download the set and read its table of contents.

        Raises:
            DataError: the hub cannot be reached or has no such set; says both ways to get it.
        """
        try:
            return _table(self.hub_id, self.hub_id, scratch)
        except DataError as error:
            raise DataError(
                f"{error} Two ways to get this data: put a copy (image files or Parquet) into {self.copy}, "
                f"or run where the Hugging Face hub can be reached (it is {self.hub_id} there)"
            ) from error


def _visible(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _table(shown: str, path: str, scratch: str, **options: Any) -> Table:
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(path, cache_dir=scratch, **options)
    except (DatasetsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{shown}: no images could be read ({reason}).") from error
    rows: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    for name, data in loaded.items():
        image = next((c for c, f in data.features.items() if isinstance(f, datasets.Image)), None)
        if image is None:
            raise DataError(f"{shown}: has no image column, only {', '.join(data.features)}")
        label = next((c for c, f in data.features.items() if isinstance(f, datasets.ClassLabel)), None)
        classes = tuple(data.features[label].names) if label else classes
        split = SPLITS.get(str(name).lower(), "train" if len(loaded) == 1 else str(name))
        rows[split] = (data.cast_column(image, datasets.Image(decode=False)), image, label)
    if "train" not in rows:
        raise DataError(f"{shown}: has no train split, only {', '.join(rows)}")
    counts: dict[str, int] = {name: len(rows[name][0]) for name in ("train", "val", "test") if name in rows}
    if not sum(counts.values()):
        raise DataError(f"{shown}: holds no image")
    return Table(counts, classes, rows)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A place for `datasets` to keep its Arrow copy while images are decoded, gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="vaelab-", ignore_cleanup_errors=True)
