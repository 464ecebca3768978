"""Reading of texts and their labels from plain files, JSONL, tables and the Hugging Face hub, a few at a time."""

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
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # byte order marks of UTF-16
AT_ONCE = 2**20  # bytes of a file that are read at once
PER_BYTE = 3  # estimated bytes of memory for each byte of text: one for the text, two for its tokens
ROWS = 8_192  # rows of a table that are read at once

# A file object for reading, with line feeds at the ends of lines; its label; its line or row number in its source.
Document = tuple[TextIO, str | None, int]


@dataclass(frozen=True)
class Texts:
    """The texts of a split, in order. They are read again from their files each time they are requested.

    Attributes:
        sources: functions that yield the documents of a source. A plain file is one document; in all other sources
            each row is one.
        names: the file of each source, relative to the path in the settings; empty for a data set of the hub.
        numbered: for each source, what the number of a document, or of a line of a plain file, counts: lines from 1,
            or rows from 0.
        rows: whether documents are rows, each of which is one text; else some are files with many lines.
        labelled: whether rows have labels.
        large: whether the texts should be stored on disk and not in memory.
    """

    sources: Sequence[Callable[[], Iterator[Document]]]
    names: Sequence[str]
    numbered: Sequence[Literal["line", "row"]]
    rows: bool
    labelled: bool
    large: bool

    def documents(self) -> Iterator[tuple[int, Document]]:
        """Yield each document with the number of its source. Read it before the next one is requested."""
        for number, source in enumerate(self.sources):
            for document in source():
                yield number, document

    def whole(self, source: int, number: int) -> bool:
        """Whether a document is a whole plain file, and not a line or row of a file."""
        return self.numbered[source] == "line" and number == 0

    @property
    def blank(self) -> bool:
        """Whether all documents are empty or hold only blanks."""
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
    """Find the texts of each split.

    Args:
        path: a file, a folder of files (files or folders named train, val or test are splits), or a hub id.
        data_dir: a second folder in which relative paths are searched.
        column: the field of JSONL, or the column of a table, that holds the text.
        label: the field or column that holds the label; None for no labels.
        encoding: the text encoding of all files except Parquet.
        scratch: where to store the rows of tables that do not fit into memory.
        storage: whether texts belong in memory or on disk.
        unlabelled: whether the label may be absent.

    Returns:
        `train` and, if the source has them, `val` and `test`.

    Raises:
        ConfigError: there is no such encoding, or a label is given for a plain text file.
        DataError: there is no such file or data set, a file cannot be read, or a split has no text. A broken line of
            JSONL raises it only when that line is read.
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
    """What to read from the files in the folder `place`, or from the file `place`; see `read_texts`."""

    place: Path
    column: str
    label: str | None
    encoding: str
    unlabelled: bool

    def name(self, file: Path) -> str:
        """The name of a file, relative to `place`."""
        return file.name if file == self.place else file.relative_to(self.place).as_posix()


def _read(files: list[Path], wanted: Wanted, scratch: Scratch, storage: Storage) -> Texts:
    """The texts of all files of a split. Empty files are allowed as long as one file has text."""
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
    """Decode a whole file once, so that later reads cannot fail in the middle of the file.

    Raises:
        ConfigError: there is no such encoding.
        DataError: the file cannot be read or decoded.
    """
    lines = 1
    try:
        " ".encode(encoding)  # Python also has codecs that do not encode text, such as hex
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
    """Open a file for reading text, without a byte order mark and with line feeds at the ends of lines."""
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
    """Replace lone surrogates by U+FFFD: JSON can escape them, but no file can hold them."""
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
    """Yield the rows of a table: its first column holds texts, and its second, if there is one, labels."""
    number = 0
    for batch in table.to_batches(max_chunksize=ROWS):
        texts, *labels = (pc.cast(column, pa.string()).to_pylist() for column in batch.columns)
        for text, label in zip(texts, *(labels or [[None] * len(texts)]), strict=True):
            yield _row(text or "", label, number)
            number += 1
