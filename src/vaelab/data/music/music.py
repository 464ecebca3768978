"""Music: windows of pieces as tokens of voices or as a piano roll."""

import json
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Unpack

import torch
from annotated_types import Ge, Gt
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.module import DataModule, DataSettings
from vaelab.data.music.midi_files import CHOIR, PIANO, mido, write_midi
from vaelab.data.music.notes import FIRST_PITCH, Note, Piece, from_roll, from_tokens, sounding, to_roll, to_tokens
from vaelab.data.music.preview import write_wav
from vaelab.data.music.transposition import drawn_shifts, transposed_roll, transposed_tokens
from vaelab.data.preparation import read_preparation
from vaelab.errors import ConfigError, DataError
from vaelab.figures.rolls import rolls
from vaelab.notes import some

Form = Literal["tokens", "roll"]
WRITTEN = 16  # examples that are written as MIDI files
HEARD = 4  # examples that are also written as sound
FORMAT_FILE = "music.json"  # in the run folder's model/
SPLITS = ("train", "val", "test")


class MusicSettings(DataSettings):
    """The settings of every data set of music; see `Music`."""

    form: Form
    steps: Annotated[int, Gt(0)]
    hop: Annotated[int, Gt(0)] | None
    steps_per_quarter: Annotated[int, Gt(0)]
    transpose: Annotated[int, Ge(0)]


