"""Texts from plain files, JSONL, tables and the hub, each with the label that stands beside it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from vaelab.config.nearest import did_you_mean
from vaelab.data.images.source import SPLITS
from vaelab.data.tables.files import read_hub, read_tables
from vaelab.errors import ConfigError, DataError

PLAIN, JSONL, TABLES = (".txt", ".text", ".md"), (".jsonl", ".ndjson"), (".csv", ".tsv", ".parquet")
SUFFIXES = PLAIN + JSONL + TABLES
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins

Held = TypeVar("Held")


@dataclass
class Texts:
    """Texts in their order.

    Attributes:
        documents: a plain file as a whole, or one row of anything else; lines end in a line feed.
        labels: one for each document; None where there is none.
        rows: whether documents are rows, of which each is one text, rather than files of many lines.
    """

    documents: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    rows: bool = False


def read_texts(path: str, data_dir: Path, column: str, label: str | None, encoding: str) -> dict[str, Texts]:
    """The texts of each split, `train` and, where the source has them, `val` and `test`.

    Args:
        path: a file, a folder of them (files or folders named train, val or test are splits), or a hub id.
        data_dir: where relative paths are looked for too.
        column: the field of JSONL, or column of a table, that holds the text.
        label: the one that holds its label.
        encoding: of files that are no Parquet.

    Raises:
        DataError: there is no such file or set, one cannot be read, or none holds any text; names it.
    """
    for place in (Path(path).expanduser(), data_dir / path):
        if place.exists():
            files = _files(place)
            return {split: _read(members, column, label, encoding) for split, members in files.items()}
    if path.count("/") == 1 and not path.startswith((".", "/", "~")):
        found = read_hub(path, data_dir / ".vaelab" / "hub")
        names = {name: SPLITS.get(name.lower()) for name in found}
        tables = {split: found[name] for name, split in names.items() if split} if len(found) > 1 else found
        texts = {split: _columns(table, path, column, label) for split, table in tables.items()}
        return _with_train(path, texts if len(found) > 1 else {"train": next(iter(texts.values()))})
    raise DataError(f"data.path={path}: no such file or folder, and not a hub id (owner/name)")


def _files(place: Path) -> dict[str, list[Path]]:
    if place.is_file():
        return {"train": [place]}
    files = sorted(
        path
        for path in place.rglob("*")
        if path.is_file()
        and path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(place).parts)
    )
    if not files:
        raise DataError(f"data.path={place}: holds no {', '.join(SUFFIXES)} file")
    found: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[-._ /]", file.relative_to(place).as_posix().lower())
        found.setdefault(next((SPLITS[word] for word in words if word in SPLITS), "train"), []).append(file)
    return _with_train(str(place), found)


def _with_train(source: str, splits: dict[str, Held]) -> dict[str, Held]:
    if "train" not in splits:
        raise DataError(f"data.path={source}: has no train split, only {', '.join(splits)}")
    return splits


def _read(files: list[Path], column: str, label: str | None, encoding: str) -> Texts:
    """All files of a split; an empty file among others adds nothing."""
    found = Texts(rows=all(file.suffix.lower() in JSONL + TABLES for file in files))
    for file in files:
        suffix = file.suffix.lower()
        if suffix in TABLES:
            one = _columns(read_tables([file], encoding), str(file), column, label)
        elif suffix in JSONL:
            one = _json_lines(file, column, label, encoding)
        else:
            _refuse_label(file, label)
            one = Texts([content], [None]) if (content := _decoded(file, encoding)).strip() else Texts()
        found.documents += one.documents
        found.labels += one.labels
    if not any(document.strip() for document in found.documents):
        more = "" if len(files) == 1 else f", as are the other {len(files) - 1} of its split"
        raise DataError(f"{files[0]}: is empty or holds nothing but blanks{more}")
    return found


def _refuse_label(file: Path, label: str | None) -> None:
    if label is not None:
        raise ConfigError(f"data.label={label}: {file} is plain text, which has no labels; use JSONL or a table")


def _decoded(file: Path, encoding: str) -> str:
    """The text of a file, without a byte order mark, lines ending in a line feed."""
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    except LookupError as error:
        raise ConfigError(f"data.encoding={encoding}: is no encoding that Python knows, such as latin-1") from error
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        remedy = "utf-16" if content.startswith(WIDE_MARKS) else "latin-1"
        raise DataError(
            f"{file}: is not {encoding} (line {line}); name its encoding, such as data.encoding={remedy}"
        ) from error
    return _line_feeds(text)


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _json_lines(file: Path, column: str, label: str | None, encoding: str) -> Texts:
    found = Texts(rows=True)
    for number, line in enumerate(_decoded(file, encoding).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{file}: line {number} is no JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise DataError(f"{file}: line {number} is no JSON object with a field {column}")
        for key, name in (("field", column), ("label", label)):
            if name is not None and name not in row:
                raise DataError(f"{file}: line {number} has no field data.{key}={name}; {did_you_mean(name, row)}")
        if not isinstance(row[column], str):
            raise DataError(f"{file}: line {number}: the field {column} holds no text; see data.field")
        found.documents.append(_line_feeds(row[column]))
        found.labels.append(None if label is None or row[label] is None else str(row[label]))
    return found


def _columns(table: pa.Table, source: str, column: str, label: str | None) -> Texts:
    for key, name in (("field", column), ("label", label)):
        if name is not None and name not in table.column_names:
            raise DataError(f"data.{key}={name}: {source} has no such column; {did_you_mean(name, table.column_names)}")
    if not (pa.types.is_string(table[column].type) or pa.types.is_large_string(table[column].type)):
        raise DataError(f"data.field={column}: holds {table[column].type} in {source}, not text")
    documents = [_line_feeds(text or "") for text in table[column].to_pylist()]
    labels = [None] * len(documents) if label is None else pc.cast(table[label], pa.string()).to_pylist()
    return Texts(documents, labels, rows=True)
