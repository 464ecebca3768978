"""Sources of encoded images: folders of image files; and, read with `datasets`, Parquet files and the hub."""

import hashlib
import json
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

from vaelab.data.folders import Listing, list_folder
from vaelab.data.labels import natural
from vaelab.errors import DataError
from vaelab.notes import counted, some, were

SPLITS: dict[str, str] = {"train": "train", "training": "train", "validation": "val", "valid": "val", "val": "val",
          "dev": "val", "test": "test", "testing": "test"}  # fmt: skip
LABELS = ("label", "labels", "class", "target")  # names of label columns, used if no column is declared as one
MOST_CLASSES = 1000  # distinct values that a label may have
ORDER = ("train", "val", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif", ".jp2",
            ".pgm", ".ppm", ".pbm", ".pnm")  # fmt: skip
MAGIC = re.compile(  # how the contents of image files begin
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM....\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP|....ftypavif|P[1-6]\s",
    re.DOTALL,
)


@dataclass(frozen=True)
class EncodedImage:
    """One image, still encoded.

    Attributes:
        content: the bytes of an image file.
        label: the index of its class; -1 for none.
        name: a name for messages.
        unreadable: why there are no bytes; None if there are some.
    """

    content: bytes
    label: int
    name: str
    unreadable: str | None = None


@dataclass(frozen=True)
class Table:
    """The contents of a source.

    Attributes:
        shown: its name, for messages.
        counts: the number of rows of each split, in the order of the splits.
        classes: the names of the labels.
        read: a function that yields the rows of a split in order.
        notes: lines for the user, such as which files were skipped.
        files: the files of all rows, in the order of splits and rows; empty if rows are not files.
    """

    shown: str
    counts: dict[str, int]
    classes: tuple[str, ...]
    read: Callable[[str], Iterator[EncodedImage]]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def images(self) -> Iterator[EncodedImage]:
        """Yield the rows of all splits in order; may be called again."""
        for split in self.counts:
            yield from self.read(split)


class LocalSource:
    """A folder of image files (subfolders are classes, or splits with classes in them), or Parquet files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def fingerprint(self) -> str:
        """A hash of the names, sizes and modification times of all files; contents are not read."""
        files = [self.path] if self.path.is_file() else self._listing.files
        stats = [(f.relative_to(self.path.parent).as_posix(), *_stat(f)) for f in files]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()

    @cached_property
    def _listing(self) -> Listing:
        return list_folder(self.path)

    @property
    def identity(self) -> str:
        """The absolute path, the same for all ways to write it."""
        return str(self.path.resolve())

    @property
    def home(self) -> Path:
        """The folder of this source, or the folder that contains its file."""
        return self.path if self.path.is_dir() else self.path.parent

    def open(self, scratch: str) -> Table:
        """Read the table of contents; images stay encoded.

        Args:
            scratch: a folder for the copy that `datasets` makes of Parquet files.

        Raises:
            DataError: there is no image, or a Parquet file cannot be read.
        """
        if self.path.is_file():
            if self.path.suffix.lower() != ".parquet":
                raise DataError(f"data.path={self.path}: should be a folder of images or a .parquet file")
            return _table(str(self), "parquet", scratch, None, data_files={"train": escape(str(self.path))})
        listing = self._listing
        if not listing.files:
            raise DataError(f"data.path={self.path}: the folder is empty")
        if parquet := listing.having((".parquet",)):
            splits = _parquet_splits(self.path, parquet)
            names = {split: [escape(str(f)) for f in members] for split, members in splits.items()}
            table = _table(str(self), "parquet", scratch, self.path, data_files=names)
            others = [file for file in listing.files if file not in set(parquet)]
            return replace(table, notes=(*table.notes, *listing.skipped(others, "a Parquet file")))
        images, others = _images(listing)
        if not images:
            lines = "; ".join(listing.skipped(others, "an image"))
            raise DataError(f"data.path={self.path}: holds no image and no .parquet file ({lines})")
        return _folder(listing, images, [*listing.skipped(others, "an image"), *_renamable(listing, others)])

    def files(self) -> tuple[Path, ...]:
        """The image file of each row, in the order of rows; empty for Parquet."""
        if self.path.is_file() or self._listing.having((".parquet",)):
            return ()
        images, _ = _images(self._listing)
        return _folder(self._listing, images, []).files if images else ()


class HubSource:
    """A data set on the Hugging Face hub."""

    def __init__(self, hub_id: str, copy: Path) -> None:
        self.hub_id, self.copy = hub_id, copy

    def __str__(self) -> str:
        return self.hub_id

    @property
    def fingerprint(self) -> str:
        """A hash of the id alone, since a data set of the hub is decoded once and then kept."""
        return hashlib.sha256(self.hub_id.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """The hub id."""
        return self.hub_id

    @property
    def home(self) -> None:
        """None, since it has no folder on this machine."""
        return None

    def open(self, scratch: str) -> Table:
        """Download the data set and read its table of contents.

        Args:
            scratch: a folder for the copy that `datasets` makes.

        Raises:
            DataError: the hub cannot be reached or has no such data set. The message tells two ways to get it.
        """
        with self.explained():
            return _table(self.hub_id, self.hub_id, scratch, Path("/"))  # images lie in its cache

    @contextmanager
    def explained(self, what: str = "image files or Parquet") -> Iterator[None]:
        """A context that first asks the hub for the data set, and adds two ways to get it to the message of an error.

        Args:
            what: the files that a copy should consist of, for the message.

        Raises:
            DataError: the hub cannot be reached, it has no such data set, or the body of the context raised this error.
        """
        try:
            self._ask()
            yield
        except DataError as error:
            raise DataError(
                f"{error} Two ways to get this data: put a copy ({what}) into {self.copy}, "
                f"or run where the Hugging Face hub can be reached (it is {self.hub_id} there)"
            ) from error

    def _ask(self) -> None:
        """Send one request to the hub, because `datasets` would retry for half a minute if it cannot be reached."""
        from huggingface_hub import HfApi

        try:
            HfApi().dataset_info(self.hub_id, timeout=10)
        except Exception as error:  # the type depends on the client's version
            raise DataError(f"{self.hub_id}: cannot be had from the hub ({_first_line(error)}).") from error


def may_be_hub_id(path: str) -> bool:
    """Whether a path has the form `owner/name`."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not path.endswith("/")


