"""Notes on a grid of steps, and their conversion to tokens of voices or a piano roll and back."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

REST, HOLD, FIRST_PITCH = 0, 1, 2  # tokens: silence, continuation of a note, and the lowest pitch


class Note(NamedTuple):
    """One note of one voice."""

    start: int  # steps
    length: int  # steps, at least 1
    pitch: int  # MIDI number, 60 is middle C


class Piece(NamedTuple):
    """The voices of a piece, from the highest to the lowest or in the order of a file's tracks; all begin at step 0."""

    name: str
    voices: tuple[tuple[Note, ...], ...]

    @property
    def steps(self) -> int:
        """The number of steps up to the end of the last note."""
        return max((note.start + note.length for voice in self.voices for note in voice), default=0)

    @property
    def pitches(self) -> tuple[int, int]:
        """The lowest and the highest pitch."""
        used = [note.pitch for voice in self.voices for note in voice]
        return min(used), max(used)


def on_grid(times: Iterable[tuple[float, float, int]], steps_per_quarter: int) -> list[Note]:
    """Put notes `(start, end, pitch)`, in quarters, on the grid: both ends are rounded, at least one step; sorted."""
    notes = []
    for begin, end, pitch in times:
        start = round(begin * steps_per_quarter)
        notes.append(Note(start, max(1, round(end * steps_per_quarter) - start), pitch))
    return sorted(notes, key=lambda note: (note.start, note.pitch))


def one_by_one(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Make a voice monophonic.

    Each note ends at the latest when the next begins. Of notes that begin at the same step, the highest is kept.

    Args:
        notes: sorted notes.
    """
    kept = [note for note, after in zip(notes, [*notes[1:], None], strict=True) if after is None or after[0] > note[0]]
    return tuple(
        note if after is None else note._replace(length=min(note.length, after.start - note.start))
        for note, after in zip(kept, [*kept[1:], None], strict=True)
    )


def to_tokens(piece: Piece, lowest: int) -> Tensor:
    """The tokens of a piece, `(V, T)` int16: `REST`, `HOLD`, or `pitch - lowest + 2` where a note begins."""
    tokens = torch.full((len(piece.voices), piece.steps), REST, dtype=torch.int16)
    for row, voice in zip(tokens, piece.voices, strict=True):
        for start, length, pitch in voice:
            row[start] = FIRST_PITCH + pitch - lowest
            row[start + 1 : start + length] = HOLD
    return tokens


def from_tokens(tokens: Tensor, lowest: int) -> list[list[Note]]:
    """The notes of each voice of `(V, T)` tokens. Padding is a rest, and so is a hold after a rest or padding."""
    voices = []
    for row in tokens.tolist():
        notes: list[Note] = []
        for step, token in enumerate(row):
            if token >= FIRST_PITCH:
                notes.append(Note(step, 1, token - FIRST_PITCH + lowest))
            elif token == HOLD and notes and notes[-1].start + notes[-1].length == step:
                notes[-1] = notes[-1]._replace(length=notes[-1].length + 1)
        voices.append(notes)
    return voices


def sounding(tokens: Tensor) -> Tensor:
    """Replace each hold in tokens `(..., T)` by the token of the note that it continues; the same shape.

    A hold at the beginning, after a rest or after padding becomes a rest.
    """
    steps = torch.arange(tokens.shape[-1], device=tokens.device).expand(tokens.shape)
    struck = torch.where(tokens == HOLD, 0, steps).cummax(-1).values
    found = tokens.gather(-1, struck)
    return torch.where((tokens == HOLD) & (found < FIRST_PITCH), REST, found)


def tokens_to_roll(tokens: Tensor, pitches: int) -> Tensor:
    """Convert tokens `(..., V, T)` to a piano roll `(..., P, T)` int8: 1 if a voice sounds, 0 if not, -1 in padding."""
    sounds = sounding(tokens).long()
    roll = torch.zeros((*tokens.shape[:-2], pitches + 1, tokens.shape[-1]), dtype=torch.int8, device=tokens.device)
    roll.scatter_(-2, (sounds - FIRST_PITCH + 1).clamp(min=0), 1)  # row 0 collects rests and padding
    padding = (tokens < 0).all(-2, keepdim=True)
    return roll[..., 1:, :].masked_fill(padding, -1)


def to_roll(piece: Piece, lowest: int, pitches: int) -> Tensor:
    """The piano roll of a piece, `(P, T)` int8: 1 if any voice sounds, else 0."""
    roll = torch.zeros(pitches, piece.steps, dtype=torch.int8)
    for voice in piece.voices:
        for start, length, pitch in voice:
            roll[pitch - lowest, start : start + length] = 1
    return roll


def from_roll(roll: Tensor, lowest: int) -> list[list[Note]]:
    """The notes of a piano roll `(P, T)` as one voice, since a roll does not store voices or repeated strikes."""
    on = (roll.nan_to_num() > 0.5).int()
    edges = torch.nn.functional.pad(on, (1, 1)).diff(dim=1)
    begins, ends = (edges == 1).nonzero().tolist(), (edges == -1).nonzero().tolist()
    notes = [Note(b, e - b, row + lowest) for (row, b), (_, e) in zip(begins, ends, strict=True)]
    return [sorted(notes)]
