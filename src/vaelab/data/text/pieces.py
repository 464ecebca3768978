"""Lines, rows and windows of texts, which become examples, before they are encoded."""

from collections.abc import Iterator
from itertools import islice
from typing import Literal

import pyarrow as pa

from vaelab.data.text.files import Texts

Piece = tuple[str, str | None]  # and its label
Unit = Literal["line", "window"]

AT_ONCE = 16_384  # pieces
SCHEMA = pa.schema([("text", pa.large_string()), ("label", pa.int64())])


def cut(texts: Texts, unit: Unit, length: int) -> Iterator[Piece]:
    """All that are more than blanks, in their order.

    Args:
        texts: of a split.
        unit: `line`: without blanks at its end; a row is one, whatever line feeds it has. `window`: of the running
            text of a file or labelled row, or of all rows without labels.
        length: of windows, in characters; the last of a text may be shorter.
    """
    found = _lines(texts) if unit == "line" else _windows(texts, length)
    return (piece for piece in found if piece[0].strip())


def to_arrow(pieces: Iterator[Piece], names: dict[str | None, int]) -> Iterator[pa.RecordBatch]:
    """Pieces with their labels as numbers; labels that are new get one in `names`."""
    while some := list(islice(pieces, AT_ONCE)):
        labels = [names.setdefault(label, len(names) - 1) for _, label in some]
        yield pa.record_batch([[text for text, _ in some], labels], schema=SCHEMA)


def from_arrow(table: pa.Table) -> Iterator[list[str]]:
    """The texts of pieces, `AT_ONCE` of them at most at a time."""
    for batch in table.to_batches(max_chunksize=AT_ONCE):
        yield batch.column(0).to_pylist()


def _lines(texts: Texts) -> Iterator[Piece]:
    for document, label in texts.documents():
        if texts.rows:
            yield document.read().rstrip(), label
        else:
            yield from ((line.rstrip(), None) for line in document)


def _windows(texts: Texts, length: int) -> Iterator[Piece]:
    if texts.rows and not texts.labelled:
        yield from _windows_of_all(texts, length)
        return
    for document, label in texts.documents():
        while window := document.read(length):
            yield window, label


def _windows_of_all(texts: Texts, length: int) -> Iterator[Piece]:
    """A line feed stands between two rows."""
    rest = ""
    for number, (document, _) in enumerate(texts.documents()):
        rest += ("\n" if number else "") + document.read()
        whole = len(rest) // length * length
        for start in range(0, whole, length):
            yield rest[start : start + length], None
        rest = rest[whole:]
    if rest:
        yield rest, None