def rows_with_columns(source: Path | HubSource, scratch: str) -> tuple[Any, str]:
    """Load all rows and columns of a Parquet file, or of a data set of the hub with its splits concatenated.

    Args:
        source: the Parquet file or the data set.
        scratch: a folder for the copy that `datasets` makes.

    Returns:
        A `datasets.Dataset` whose images stay encoded, and the name of its image column.

    Raises:
        DataError: the source cannot be read, or has no image column.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    local = {"path": "parquet", "data_files": escape(str(source))}
    try:
        loaded = datasets.load_dataset(
            **(local if isinstance(source, Path) else {"path": source.hub_id}), cache_dir=scratch
        )
        rows = datasets.concatenate_datasets(list(loaded.values()))
    except (DatasetsError, OSError, ValueError) as error:
        raise DataError(f"{source}: no images could be read ({_first_line(error)}).") from error
    image = next((column for column, feature in rows.features.items() if _holds_images(feature)), None)
    if image is None:
        raise DataError(f"{source}: has no image column, only {', '.join(rows.features)}")
    if isinstance(rows.features[image], datasets.Image):
        rows = rows.cast_column(image, datasets.Image(decode=False))
    return rows, image


def _images(listing: Listing) -> tuple[list[Path], list[Path]]:
    """Divide files into images and others, by their suffix or, if they have none, by their content.

    A broken link without a suffix counts as an image: it may have been a link to a folder of images.
    """
    images: list[Path] = []
    others: list[Path] = []
    for file in listing.files:
        nameless = not file.suffix and (not file.exists() or _begins_as_image(file))
        (images if file.suffix.lower() in SUFFIXES or nameless else others).append(file)
    return images, others


def _renamable(listing: Listing, others: Sequence[Path]) -> list[str]:
    """A line that names skipped files whose content is an image; empty if there are none."""
    images = [file for file in others if _begins_as_image(file)]
    if not images:
        return []
    hold = "holds an image" if len(images) == 1 else "hold images"
    return [
        f"{listing.root}: {len(images):,} of the skipped files {hold}; rename what should be read: "
        f"{some(listing.relative(images))}"
    ]


def _begins_as_image(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return MAGIC.match(content.read(16)) is not None
    except OSError:
        return False


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat() if path.exists() else path.lstat()
    return stat.st_size, stat.st_mtime_ns


def folders_of(files: Sequence[Path], root: Path) -> dict[Path, list[str]]:
    """The folders between `root` and each file, outermost first.

    If the first folder of every file names a split, it is left out.
    """
    places = {file: list(file.relative_to(root).parts[:-1]) for file in files}
    if all(place and place[0].lower() in SPLITS for place in places.values()):
        return {file: place[1:] for file, place in places.items()}
    return places


def _folder(listing: Listing, files: list[Path], notes: list[str]) -> Table:
    """The table of contents of image files in folders.

    If all top-level folders name splits, they are the splits, and the folders in them are the classes. Else the
    top-level folders are the classes. Images outside the folders of classes have no label.

    Raises:
        DataError: there are images outside the folders of splits.
    """
    root = listing.root
    places = {file: list(file.relative_to(root).parts[:-1]) for file in files}
    first = {place[0] for place in places.values() if place}
    loose = [file for file in files if not places[file]]
    split = dict.fromkeys(files, "train")
    by_split = bool(first) and all(name.lower() in SPLITS for name in first)
    if by_split:
        if loose:
            raise DataError(
                f"{root}: {were(len(loose), 'image')} in no split, beside the folders {', '.join(sorted(first))}; move "
                f"into one of them or remove: {some(listing.relative(loose))}"
            )
        split = {file: SPLITS[place.pop(0).lower()] for file, place in places.items()}
        loose = [file for file in files if not places[file]]
    elif named := sorted(name for name in first if name.lower() in SPLITS):
        notes.append(
            f"{root}: the folders {', '.join(named)} are taken for classes, not for splits, since these are no splits: "
            f"{some(sorted(first - set(named)))}"
        )
    found = sorted({place[0] for place in places.values() if place})
    classes = tuple(found) if len(found) > 1 else ()
    if found and (loose := [file for file in loose if file.exists()]):
        lie = f"{were(len(loose), 'image')} outside the folders of classes and without a label"
        if not classes:
            lie = f"no image has a label, since {were(len(loose), 'image')} outside the only folder, {found[0]}"
        notes.append(f"{root}: {lie}: {some(listing.relative(loose))}")
    notes += _about_classes(listing, files, classes, by_split)

    def read(wanted: str) -> Iterator[EncodedImage]:
        for file in files:
            if split[file] == wanted:
                label = classes.index(places[file][0]) if classes and places[file] else -1
                yield _encoded(file, label, str(file))

    counts = {name: list(split.values()).count(name) for name in ORDER if name in split.values()}
    in_order = tuple(file for name in counts for file in files if split[file] == name)
    return Table(str(root), _not_empty(str(root), counts), classes, read, tuple(notes), in_order)


def _about_classes(listing: Listing, files: list[Path], classes: tuple[str, ...], by_split: bool) -> Iterator[str]:
    """Yield lines about folders of classes without images, and about classes whose names look the same."""
    depth = 2 if by_split else 1
    filled = {parent for file in files for parent in file.parents}
    empty = [f for f in listing.folders if len(f.relative_to(listing.root).parts) <= depth and f not in filled]
    if empty and classes:
        yield f"{listing.root}: no image in {counted(len(empty), 'folder')}: {some(listing.relative(empty))}"
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(unicodedata.normalize("NFC", name).casefold().strip(), []).append(name)
    if groups := [" and ".join(names) for names in alike.values() if len(names) > 1]:
        yield f"{listing.root}: classes whose names look the same are kept apart: {some(groups)}"


def _parquet_splits(root: Path, files: list[Path]) -> dict[str, list[Path]]:
    """Group files by the split that their names or folders contain; all are `train` if none contains one.

    Raises:
        DataError: some files name a split and others do not.
    """
    words = {f: re.split(r"[-._ /]", f.relative_to(root).as_posix().lower()) for f in files}
    split = {f: next((SPLITS[word] for word in words[f] if word in SPLITS), None) for f in files}
    if not any(split.values()):
        return {"train": files}
    if nameless := [f for f in files if split[f] is None]:
        raise DataError(f"{nameless[0]}: names no split, while other files do; put train, val or test into its name")
    return {name: [f for f in files if split[f] == name] for name in ORDER if name in split.values()}


def _table(shown: str, path: str, scratch: str, home: Path | None, **options: Any) -> Table:
    """The table of contents of Parquet files or of a data set of the hub.

    Args:
        shown: the name of the source, for messages.
        path: the first argument of `datasets.load_dataset`.
        scratch: a folder for the copy that `datasets` makes.
        home: the folder from which images may be read if rows hold only their file names; None for no folder.
        options: further arguments of `datasets.load_dataset`.

    Raises:
        DataError: the source cannot be read, or has no image column, no image, or too many distinct labels.
    """
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
    notes: list[str] = []
    for name, data in loaded.items():
        image = next((column for column, feature in data.features.items() if _holds_images(feature)), None)
        if image is None:
            raise DataError(f"{shown}: has no image column, only {', '.join(data.features)}")
        label = next((c for c, f in data.features.items() if isinstance(f, datasets.ClassLabel)), None)
        classes = tuple(data.features[label].names) if label else classes
        if label is None:
            label = next((column for column in LABELS if column in data.features and column != image), None)
            if label is not None:
                data, classes = _as_classes(data, label, shown, classes)
        if ignored := [column for column in data.features if column not in (image, label)]:
            line = f"{shown}: columns that are neither the image nor its label are left out: {some(ignored)}"
            notes += [line] if line not in notes else []
        split = SPLITS.get(str(name).lower(), "train" if len(loaded) == 1 else str(name))
        if isinstance(data.features[image], datasets.Image):
            data = data.cast_column(image, datasets.Image(decode=False))
        rows[split] = (data.select_columns([image, label] if label else [image]), image, label)

    def read(split: str) -> Iterator[EncodedImage]:
        data, image, label = rows[split]
        for number, row in enumerate(data):
            cell = {"bytes": row[image]} if isinstance(row[image], bytes) else row[image] or {}
            name = str(cell.get("path") or f"row {number} of {split} in {shown}")
            content, kind = cell.get("bytes"), int(row[label]) if label and row[label] is not None else -1
            if content is None and cell.get("path"):
                yield _of_file(str(cell["path"]), kind, home)
            else:
                yield EncodedImage(content or b"", kind, name, None if content else "is empty")

    counts = {name: len(rows[name][0]) for name in ORDER if name in rows}
    return Table(shown, _not_empty(shown, counts), classes, read, tuple(notes))


def _as_classes(data: Any, label: str, shown: str, known: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Replace the values of a label column by indices of classes; the classes in `known` come first.

    Raises:
        DataError: there are more than `MOST_CLASSES` classes.
    """
    texts = [None if value is None else str(value) for value in data[label]]
    found = sorted({text for text in texts if text is not None} - set(known), key=natural)
    classes = (*known, *found)
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{shown}: its column {label} has {len(classes):,} distinct values; a label is a class")
    places = {name: place for place, name in enumerate(classes)}
    column = [None if text is None else places[text] for text in texts]
    return data.remove_columns(label).add_column(label, column), classes


