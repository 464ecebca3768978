"""Small invented pieces, split and ready."""

from typing import Any

import torch

from vaelab.corruptions import Identity
from vaelab.data.music.music import Music
from vaelab.data.music.notes import Note, Piece
from vaelab.data.music.works import works

SETTINGS: dict[str, Any] = {
    "form": "tokens", "steps": 16, "hop": 4, "steps_per_quarter": 4, "pitches": None, "transpose": 3, "batch_size": 8,
    "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0, "seed": 0,
}  # fmt: skip


def piece(name: str, seed: int, steps: int = 40, voices: int = 4) -> Piece:
    """Notes of random pitches and lengths, now and then a rest."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    def voice(center: int) -> tuple[Note, ...]:
        notes, now = [], 0
        while now < steps:
            length = min(drawn(1, 6), steps - now)
            if drawn(0, 6) or steps - now - length < 1:
                notes.append(Note(now, length, center + drawn(-4, 5)))
            now += length
        return tuple(notes)

    return Piece(name, tuple(voice(72 - 8 * number) for number in range(voices)))


class Songs(Music):
    """Given pieces; those of one name are of one work."""

    def __init__(self, given: list[Piece], **settings: Any) -> None:
        super().__init__("music", **{"corruption": Identity(), **SETTINGS, **settings})
        self._given = given
        self.setup()

    def pieces(self) -> tuple[list[Piece], list[int]]:
        return self._given, works(self._given, [piece.name for piece in self._given], None)


def songs(count: int = 10, **settings: Any) -> Songs:
    return Songs([piece(str(number), number, 35 + number) for number in range(count)], **settings)
