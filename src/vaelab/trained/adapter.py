"""Between what people hold, files and objects, and the values that a model sees."""

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

AT_ONCE = 256  # examples that a model sees at once


@dataclass(frozen=True)
class Part:
    """Some examples, ready for a model.

    Attributes:
        count: N of them.
        batches: called with a device, yields them in order.
        columns: what names each example, as columns of a table with a cell for each, such as `file`.
        stem: of files that are written for these examples: a path without a suffix, relative to the folder.
        origin: what an adapter needs to give the same kind back.
    """

    count: int
    batches: Callable[[torch.device], Iterator[Batch]]
    columns: dict[str, list[Any]]
    stem: Path
    origin: Any = None


class Adapter(ABC):
    """Reads and writes examples of one kind for one model.

    Args:
        reading: how the model's examples were read.
    """

    suffixes: ClassVar[tuple[str, ...]]
    """Of files that it reads, in lower case."""
    what: ClassVar[str]
    """One such file, for messages: `an image`."""
    holds: ClassVar[str]
    """Objects that it takes, for messages."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    @property
    def spec(self) -> DataSpec:
        """Of the examples that the model was trained on."""
        return self.reading.spec

    @cached_property
    def scratch(self) -> Path:
        """A folder for examples that are too many for memory; gone with this adapter."""
        folder = mkdtemp(prefix="vaelab-")
        finalize(self, rmtree, folder, ignore_errors=True)
        return Path(folder)

    @abstractmethod
    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Examples of files, some at a time.

        Args:
            files: each with its path below the folder that was named, without its suffix.

        Raises:
            DataError: names the file that cannot be used.
        """

    @abstractmethod
    def take(self, things: Any) -> Part:
        """Examples of objects.

        Raises:
            DataError: says what does not fit.
        """

    @abstractmethod
    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Objects of values `(N, *shape)` on the CPU, as a model gives them.

        Args:
            values: of a model.
            part: what they were made of, whose kind, size or index they take; None for new ones.
            drawn: see `write_samples`.
        """

    @abstractmethod
    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write values `(N, *shape)` that were made of a part, under the names of its files; returns the paths."""

    @abstractmethod
    def write_samples(self, folder: Path, values: Tensor, stem: str = "sample", drawn: bool = True) -> list[Path]:
        """Write new examples, and what shows all of them at once; returns the paths, the latter first.

        Args:
            folder: that they are written to.
            values: `(N, *shape)`, as a model gives them.
            stem: of the names of files.
            drawn: whether they were drawn, so that numbers of tables are within the range of train, with as many
                decimals; means of p(x|z) are written as they are.
        """

    def find(self, paths: Sequence[Path]) -> list[tuple[Path, Path]]:
        """Files that paths name, and those in folders, each with its path below the folder without its suffix.

        Two files that differ only in their suffix keep it, so that none is written in the place of another.

        Raises:
            DataError: a path is not there, or holds no file that can be read.
        """
        found: list[tuple[Path, Path]] = []
        for path in paths:
            if path.is_dir():
                listing = list_folder(path)
                files = listing.having(self.suffixes)
                others = [file for file in listing.files if file not in set(files)]
                if not files:
                    lines = "; ".join(listing.skipped(others, self.what)) or "it is empty"
                    raise DataError(f"{path}: holds no {self.what.split(' ', 1)[1]} ({lines})")
                for line in listing.skipped(others, self.what):
                    note(line)
                within = sorted(files, key=lambda file: natural(file.relative_to(path).as_posix()))
                found += [(file, file.relative_to(path)) for file in within]
            elif path.is_file():
                found.append((path, Path(path.name)))
            elif path.is_symlink():
                raise DataError(f"{path}: is a link to {path.readlink()}, which is not there")
            elif path.exists():
                raise DataError(f"{path}: is no file or folder")
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
    """Names without their suffixes, where no two are the same then.

    Raises:
        DataError: files of several folders have the same name.
    """
    stems = [within.with_suffix("") for _, within in found]
    twice = {stem for stem in stems if stems.count(stem) > 1} if len(set(stems)) < len(stems) else set()
    named = [(file, within if stem in twice else stem) for (file, within), stem in zip(found, stems, strict=True)]
    places = [place for _, place in named]
    if len(set(places)) < len(places):
        same = [str(file) for file, place in named if places.count(place) > 1]
        raise DataError(f"{some(same)}: have the same name, so that one would be written in the place of the other; "
                        "name their common folder")  # fmt: skip
    return named


def batch_of(values: Tensor, label: Tensor | None = None, clean: Tensor | None = None) -> Batch:
    """Values `(B, *shape)` as a model sees them."""
    label = values.new_full((len(values),), -1, dtype=torch.int64) if label is None else label
    return Batch(values, values, label, values if clean is None else clean, ExampleNoise(0, range(len(values))), 1.0)


def batches_of(values: Tensor) -> Callable[[torch.device], Iterator[Batch]]:
    """The same of many."""
    return lambda device: (batch_of(part.to(device)) for part in values.split(AT_ONCE))
