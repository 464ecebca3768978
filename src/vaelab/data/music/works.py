"""Which pieces are versions of one work, so that they can be kept in one split."""

from collections.abc import Hashable, Iterator, Sequence

from vaelab.data.music.notes import Note, Piece


def works(pieces: Sequence[Piece], names: Sequence[Hashable], excerpt: int | None, stride: int = 1) -> list[int]:
    """Number the works: one number for each piece, the same for all versions of one work.

    Two pieces are versions of one work if they have the same name, or if they share an excerpt: the same notes in all
    voices, in any key. Pieces that are both versions of a third piece are of the same work, too.

    Args:
        pieces: pieces on the same grid.
        names: for each piece the name of its work, as far as it is known.
        excerpt: the length of an excerpt in steps; None for whole pieces.
        stride: the number of steps between positions where an excerpt may begin.
    """
    parent = list(range(len(pieces)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    first: dict[Hashable, int] = {}
    for index, (piece, name) in enumerate(zip(pieces, names, strict=True)):
        for key in (("name", name), *_excerpts(piece, excerpt, stride)):
            parent[root(index)] = root(first.setdefault(key, index))
    roots = sorted({root(index) for index in range(len(pieces))})
    return [roots.index(root(index)) for index in range(len(pieces))]


def _excerpts(piece: Piece, length: int | None, stride: int) -> Iterator[Hashable]:
    """Yield a hash of each excerpt: its notes, with pitches relative to the lowest one, and cut at its ends."""
    length = length or piece.steps
    for begin in range(0, piece.steps - length + 1, stride):
        voices = [
            [_clipped(note, begin, length) for note in voice if _within(note, begin, length)] for voice in piece.voices
        ]
        pitches = [note.pitch for voice in voices for note in voice]
        if pitches:
            base = min(pitches)
            yield hash(tuple(tuple((s, n, pitch - base) for s, n, pitch in voice) for voice in voices))


def _within(note: Note, begin: int, length: int) -> bool:
    return note.start < begin + length and note.start + note.length > begin


def _clipped(note: Note, begin: int, length: int) -> Note:
    start, end = max(note.start, begin), min(note.start + note.length, begin + length)
    return Note(start - begin, end - start, note.pitch)
