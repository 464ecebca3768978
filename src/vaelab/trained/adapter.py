"""Convert between files or objects of a user and the values that a model sees."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, ClassVar
from weakref import finalize

import torch
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.core.noise import ExampleNoise
from vaelab.core.spec import DataSpec
from vaelab.data.folders import LEFT_BEHIND, list_folder
from vaelab.data.labels import natural
from vaelab.data.reading import Reading
from vaelab.errors import DataError
from vaelab.notes import note, some

AT_ONCE = 256  # examples per batch


@dataclass(frozen=True)
class Part:
    """Some examples, prepared for a model.

    Attributes:
        count: the number N of examples.
        batches: a function that takes a device and yields batches in order.
        columns: columns that identify each example, with a cell for each, such as `file`.
        stem: the path of files written for these examples, relative to the output folder and without a suffix.
        origin: what an adapter needs in order to return the same kind.
    """

    count: int
    batches: Callable[[torch.device], Iterator[Batch]]
    columns: dict[str, list[Any]]
    stem: Path
    origin: Any = None


class Adapter(ABC):
    """Reads and writes examples of one data kind for one model.

    Args:
        reading: how the examples of the model were read.
    """

    suffixes: ClassVar[tuple[str, ...]]
    """Suffixes of the files that it reads, in lower case."""
    what: ClassVar[str]
    """Name of one such file in messages: `an image`."""
    holds: ClassVar[str]
    """Objects that it takes, described for messages."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    @property
    def spec(self) -> DataSpec:
        """The specification of the examples that the model was trained on."""
        return self.reading.spec

    @cached_property
    def scratch(self) -> Path:
        """A temporary folder for examples that do not fit in memory; removed with this adapter."""
        folder = mkdtemp(prefix="vaelab-")
        finalize(self, rmtree, folder, ignore_errors=True)
        return Path(folder)

    @abstractmethod
    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Read the examples of files, in parts.

        Args:
            files: pairs of a file and its path below the named folder, without the suffix.

        Raises:
            DataError: a file cannot be used; the message names it.
        """

    @abstractmethod
    def take(self, things: Any) -> Part:
        """Prepare examples from objects.

        Raises:
            DataError: the objects are not what the model takes.
        """

    @abstractmethod
    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Convert values `(N, *shape)` on the CPU, as a model returns them, to objects.

        Args:
            values: the values.
            part: the examples they were made from, whose kind, size or index they take; None for new examples.
            drawn: see `write_samples`.
        """

    @abstractmethod
    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write values `(N, *shape)` made from a part, under the names of its files; return the paths."""

    @abstractmethod
    def write_samples(self, folder: Path, values: Tensor, stem: str = "sample", drawn: bool = True) -> list[Path]:
        """Write new examples and an overview of all of them; return the paths, the overview first.

        Args:
            folder: the output folder.
            values: `(N, *shape)`, as a model returns them.
            stem: the start of the file names.
            drawn: whether they are samples. Then numbers of tables stay in the range of the train split and have its
                number of decimals; means of p(x|z) are written unchanged.
        """

    def find(self, paths: Sequence[Path]) -> list[tuple[Path, Path]]:
        """Find the files that paths name, and the files in folders, each with its path below the folder without suffix.

        Two files that differ only in their suffix keep it, so that one does not overwrite the other.

        Raises:
            DataError: a path does not exist, or contains no readable file.
        """
        found: list[tuple[Path, Path]] = []
        for path in paths:
            if path.is_dir():
                listing = list_folder(path)
                files = listing.having(self.suffixes)
                others = [file for file in listing.files if file not in set(files)]
                if not files:
                    lines = "; ".join(listing.skipped(others, self.what)) or "it is empty"
                    raise DataError(f"{path}: contains no {self.what.split(' ', 1)[1]} ({lines})")
                for line in listing.skipped(others, self.what):
                    note(line)
                within = sorted(files, key=lambda file: natural(file.relative_to(path).as_posix()))
                found += [(file, file.relative_to(path)) for file in within]
            elif path.is_file():
                found.append((path, Path(path.name)))
            elif path.is_symlink():
                raise DataError(f"{path}: is a link to {path.readlink()}, which does not exist")
            elif path.exists():
                raise DataError(f"{path}: is neither a file nor a folder")
            else:
                raise DataError(f"{path}: no such file or folder{self._near(path)}")
        return _named_apart(found)

    def _near(self, path: Path) -> str:
        beside = path.parent if path.parent.is_dir() else None
        names = (
            [] if beside is None else [file.name for file in beside.iterdir() if file.name.lower() not in LEFT_BEHIND]
        )
        from vaelab.config.nearest import nearest

        near = nearest(path.name, names)
        return f"; did you mean {path.with_name(near)}?" if near else ""


def _named_apart(found: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Remove the suffixes of names, unless two would become equal.

    Raises:
        DataError: files of several folders have the same name.
    """
    stems = [within.with_suffix("") for _, within in found]
    twice = {stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else set()
    named = [(file, within if stem in twice else stem) for (file, within), stem in zip(found, stems, strict=True)]
    places = [place for _, place in named]
    if len(set(places)) < len(places):
        same = [str(file) for file, place in named if places.count(place) > 1]
        raise DataError(f"{some(same)}: have the same name, so one would overwrite the other; "
                        "name their common folder")  # fmt: skip
    return named


def batch_of(values: Tensor, label: Tensor | None = None, clean: Tensor | None = None) -> Batch:
    """Make a batch of values `(B, *shape)` as a model sees them."""
    label = values.new_full((len(values),), -1, dtype=torch.int64) if label is None else label
    return Batch(values, values, label, values if clean is None else clean, ExampleNoise(0, range(len(values))), 1.0)


def batches_of(values: Tensor) -> Callable[[torch.device], Iterator[Batch]]:
    """Return a function that yields batches of values `(N, *shape)`."""
    return lambda device: (batch_of(part.to(device)) for part in values.split(AT_ONCE))
