"""Rows of encoded images: image files as they lie in folders, Parquet and the hub through `datasets`."""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from vaelab.errors import DataError

SPLITS: dict[str, str] = {"train": "train", "training": "train", "validation": "val", "valid": "val", "val": "val",
          "dev": "val", "test": "test", "testing": "test"}  # fmt: skip
ORDER = ("train", "val", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm")


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
    read: Callable[[str], Iterator[EncodedImage]]  # the rows of a split in their order
    files: tuple[Path, ...] = ()  # of all rows, where each is a file

    def images(self) -> Iterator[EncodedImage]:
        """The rows of all splits in their order; may be asked for again."""
        for split in self.counts:
            yield from self.read(split)


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
        stats = [(f.relative_to(self.path.parent).as_posix(), *_stat(f)) for f in files]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """The same for all ways to write the path."""
        return str(self.path.resolve())

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
            return _table(str(self), "parquet", scratch, data_files={"train": escape(str(self.path))})
        files = sorted(_visible(self.path))
        if not files:
            raise DataError(f"data.path={self.path}: the folder is empty")
        if parquet := [f for f in files if f.suffix == ".parquet"]:
            splits = _parquet_splits(self.path, parquet)
            names = {split: [escape(str(f)) for f in members] for split, members in splits.items()}
            return _table(str(self), "parquet", scratch, data_files=names)
        if images := [f for f in files if f.suffix.lower() in SUFFIXES]:
            return _folder(self.path, images)
        raise DataError(f"data.path={self.path}: holds no image, that is no {', '.join(SUFFIXES)} and no .parquet")

    def files(self) -> tuple[Path, ...]:
        """The image file of each row, in the order of rows; none for Parquet."""
        found = sorted(_visible(self.path)) if self.path.is_dir() else []
        images = [f for f in found if f.suffix.lower() in SUFFIXES]
        return _folder(self.path, images).files if images and not any(f.suffix == ".parquet" for f in found) else ()


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
    def identity(self) -> str:
        """The hub id."""
        return self.hub_id

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
            self._ask()
            return _table(self.hub_id, self.hub_id, scratch)
        except DataError as error:
            raise DataError(
                f"{error} Two ways to get this data: put a copy (image files or Parquet) into {self.copy}, "
                f"or run where the Hugging Face hub can be reached (it is {self.hub_id} there)"
            ) from error

    def _ask(self) -> None:
        """One question to the hub: where it cannot be reached, `datasets` would try again for half a minute."""
        from huggingface_hub import HfApi

        try:
            HfApi().dataset_info(self.hub_id, timeout=10)
        except Exception as error:  # the client's HTTP library, and so the type, differs between its versions
            raise DataError(f"{self.hub_id}: cannot be had from the hub ({_first_line(error)}).") from error


def _visible(folder: Path) -> Iterator[Path]:
    """Files, and links that lead nowhere: a missing image is an error, not one image fewer."""
    for path in folder.rglob("*"):
        shown = not any(part.startswith(".") for part in path.relative_to(folder).parts)
        if shown and (path.is_file() or (path.is_symlink() and not path.exists())):
            yield path


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat() if path.exists() else path.lstat()
    return stat.st_size, stat.st_mtime_ns


def folders_of(files: Sequence[Path], root: Path) -> dict[Path, list[str]]:
    """The folders below `root` that each file lies in, the outermost first, less a first one that names its split."""
    places = {file: list(file.relative_to(root).parts[:-1]) for file in files}
    if all(place and place[0].lower() in SPLITS for place in places.values()):
        return {file: place[1:] for file, place in places.items()}
    return places


def _folder(root: Path, files: list[Path]) -> Table:
    """Image files: the first folder is the split where all first folders name one, the next is the class."""
    places = {file: list(file.relative_to(root).parts[:-1]) for file in files}
    if all(place and place[0].lower() in SPLITS for place in places.values()):
        split = {file: SPLITS[place.pop(0).lower()] for file, place in places.items()}
    else:
        split = dict.fromkeys(files, "train")
    found = sorted({place[0] for place in places.values() if place})
    classes = tuple(found) if len(found) > 1 and all(places.values()) else ()

    def read(wanted: str) -> Iterator[EncodedImage]:
        for file in files:
            if split[file] == wanted:
                yield EncodedImage(_content(file), classes.index(places[file][0]) if classes else -1, str(file))

    counts = {name: list(split.values()).count(name) for name in ORDER if name in split.values()}
    in_order = tuple(file for name in counts for file in files if split[file] == name)
    return Table(_not_empty(str(root), counts), classes, read, in_order)


def _parquet_splits(root: Path, files: list[Path]) -> dict[str, list[Path]]:
    """Files by the split that their names or folders say; all of them train where none says any."""
    words = {f: re.split(r"[-._ /]", f.relative_to(root).as_posix().lower()) for f in files}
    split = {f: next((SPLITS[word] for word in words[f] if word in SPLITS), None) for f in files}
    if not any(split.values()):
        return {"train": files}
    if nameless := [f for f in files if split[f] is None]:
        raise DataError(f"{nameless[0]}: names no split, while other files do; put train, val or test into its name")
    return {name: [f for f in files if split[f] == name] for name in ORDER if name in split.values()}


def _table(shown: str, path: str, scratch: str, **options: Any) -> Table:
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(path, cache_dir=scratch, **options)
    except (DatasetsError, OSError, ValueError) as error:
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        raise DataError(f"{shown}: no images could be read ({_first_line(cause or error)}).") from error
    rows: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    for name, data in loaded.items():
        image = next((column for column, feature in data.features.items() if _holds_images(feature)), None)
        if image is None:
            raise DataError(f"{shown}: has no image column, only {', '.join(data.features)}")
        label = next((c for c, f in data.features.items() if isinstance(f, datasets.ClassLabel)), None)
        classes = tuple(data.features[label].names) if label else classes
        split = SPLITS.get(str(name).lower(), "train" if len(loaded) == 1 else str(name))
        if isinstance(data.features[image], datasets.Image):
            data = data.cast_column(image, datasets.Image(decode=False))
        rows[split] = (data.select_columns([image, label] if label else [image]), image, label)

    def read(split: str) -> Iterator[EncodedImage]:
        data, image, label = rows[split]
        for number, row in enumerate(data):
            cell = {"bytes": row[image]} if isinstance(row[image], bytes) else row[image] or {}
            name = cell.get("path") or f"row {number} of {split} in {shown}"
            content = cell.get("bytes")
            if content is None and cell.get("path"):
                content = _content(Path(cell["path"]))
            yield EncodedImage(content or b"", int(row[label]) if label and row[label] is not None else -1, name)

    return Table(_not_empty(shown, {name: len(rows[name][0]) for name in ORDER if name in rows}), classes, read)


def _holds_images(feature: Any) -> bool:
    """Whether a column is declared as images, or is a struct with bytes or plain bytes as other writers leave it."""
    import datasets

    declared = isinstance(feature, datasets.Image) or (isinstance(feature, dict) and "bytes" in feature)
    return declared or (isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary"))


def _not_empty(shown: str, counts: dict[str, int]) -> dict[str, int]:
    if not sum(counts.values()):
        raise DataError(f"{shown}: holds no image")
    return counts


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); repair or remove it") from error


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A place for `datasets` to keep its Arrow copy while images are decoded, gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="vaelab-", ignore_cleanup_errors=True)
