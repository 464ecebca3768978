"""Bach's four-part chorales from the corpus of music21."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Unpack

import torch
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vaelab.atomic_write import replacing
from vaelab.data.music.corpus import VOICES, chorale_files, corpus_version, read_chorale, work_number
from vaelab.data.music.music import Music, MusicSettings
from vaelab.data.music.notes import Note, Piece
from vaelab.data.music.works import works
from vaelab.data.prepared_once import by_one_process

FORMAT = 1  # version of the cache; raise it if reading gives another result for the same file
EXCERPT = 8  # in quarters; chorales that share an excerpt of this length are versions of one work


class Chorales(Music):
    """The 365 files of Bach's works that hold four voices and nothing else.

    Movements with the same BWV number belong to one work. So do harmonisations that share two bars of all four voices,
    in any key, such as BWV 158.4 and 279. The corpus is read once, in a minute or two, and then cached.

    Args:
        data_dir: the folder for the cache, which is in its subfolder `.vaelab`.
        form, steps, hop, steps_per_quarter, transpose and the rest: see `Music`.
    """

    def __init__(self, data_dir: str, **settings: Unpack[MusicSettings]) -> None:
        super().__init__("chorales", None, **settings)
        self.data_dir = Path(data_dir)

    def sources(self) -> list[Path]:
        """The files that may hold a chorale."""
        return chorale_files()

    def prepare_data(self) -> None:
        """Read the corpus if it has not been read yet."""
        if self._examples is None:
            self.pieces()

    def pieces(self) -> tuple[list[Piece], list[int]]:
        """All chorales, and for each the number of its work; from the cache or, if there is none, from music21's files.

        Raises:
            DataError: music21 is not installed.
        """
        cache = self.data_dir / ".vaelab" / f"chorales-{FORMAT}-{corpus_version()}-{self.steps_per_quarter}.safetensors"
        with suppress(OSError, SafetensorError, KeyError, ValueError):
            return _read(cache)
        with by_one_process([cache], "music21's scores"):
            with suppress(OSError, SafetensorError, KeyError, ValueError):
                return _read(cache)
            return self._read_scores(cache)

    def _read_scores(self, cache: Path) -> tuple[list[Piece], list[int]]:
        files = self.sources()
        read = [
            read_chorale(path, self.steps_per_quarter)
            for path in track(files, f"Reading {len(files)} scores of music21, once", transient=True)
        ]
        pieces = [piece for piece in read if piece is not None]
        names = [work_number(piece.name) for piece in pieces]
        numbers = works(pieces, names, EXCERPT * self.steps_per_quarter, self.steps_per_quarter)
        with suppress(OSError, SafetensorError):  # in a read-only folder, the corpus is read again in each run
            _write(cache, pieces, numbers)
        return pieces, numbers


def _write(path: Path, pieces: list[Piece], numbers: list[int]) -> None:
    rows = [
        (index, voice, *note)
        for index, piece in enumerate(pieces)
        for voice, notes in enumerate(piece.voices)
        for note in notes
    ]
    about = json.dumps({"names": [piece.name for piece in pieces]})
    with replacing(path) as partial:
        tensors = {"notes": torch.tensor(rows, dtype=torch.int32), "works": torch.tensor(numbers)}
        save_file(tensors, partial, {"about": about})


def _read(path: Path) -> tuple[list[Piece], list[int]]:
    with safe_open(path, "pt") as file:
        rows, numbers = file.get_tensor("notes").tolist(), file.get_tensor("works").tolist()
        names = json.loads(file.metadata()["about"])["names"]
    voices: list[list[list[Note]]] = [[[] for _ in range(VOICES)] for _ in names]
    for piece, voice, *note in rows:
        voices[piece][voice].append(Note(*note))
    return [Piece(name, tuple(map(tuple, each))) for name, each in zip(names, voices, strict=True)], numbers
