"""Texts of plain files, JSONL, tables and the hub, each with the label that stands beside it, a few at a time."""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from vaelab.config.nearest import did_you_mean
from vaelab.data.folders import files_of
from vaelab.data.images.source import SPLITS
from vaelab.data.scratch import Scratch
from vaelab.data.storage import Storage, belongs_on_disk
from vaelab.data.tables.delimited import TableReading
from vaelab.data.tables.files import memory_needed, read_hub, read_tables, refuse_all
from vaelab.errors import ConfigError, DataError

PLAIN, JSONL, TABLES = (".txt", ".text", ".md"), (".jsonl", ".ndjson"), (".csv", ".tsv", ".parquet")
SUFFIXES = PLAIN + JSONL + TABLES
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins
AT_ONCE = 2**20  # bytes of a file
PER_BYTE = 3  # bytes of memory for each of a text, about: itself, and two for its tokens
ROWS = 8_192  # of a table

# To be read from, with line feeds at the ends of lines; its label; and its line or row in its source.
Document = tuple[TextIO, str | None, int]


@dataclass(frozen=True)
class Texts:
    """Texts of a split in their order, read anew from where they lie whenever they are asked for.

    Attributes:
        sources: each gives its documents: a plain file as a whole, or one row after the other of anything else.
        names: of the files that they are, relative to where they were looked for; empty for a set of the hub.
        numbered: what the numbers of each source's documents, or of the lines of a plain file, count: lines from 1 or
            rows from 0.
        rows: whether documents are rows, of which each is one text, rather than files of many lines.
        labelled: whether rows have labels.
        large: whether they are more than memory should hold.
    """

    sources: Sequence[Callable[[], Iterator[Document]]]
    names: Sequence[str]
    numbered: Sequence[Literal["line", "row"]]
    rows: bool
    labelled: bool
    large: bool

    def documents(self) -> Iterator[tuple[int, Document]]:
        """One after the other with the number of its source; each is to be read before the next is asked for."""
        for number, source in enumerate(self.sources):
            for document in source():
                yield number, document

    def whole(self, source: int, number: int) -> bool:
        """Whether a document is a plain file, and no line or row of one."""
        return self.numbered[source] == "line" and number == 0

    @property
    def blank(self) -> bool:
        """Whether there is nothing but blanks."""
        return not any(
            part.strip() for _, (text, *_) in self.documents() for part in iter(partial(text.read, AT_ONCE), "")
        )


def read_texts(
    path: str,
    data_dir: Path,
    column: str,
    label: str | None,
    encoding: str,
    scratch: Scratch,
    storage: Storage,
    unlabelled: bool = False,
) -> dict[str, Texts]:
    """The texts of each split, `train` and, where the source has them, `val` and `test`.

    Args:
        path: a file, a folder of them (files or folders named train, val or test are splits), or a hub id.
        data_dir: where relative paths are looked for too.
        column: the field of JSONL, or column of a table, that holds the text.
        label: the one that holds its label.
        encoding: of files that are no Parquet.
        scratch: where the rows of tables go that are too many for memory.
        storage: where texts belong.
        unlabelled: whether the label may be missing.

    Raises:
        DataError: there is no such file or set, one cannot be read, or none holds any text; names it. What is wrong
            with a line of JSONL is said when that is read.
    """
    for place in (Path(path).expanduser(), data_dir / path):
        if place.exists():
            wanted = Wanted(place, column, label, encoding, unlabelled)
            return {split: _read(some, wanted, scratch, storage) for split, some in _files(place).items()}
    if path.count("/") == 1 and not path.startswith((".", "/", "~")):
        found = read_hub(path, data_dir / ".vaelab" / "hub")
        names = {name: SPLITS.get(name.lower()) for name in found}
        tables = {split: found[name] for name, split in names.items() if split} if len(found) > 1 else found
        texts = {
            split: Texts(
                [_columns(table, path, Wanted(Path(path), column, label, encoding, unlabelled))],
                [],
                ["row"],
                True,
                label is not None,
                belongs_on_disk(PER_BYTE * table.nbytes, storage),
            )
            for split, table in tables.items()
        }
        return texts if len(found) > 1 else {"train": next(iter(texts.values()))}
    raise DataError(f"data.path={path}: no such file or folder, and not a hub id (owner/name)")


def _files(place: Path) -> dict[str, list[Path]]:
    if place.is_file():
        return {"train": [place]}
    files = files_of(place, SUFFIXES, "a text")
    found: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[-._ /]", file.relative_to(place).as_posix().lower())
        found.setdefault(next((SPLITS[word] for word in words if word in SPLITS), "train"), []).append(file)
    return found


@dataclass(frozen=True)
class Wanted:
    """What is looked for in files below `place`, or in that file: see `read_texts`."""

    place: Path
    column: str
    label: str | None
    encoding: str
    unlabelled: bool

    def name(self, file: Path) -> str:
        """Of a file, relative to the place."""
        return file.name if file == self.place else file.relative_to(self.place).as_posix()


