"""Division of texts into lines, rows or windows, each of which becomes an example."""

from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple

import pyarrow as pa

from vaelab.data.text.files import Texts

Unit = Literal["line", "window"]

AT_ONCE = 16_384  # pieces
SCHEMA = pa.schema([("text", pa.large_string()), ("label", pa.int64())])


class Piece(NamedTuple):
    """A text that becomes an example, and its origin.

    Attributes:
        text: its characters.
        label: its label; None without one.
        source: the number of its file; None for a window that may span several files.
        number: the number of its line or row in the file; None for a window of a plain file.
        first: for a window, the index of its first character in its text, from 0; else None.
    """

    text: str
    label: str | None
    source: int | None = None
    number: int | None = None
    first: int | None = None


def cut(texts: Texts, unit: Unit, length: int) -> Iterator[Piece]:
    """Yield the pieces of a split in order, without those that are only blanks.

    Args:
        texts: the texts of a split.
        unit: `line` or `window`. With `line`, each line of a plain file is a piece, and so is each row, even if it has
            line feeds; blanks at the end are removed. With `window`, a file or labelled row is cut into windows; rows
            without labels are first joined to one text.
        length: the length of windows in characters; the last window of a text may be shorter.
    """
    found = _lines(texts) if unit == "line" else _windows(texts, length)
    return (piece for piece in found if piece.text.strip())


def to_arrow(pieces: Iterator[Piece], names: dict[str | None, int]) -> Iterator[pa.RecordBatch]:
    """Convert pieces to Arrow batches with labels as numbers; new labels are added to `names`."""
    while some := list(islice(pieces, AT_ONCE)):
        labels = [names.setdefault(piece.label, len(names) - 1) for piece in some]
        yield pa.record_batch([[piece.text for piece in some], labels], schema=SCHEMA)


def from_arrow(table: pa.Table) -> Iterator[list[str]]:
    """Yield the texts of pieces in lists of at most `AT_ONCE`."""
    for batch in table.to_batches(max_chunksize=AT_ONCE):
        yield batch.column(0).to_pylist()


def _lines(texts: Texts) -> Iterator[Piece]:
    for source, (document, label, number) in texts.documents():
        if texts.rows:
            yield Piece(document.read().rstrip(), label, source, number)
        else:
            lines = enumerate(document, 1)
            whole = texts.whole(source, number)
            yield from (Piece(line.rstrip(), None, source, place if whole else number) for place, line in lines)


def _windows(texts: Texts, length: int) -> Iterator[Piece]:
    if texts.rows and not texts.labelled:
        yield from _windows_of_all(texts, length)
        return
    for source, (document, label, number) in texts.documents():
        first, place = 0, None if texts.whole(source, number) else number
        while window := document.read(length):
            yield Piece(window, label, source, place, first)
            first += len(window)


def _windows_of_all(texts: Texts, length: int) -> Iterator[Piece]:
    """Cut all rows, joined by line feeds, into windows."""
    rest, first = "", 0
    for number, (_, (document, *_)) in enumerate(texts.documents()):
        rest += ("\n" if number else "") + document.read()
        whole = len(rest) // length * length
        for start in range(0, whole, length):
            yield Piece(rest[start : start + length], None, first=first + start)
        rest, first = rest[whole:], first + whole
    if rest:
        yield Piece(rest, None, first=first)
