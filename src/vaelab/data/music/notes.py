"""Notes on a grid of steps, as tokens of voices and as a roll, and back."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

REST, HOLD, FIRST_PITCH = 0, 1, 2  # tokens: nothing sounds, the note goes on, and the first of the pitches


class Note(NamedTuple):
    """One note of one voice."""

    start: int  # steps
    length: int  # steps, at least 1
    pitch: int  # MIDI number, 60 is middle C


class Piece(NamedTuple):
    """Voices from the highest to the lowest, or in the order of a file's tracks; all begin at step 0."""

    name: str
    voices: tuple[tuple[Note, ...], ...]

    @property
    def steps(self) -> int:
        """Up to the end of the last note."""
        return max((note.start + note.length for voice in self.voices for note in voice), default=0)

    @property
    def pitches(self) -> tuple[int, int]:
        """The lowest and the highest."""
        used = [note.pitch for voice in self.voices for note in voice]
        return min(used), max(used)


def on_grid(times: Iterable[tuple[float, float, int]], steps_per_quarter: int) -> list[Note]:
    """Notes `(start, end, pitch)` in quarters on the grid: both ends rounded, a step long at least; sorted."""
    notes = []
    for begin, end, pitch in times:
        start = round(begin * steps_per_quarter)
        notes.append(Note(start, max(1, round(end * steps_per_quarter) - start), pitch))
    return sorted(notes, key=lambda note: (note.start, note.pitch))


def one_by_one(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Sorted notes, each cut off where the next begins; of those that begin at one step the highest stays."""
    kept = [note for note, after in zip(notes, [*notes[1:], None], strict=True) if after is None or after[0] > note[0]]
    return tuple(
        note if after is None else note._replace(length=min(note.length, after.start - note.start))
        for note, after in zip(kept, [*kept[1:], None], strict=True)
    )


def to_tokens(piece: Piece, lowest: int) -> Tensor:
    """`(V, T)` int16: a rest, a hold, or 2 more than a pitch is above `lowest`."""
    tokens = torch.full((len(piece.voices), piece.steps), REST, dtype=torch.int16)
    for row, voice in zip(tokens, piece.voices, strict=True):
        for start, length, pitch in voice:
            row[start] = FIRST_PITCH + pitch - lowest
            row[start + 1 : start + length] = HOLD
    return tokens


def from_tokens(tokens: Tensor, lowest: int) -> list[list[Note]]:
    """The notes of each voice of `(V, T)`; a hold after nothing that sounds is a rest, and so is padding."""
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
    """`(..., T)` tokens with each hold replaced by the token of the note that it holds; the same shape.

    A hold at the beginning, after a rest or after padding holds nothing and becomes a rest.
    """
    steps = torch.arange(tokens.shape[-1], device=tokens.device).expand(tokens.shape)
    struck = torch.where(tokens == HOLD, 0, steps).cummax(-1).values
    found = tokens.gather(-1, struck)
    return torch.where((tokens == HOLD) & (found < FIRST_PITCH), REST, found)


def tokens_to_roll(tokens: Tensor, pitches: int) -> Tensor:
    """`(..., V, T)` tokens to `(..., P, T)` int8: 1 where a voice sounds, 0 elsewhere, -1 in padding."""
    sounds = sounding(tokens).long()
    roll = torch.zeros((*tokens.shape[:-2], pitches + 1, tokens.shape[-1]), dtype=torch.int8, device=tokens.device)
    roll.scatter_(-2, (sounds - FIRST_PITCH + 1).clamp(min=0), 1)  # row 0 takes what does not sound
    padding = (tokens < 0).all(-2, keepdim=True)
    return roll[..., 1:, :].masked_fill(padding, -1)


def to_roll(piece: Piece, lowest: int, pitches: int) -> Tensor:
    """`(P, T)` int8: 1 where any voice sounds."""
    roll = torch.zeros(pitches, piece.steps, dtype=torch.int8)
    for voice in piece.voices:
        for start, length, pitch in voice:
            roll[pitch - lowest, start : start + length] = 1
    return roll


def from_roll(roll: Tensor, lowest: int) -> list[list[Note]]:
    """One voice of all notes of `(P, T)`: a roll says neither whose a note is nor whether it is struck again."""
    on = (roll.nan_to_num() > 0.5).int()
    edges = torch.nn.functional.pad(on, (1, 1)).diff(dim=1)
    begins, ends = (edges == 1).nonzero().tolist(), (edges == -1).nonzero().tolist()
    notes = [Note(b, e - b, row + lowest) for (row, b), (_, e) in zip(begins, ends, strict=True)]
    return [sorted(notes)]
