"""Statistics of notes: pitch classes, intervals and durations."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vaelab.data.music.notes import Note

WIDEST = 12  # semitones; wider intervals are counted as this
LONGEST = 4  # quarters; longer notes are counted as this
NAMES = ("pitch_class", "interval", "duration")


def note_statistics(pieces: Sequence[Sequence[Sequence[Note]]], steps_per_quarter: int) -> dict[str, Tensor]:
    """Counts over all notes of all voices of all pieces.

    Returns:
        `pitch_class: (12,)` of struck notes, from C; `interval: (25,)` semitones from a note of a voice to its next,
        from -12 to 12; `duration: (4 steps_per_quarter,)` steps, from 1.
    """
    counts = {
        "pitch_class": torch.zeros(12),
        "interval": torch.zeros(2 * WIDEST + 1),
        "duration": torch.zeros(LONGEST * steps_per_quarter),
    }
    for piece in pieces:
        for voice in piece:
            for note in voice:
                counts["pitch_class"][note.pitch % 12] += 1
                counts["duration"][min(note.length, LONGEST * steps_per_quarter) - 1] += 1
            for interval in _intervals(voice):
                counts["interval"][max(-WIDEST, min(WIDEST, interval)) + WIDEST] += 1
    return counts


def total_variation(a: Tensor, b: Tensor) -> float:
    """Half the summed absolute difference of two distributions, given as counts: 0 for equal, 1 for disjoint ones.

    Two empty counts have distance 0, and an empty one has distance 1 from any other.
    """
    if not (a.sum() and b.sum()):
        return float(bool(a.sum()) != bool(b.sum()))
    return float((a / a.sum() - b / b.sum()).abs().sum() / 2)


def _intervals(voice: Sequence[Note]) -> list[int]:
    """Intervals between the highest notes that begin at a step, and at the next step at which a note begins."""
    highest: dict[int, int] = {}
    for note in voice:
        highest[note.start] = max(note.pitch, highest.get(note.start, 0))
    line = [highest[start] for start in sorted(highest)]
    return [after - before for before, after in pairwise(line)]
