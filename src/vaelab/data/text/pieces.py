"""Lines, rows and windows of texts, which become examples, before they are encoded."""

from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple

import pyarrow as pa

from vaelab.data.text.files import Texts

Unit = Literal["line", "window"]

AT_ONCE = 16_384  # pieces
SCHEMA = pa.schema([("text", pa.large_string()), ("label", pa.int64())])


class Piece(NamedTuple):
    """A text that becomes an example, and where it stands.

    Attributes:
        text: some characters.
        label: None for none.
        source: number of the file; None for what may be of several.
        number: of its line or row in the file; None for a window of a plain file.
        first: of a window, the character of its text that it begins with.
    """

    text: str
    label: str | None
    source: int | None = None
    number: int | None = None
    first: int | None = None


def cut(texts: Texts, unit: Unit, length: int) -> Iterator[Piece]:
    """All that are more than blanks, in their order.

    Args:
        texts: of a split.
        unit: `line`: without blanks at its end; a row is one, whatever line feeds it has. `window`: of the running
            text of a file or labelled row, or of all rows without labels.
        length: of windows, in characters; the last of a text may be shorter.
    """
    found = _lines(texts) if unit == "line" else _windows(texts, length)
    return (piece for piece in found if piece.text.strip())


def to_arrow(pieces: Iterator[Piece], names: dict[str | None, int]) -> Iterator[pa.RecordBatch]:
    """Pieces with their labels as numbers; labels that are new get one in `names`."""
    while some := list(islice(pieces, AT_ONCE)):
        labels = [names.setdefault(piece.label, len(names) - 1) for piece in some]
        yield pa.record_batch([[piece.text for piece in some], labels], schema=SCHEMA)


def from_arrow(table: pa.Table) -> Iterator[list[str]]:
    """The texts of pieces, `AT_ONCE` of them at most at a time."""
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
    """A line feed stands between two rows."""
    rest, first = "", 0
    for number, (_, (document, *_)) in enumerate(texts.documents()):
        rest += ("\n" if number else "") + document.read()
        whole = len(rest) // length * length
        for start in range(0, whole, length):
            yield Piece(rest[start : start + length], None, first=first + start)
        rest, first = rest[whole:], first + whole
    if rest:
        yield Piece(rest, None, first=first)