class Music(DataModule):
    """Windows of `steps` frames; all windows of a work are in one split.

    With `form=tokens`, an example is `(V, T)`: for each voice a rest (0), a continuation of the previous note (1), or a
    pitch (2 and above). A window that begins within a note begins with its pitch. With `form=roll`, an example is a
    piano roll `(P, T)`: 1 if a pitch sounds, else 0. Frames after the end of a piece are missing values. Windows of
    validation and test do not overlap, so each frame counts once. Windows of train begin every `hop` steps, and are
    transposed at random.

    Args:
        name: the name of the data set.
        form: `tokens` or `roll`.
        steps: T, the number of frames of a window.
        hop: the number of steps between the beginnings of train windows; null for `steps`.
        steps_per_quarter: steps of the grid in a quarter note.
        pitches: the lowest and the highest MIDI number, from 0 to 127; null for the range of the pieces.
        transpose: the most semitones, up or down, by which train examples are transposed.
        batch_size, val_fraction, test_fraction (of works), split_seed, seed, corruption: see `DataModule`.
    """

    source: ClassVar[str] = "piece"  # what the name of a piece stands for

    def __init__(
        self,
        name: str,
        pitches: list[Annotated[int, Ge(0)]] | None,
        form: Form,
        steps: Annotated[int, Gt(0)],
        hop: Annotated[int, Gt(0)] | None,
        steps_per_quarter: Annotated[int, Gt(0)],
        transpose: Annotated[int, Ge(0)],
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize=None, **settings)
        if pitches is not None and not (len(pitches) == 2 and 0 <= pitches[0] <= pitches[1] <= 127):
            raise ConfigError(f"data.pitches={pitches}: should be [lowest, highest], MIDI numbers from 0 to 127")
        mido()  # needed to write samples: fail now if it is missing, not after training
        self.form, self.steps, self.hop = form, steps, hop or steps
        self.steps_per_quarter, self.pitches, self.transpose = steps_per_quarter, pitches, transpose
        self.name: str = name
        self.lowest = self.highest = 0  # MIDI numbers; set by `load`
        self._places: list[tuple[str, int]] = []  # the piece and the first step of each window

    def prepare_as(self, folder: Path) -> None:
        """Use the pitches of a trained model."""
        super().prepare_as(folder)
        pitches = read_preparation(
            folder / FORMAT_FILE, lambda about: [int(about["lowest_pitch"]), int(about["highest_pitch"])]
        )
        if pitches is not None:
            self.pitches = pitches

    @abstractmethod
    def pieces(self) -> tuple[list[Piece], list[int]]:
        """Read all pieces, and find for each the number of its work.

        Raises:
            DataError: there are no pieces, or some cannot be read.
        """

    def load(self) -> Examples:
        """Cut all pieces into windows, in the order of the splits."""
        pieces, works = self.pieces()
        low, high = self._range(pieces)
        self.lowest, self.highest = low, high
        count = high - low + 1
        rows, windows, first = {}, [], 0
        splits = {"test": set(works)} if self.all_as_test else self._works_of_splits(works)
        for split, members in splits.items():
            for piece, work in zip(pieces, works, strict=True):
                if work in members:
                    whole = to_tokens(piece, low) if self.form == "tokens" else to_roll(piece, low, count)
                    hop = self.hop if split == "train" else self.steps
                    windows.append(cut(whole, self.steps, hop, self.form))
                    self._places += [(piece.name, window * hop) for window in range(len(windows[-1]))]
            total = sum(map(len, windows))
            rows[split] = range(first, total)
            first = total
        values = torch.cat(windows)
        gaps = self._has_missing(bool((values < 0).any()))
        if self.form == "tokens":
            spec = DataSpec(
                self.name, "tokens", tuple(values.shape[1:]), "categories", FIRST_PITCH + count, has_missing=gaps
            )
        else:
            spec = DataSpec(self.name, "roll", tuple(values.shape[1:]), "binary", 2, has_missing=gaps)
        return Examples(values, torch.full((len(values),), -1), spec, rows)

    def _range(self, pieces: list[Piece]) -> tuple[int, int]:
        low, high = min(p.pitches[0] for p in pieces), max(p.pitches[1] for p in pieces)
        if self.pitches is None:
            return low, high
        outside = [p.name for p in pieces if p.pitches[0] < self.pitches[0] or p.pitches[1] > self.pitches[1]]
        if outside and self._trained is not None:
            raise DataError(
                f"{self.name}: {len(outside)} pieces have pitches beyond {self.pitches[0]} to {self.pitches[1]}, those "
                f"that the model was trained on: {some(outside)}"
            )
        if outside:
            raise ConfigError(
                f"data.pitches={self.pitches}: {len(outside)} pieces go beyond it, such as {outside[0]}; "
                f"[{low},{high}] holds all"
            )
        return self.pitches[0], self.pitches[1]

    def _has_missing(self, padded: bool) -> bool:
        """Whether examples may have missing frames; for a trained model, whether they had in training.

        Raises:
            DataError: examples have missing frames, but those in training had none.
        """
        if self._trained is None or self._trained.has_missing == padded:
            return padded
        if padded:
            raise DataError(
                f"{self.name}: has pieces that do not end with a window of {self.steps} steps, and the model was "
                "trained on windows that pieces fill"
            )
        return True

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """See `DataModule.origins`: the `file`, or `piece` of a corpus, and the `first_step` of the window."""
        names, firsts = zip(*(self._places[row] for row in rows.tolist()), strict=True) if len(rows) else ((), ())
        return {self.source: list(names), "first_step": list(firsts)}

    def _works_of_splits(self, works: list[int]) -> dict[str, set[int]]:
        known = sorted(set(works))
        if len(known) < len(SPLITS):
            raise DataError(
                f"{self.name}: {len(works)} pieces of {len(known)} works cannot be split; all of a work goes into "
                "one of train, val and test, so at least 3 works are needed"
            )
        generator = torch.Generator().manual_seed(self.split_seed)
        order = [known[i] for i in torch.randperm(len(known), generator=generator).tolist()]
        test = min(max(1, round(len(order) * self.test_fraction)), len(order) - 2)
        val = min(max(1, round((len(order) - test) * self.val_fraction)), len(order) - test - 1)
        members = order[test + val :], order[test : test + val], order[:test]
        return {split: set(those) for split, those in zip(SPLITS, members, strict=True)}

    def augmented(self, clean: Tensor, noise: Noise) -> Tensor:
        """Transpose each example by its own random number of semitones."""
        if not self.transpose:
            return clean
        semitones = drawn_shifts(noise, self.transpose, clean.device)
        if self.form == "roll":
            return transposed_roll(clean, semitones)
        return transposed_tokens(clean, semitones, self.spec.levels or 0)

    def notes(self, values: Tensor) -> list[list[Note]]:
        """The notes of each voice of one example, `(V, T)` or `(P, T)`; a roll gives one voice."""
        return from_tokens(values, self.lowest) if self.form == "tokens" else from_roll(values, self.lowest)

    def written(self, stem: str, values: Tensor, generated: bool = True) -> dict[str, bytes | str]:
        """The first 16 examples as files `<stem>-<number>.mid`, and the first 4 also as `.wav` for a browser."""
        program = CHOIR if self.form == "tokens" else PIANO
        found: dict[str, bytes | str] = {}
        for number, value in enumerate(values[:WRITTEN], 1):
            notes = self.notes(value)
            found[f"{stem}-{number:02d}.mid"] = write_midi(notes, self.steps_per_quarter, program)
            if number <= HEARD:
                found[f"{stem}-{number:02d}.wav"] = write_wav(notes, self.steps_per_quarter)
        return found

    def pictures(self, name: str, values: Tensor) -> dict[str, Figure]:
        """Piano rolls with a colour for each voice."""
        drawn = [self.notes(value) for value in values]
        return {name: rolls(drawn, self.steps, self.steps_per_quarter, f"{self.spec.name}: {name}")}

    def reading(self) -> dict[str, Any] | None:
        """See `DataModule.reading`; the pitches are stored in `music.json`."""
        own = {"form": self.form, "steps": self.steps, "steps_per_quarter": self.steps_per_quarter}
        return {"reader": "midi", "voices": self.spec.shape[0] if self.form == "tokens" else 4} | own

    def files(self) -> dict[str, bytes | str]:
        """The file `model/music.json`, with the settings that convert values to notes."""
        about: dict[str, Any] = {
            "form": self.form, "lowest_pitch": self.lowest, "highest_pitch": self.highest,
            "steps_per_quarter": self.steps_per_quarter,
        }  # fmt: skip
        return {f"model/{FORMAT_FILE}": json.dumps(about, indent=2) + "\n"}


def cut(whole: Tensor, steps: int, hop: int, form: Form) -> Tensor:
    """Cut a piece `(F, T')` into windows `(N, F, steps)` that begin every `hop` steps; the end is padded with -1.

    No window begins after the first one that contains the last step.
    """
    windows = []
    struck = sounding(whole) if form == "tokens" else whole
    for begin in range(0, max(1, whole.shape[1] - steps + hop), hop):
        part = whole[:, begin : begin + steps].clone()
        part[:, 0] = struck[:, begin]
        windows.append(torch.nn.functional.pad(part, (0, steps - part.shape[1]), value=-1))
    return torch.stack(windows)