def _of_file(path: str, label: int, home: Path | None) -> EncodedImage:
    """Read an image of which a row holds only the file name.

    Only files in `home` are read, because a Parquet file may come from an untrusted source.
    """
    if home is None:
        return EncodedImage(b"", label, path, "is a name of a file, not an image; give the folder that holds both")
    place = home / path
    if not place.resolve().is_relative_to(home.resolve()):
        return EncodedImage(b"", label, path, f"lies outside of {home}, and is not read")
    return _encoded(place, label, path)


def _holds_images(feature: Any) -> bool:
    """Whether a column is declared as images, is a struct with a field `bytes`, or holds plain bytes."""
    import datasets

    declared = isinstance(feature, datasets.Image) or (isinstance(feature, dict) and "bytes" in feature)
    return declared or (isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary"))


def _not_empty(shown: str, counts: dict[str, int]) -> dict[str, int]:
    if not sum(counts.values()):
        raise DataError(f"{shown}: holds no image")
    return counts


def _encoded(path: Path, label: int, name: str) -> EncodedImage:
    try:
        content = path.read_bytes()
    except OSError as error:
        lost = path.is_symlink() and not path.exists()
        return EncodedImage(
            b"", label, name, "is a link that leads nowhere" if lost else f"cannot be read ({error.strerror})"
        )
    return EncodedImage(content, label, name, None if content else "is empty")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for the Arrow copy of `datasets` while images are decoded."""
    return tempfile.TemporaryDirectory(prefix="vaelab-", ignore_cleanup_errors=True)
