"""Bach's chorales from the corpus in the package music21."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vaelab.data.music.notes import Piece, on_grid, one_by_one
from vaelab.errors import DataError

VOICES = 4


def corpus_version() -> str:
    """The version of music21, which contains the corpus.

    Raises:
        DataError: it is not installed.
    """
    try:
        return version("music21")
    except PackageNotFoundError:
        raise DataError("data=chorales: needs the package music21; pip install 'vaelab[music]'") from None


def chorale_files() -> list[Path]:
    """The files of Bach's works that are named by BWV numbers, sorted by name."""
    from music21 import corpus  # takes a second, and is only needed if there is no cache

    paths = [Path(path) for path in corpus.getComposer("bach")]
    return sorted((p for p in paths if p.name.startswith("bwv") and p.suffix != ".krn"), key=lambda p: p.name)


def read_chorale(path: Path, steps_per_quarter: int) -> Piece | None:
    """Read the four voices of a chorale; None if the file holds anything else, such as an instrument or a fifth voice.

    Args:
        path: the file.
        steps_per_quarter: steps of the grid in a quarter note.
    """
    from music21 import converter

    score: Any = converter.parse(path)
    parts = list(score.parts)
    if len(parts) != VOICES:
        return None
    voices = [_sung(part) for part in parts]
    if any(voice is None for voice in voices):
        return None
    return Piece(path.stem, tuple(one_by_one(on_grid(v or [], steps_per_quarter)) for v in voices))


def work_number(name: str) -> str:
    """The BWV number of a file, which all movements and variants of a work share: `248` for `bwv248.9-s`."""
    found = re.match(r"bwv(\d+)", name)
    return found.group(1) if found else name


def _sung(part: Any) -> list[tuple[float, float, int]] | None:
    """Notes `(start, end, pitch)` in quarters, with ties joined; None if there is no note or two sound at once."""
    notes: list[tuple[float, float, int]] = []
    for note in part.flatten().notes:
        if note.duration.isGrace:
            continue
        start, end = float(note.offset), float(note.offset + note.quarterLength)
        if len(note.pitches) != 1 or (notes and start < notes[-1][1] - 1e-6):
            return None
        pitch = note.pitches[0].midi
        tied = note.tie is not None and note.tie.type in ("stop", "continue")
        if tied and notes and notes[-1][2] == pitch and abs(notes[-1][1] - start) < 1e-6:
            notes[-1] = (notes[-1][0], end, pitch)
        else:
            notes.append((start, end, pitch))
    return notes or None
