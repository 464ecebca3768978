"""Music: MIDI files."""

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor

from vaelab.atomic_write import write_file
from vaelab.careful_read import read_json
from vaelab.core.batch import Batch
from vaelab.data.music.midi import SUFFIXES, Midi
from vaelab.data.music.midi_files import CHOIR, PIANO, mido, write_midi
from vaelab.data.music.music import FORMAT_FILE
from vaelab.data.music.notes import Note, from_roll, from_tokens
from vaelab.data.music.preview import write_wav
from vaelab.errors import CheckpointError, DataError
from vaelab.trained.adapter import AT_ONCE, Adapter, Part


class Music(Adapter):
    """See `Adapter`."""

    suffixes = SUFFIXES
    what = "a MIDI file"
    holds = "paths of MIDI files, or mido.MidiFile objects"

    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Read the windows of one file at a time."""
        for file, stem in files:
            with TemporaryDirectory(prefix="vaelab-") as scratch:
                place = Path(scratch) / "music" / f"piece{file.suffix}"
                place.parent.mkdir()
                shutil.copyfile(file, place)
                data = cast(Midi, self.reading.module(place.parent, Path(scratch)))
                try:
                    data.prepare_data()
                    data.setup()
                except DataError as error:
                    told = str(error).replace(f"data.path={place.parent}: 1 of 1 files cannot be used", str(file))
                    raise DataError(
                        told.replace(f"{place.name}: ", "").split("; remove them")[0].replace("music:", f"{file}:")
                    ) from error
                yield self._part(data, stem, file)

    def _part(self, data: Midi, stem: Path, file: Path) -> Part:
        def batches(device: torch.device) -> Iterator[Batch]:
            return data.batches("test", device, AT_ONCE)

        rows = data.split["test"]
        columns = {"file": [str(file)] * len(rows), "first_step": data.origins(rows)["first_step"]}
        return Part(len(rows), batches, columns, stem, (data, file))

    def take(self, things: Any) -> Part:
        """Prepare one file, given by its path or as a `mido.MidiFile`."""
        if isinstance(things, str | Path):
            if not Path(things).is_file():
                raise DataError(f"{things}: no such file")
            (part,) = self.read([(Path(things), Path(things).with_suffix(""))])
            return part
        if not hasattr(things, "save"):
            raise DataError(f"{type(things).__name__} is given; give {self.holds}, one at a time")
        with TemporaryDirectory(prefix="vaelab-") as folder:
            file = Path(folder) / "piece.mid"
            things.save(str(file))
            (part,) = self.read([(file, Path("piece"))])
            return part

    @cached_property
    def _about(self) -> tuple[str, int, int]:
        """Return the form, the lowest pitch and the steps per quarter note."""
        path = self.reading.folder / FORMAT_FILE
        about = read_json(path)
        try:
            return str(about["form"]), int(about["lowest_pitch"]), int(about["steps_per_quarter"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: does not describe music") from error

    def notes(self, values: Tensor) -> list[list[Note]]:
        """Return the notes of each voice of an example `(*shape)`."""
        form, lowest, _ = self._about
        return from_tokens(values, lowest) if form == "tokens" else from_roll(values, lowest)

    @property
    def steps_per_quarter(self) -> int:
        """Return the steps per quarter note."""
        return self._about[2]

    def wav(self, values: Tensor) -> bytes:
        """Return an audio preview of an example; see `write_wav`."""
        return write_wav(self.notes(values), self.steps_per_quarter)

    def midi(self, values: Tensor) -> bytes:
        """Return an example as the bytes of a MIDI file."""
        form, _, steps = self._about
        return write_midi(self.notes(values), steps, CHOIR if form == "tokens" else PIANO)

    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Return `mido.MidiFile` objects: one for each example, or one for a piece that was given."""
        if part is None:
            return [mido().MidiFile(file=BytesIO(self.midi(value))) for value in values]
        return mido().MidiFile(file=BytesIO(self.midi(whole(values))))

    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write `<name>.mid` with the windows of the piece in sequence."""
        path = folder / f"{part.stem}.mid"
        write_file(path, self.midi(whole(values)))
        return [path]

    def write_samples(self, folder: Path, values: Tensor, stem: str = "sample", drawn: bool = True) -> list[Path]:
        """Write `sample-1.mid` and so on, each with an audio preview `sample-1.wav`."""
        digits, paths = len(str(len(values))), []
        for number, value in enumerate(values, 1):
            name = f"{stem}-{number:0{digits}d}"
            write_file(folder / f"{name}.mid", self.midi(value))
            write_file(folder / f"{name}.wav", self.wav(value))
            paths += [folder / f"{name}.mid", folder / f"{name}.wav"]
        return paths


def whole(values: Tensor) -> Tensor:
    """Join windows `(N, F, T)` in sequence: `(F, N T)`."""
    return torch.cat(list(values), dim=-1)