def _read(files: list[Path], wanted: Wanted, scratch: Scratch, storage: Storage) -> Texts:
    """All files of a split; an empty file among others adds nothing."""
    large = belongs_on_disk(PER_BYTE * memory_needed(files), storage)
    sources: list[Callable[[], Iterator[Document]]] = []
    numbered: list[Literal["line", "row"]] = []
    refused = []
    for file in files:
        suffix = file.suffix.lower()
        numbered.append("row" if suffix in TABLES else "line")
        try:
            if suffix in TABLES:
                table = read_tables([file], TableReading(wanted.encoding, scratch=scratch if large else None))
                sources.append(_columns(table, str(file), wanted))
                continue
            _refuse_undecodable(file, wanted.encoding)
        except DataError as error:
            refused.append(str(error))
            continue
        if suffix in JSONL:
            sources.append(partial(_json_lines, file, wanted))
        else:
            _refuse_label(file, wanted)
            sources.append(partial(_plain, file, wanted.encoding))
    refuse_all(refused, files)
    rows = all(file.suffix.lower() in JSONL + TABLES for file in files)
    found = Texts(sources, [wanted.name(file) for file in files], numbered, rows, wanted.label is not None, large)
    if found.blank:
        more = "" if len(files) == 1 else f", as are the other {len(files) - 1} of its split"
        raise DataError(f"{files[0]}: is empty or holds nothing but blanks{more}")
    return found


def _refuse_label(file: Path, wanted: Wanted) -> None:
    if wanted.label is not None and not wanted.unlabelled:
        raise ConfigError(f"data.label={wanted.label}: {file} is plain text, which has no labels; use JSONL or a table")


def _refuse_undecodable(file: Path, encoding: str) -> None:
    """Decode a whole file once, so that later, wherever it is read, it can be."""
    lines = 1
    try:
        " ".encode(encoding)  # Python also has codecs that are no encodings of text, such as hex
        decoder = codecs.getincrementaldecoder(_marked(encoding))()
        with file.open("rb") as content:
            while block := content.read(AT_ONCE):
                decoder.decode(block)
                lines += block.count(b"\n")
            decoder.decode(b"", final=True)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    except LookupError as error:
        raise ConfigError(f"data.encoding={encoding}: is no encoding that Python knows, such as latin-1") from error
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError):
            lines += error.object[: error.start].count(b"\n")
        with file.open("rb") as content:
            remedy = "utf-16" if content.read(2) in WIDE_MARKS else "latin-1"
        raise DataError(
            f"{file}: is not {encoding} (line {lines}); name its encoding, such as data.encoding={remedy}"
        ) from error


def _opened(file: Path, encoding: str) -> TextIO:
    """To be read without a byte order mark, and with line feeds at the ends of lines."""
    return file.open(encoding=_marked(encoding), newline=None)


def _marked(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding


def _plain(file: Path, encoding: str) -> Iterator[Document]:
    with _opened(file, encoding) as text:
        yield text, None, 0


def _row(text: str, label: str | None, number: int) -> Document:
    return StringIO(text.replace("\r\n", "\n").replace("\r", "\n")), label, number


def _json_lines(file: Path, wanted: Wanted) -> Iterator[Document]:
    column, label = wanted.column, wanted.label
    with _opened(file, wanted.encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row: Any = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{file}: line {number} is no JSON ({error.msg})") from error
            if not isinstance(row, dict):
                raise DataError(f"{file}: line {number} is no JSON object with a field {column}")
            for key, name in (("field", column), ("label", label)):
                if name is not None and name not in row and not (key == "label" and wanted.unlabelled):
                    raise DataError(f"{file}: line {number} has no field data.{key}={name}; {did_you_mean(name, row)}")
            if not isinstance(row[column], str):
                raise DataError(f"{file}: line {number}: the field {column} holds no text; see data.field")
            kind = None if label is None or row.get(label) is None else _whole(str(row[label]))
            yield _row(_whole(row[column]), kind, number)


def _whole(text: str) -> str:
    """Halves of characters, which JSON can escape and no file can hold, become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _columns(table: pa.Table, source: str, wanted: Wanted) -> Callable[[], Iterator[Document]]:
    column = wanted.column
    label = None if wanted.unlabelled and wanted.label not in table.column_names else wanted.label
    for key, name in (("field", column), ("label", label)):
        if name is not None and name not in table.column_names:
            raise DataError(f"data.{key}={name}: {source} has no such column; {did_you_mean(name, table.column_names)}")
    if not (pa.types.is_string(table[column].type) or pa.types.is_large_string(table[column].type)):
        raise DataError(f"data.field={column}: holds {table[column].type} in {source}, not text")
    return partial(_rows, table.select([column] if label is None else [column, label]))


def _rows(table: pa.Table) -> Iterator[Document]:
    """Of a column of texts and, where there is a second, one of labels."""
    number = 0
    for batch in table.to_batches(max_chunksize=ROWS):
        texts, *labels = (pc.cast(column, pa.string()).to_pylist() for column in batch.columns)
        for text, label in zip(texts, *(labels or [[None] * len(texts)]), strict=True):
            yield _row(text or "", label, number)
            number += 1
