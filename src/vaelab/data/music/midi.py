"""A folder of MIDI files."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Unpack

from annotated_types import Ge, Gt

from vaelab.data.folders import files_of
from vaelab.data.music.midi_files import UnreadableError, read_midi
from vaelab.data.music.music import Music, MusicSettings
from vaelab.data.music.notes import Note, Piece, one_by_one
from vaelab.data.music.works import works
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note

NAMED = 10  # the most unusable files that a message shows
SUFFIXES = (".mid", ".midi", ".smf", ".kar")


class Midi(Music):
    """All MIDI files of a folder and its subfolders. Each file is a work; copies of a file are the same work.

    Args:
        path: the folder.
        data_dir: a second folder in which a relative path is searched.
        name: the name of the data set; null for the name of the folder.
        skip_broken: whether files that cannot be used are left out; the message names them in either case.
        voices: for `form=tokens`, the number of voices of each file. A track and channel that plays is a voice.
        form, steps, hop, steps_per_quarter, pitches, transpose and the rest: see `Music`.
    """

    source = "file"

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        pitches: list[Annotated[int, Ge(0)]] | None,
        voices: Annotated[int, Gt(0)],
        name: str | None,
        skip_broken: bool,
        **settings: Unpack[MusicSettings],
    ) -> None:
        if not path:
            raise ConfigError("data.path: data=midi needs a folder of MIDI files")
        super().__init__(name or Path(path).resolve().name, pitches, **settings)
        self.path, self.data_dir, self.voices, self.skip_broken = path, Path(data_dir), voices, skip_broken

    def pieces(self) -> tuple[list[Piece], list[int]]:
        """Read all files; the pieces, and for each the number of its work.

        Raises:
            DataError: there is no such folder or no file in it, or files cannot be used and are not skipped.
        """
        folder = self._folder()
        files = files_of(folder, SUFFIXES, "a MIDI file")
        pieces, bad = [], []
        for file in files:
            try:
                pieces.append(self._piece(file)._replace(name=file.relative_to(folder).as_posix()))
            except UnreadableError as error:
                bad.append(f"{file.relative_to(folder)}: {error}")
        if bad:
            named = "; ".join(bad[:NAMED]) + (f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else "")
            found = f"data.path={self.path}: {len(bad)} of {len(files)} files cannot be used"
            if not (self.skip_broken and pieces):
                raise DataError(f"{found} ({named}); remove them, or leave them out with data.skip_broken=true")
            note(f"{found} and are left out ({named})")
        return pieces, works(pieces, range(len(pieces)), excerpt=None)

    def _folder(self) -> Path:
        for place in (Path(self.path).expanduser(), self.data_dir / self.path):
            if place.is_dir():
                return place
        raise DataError(f"data.path={self.path}: no such folder")

    def _piece(self, file: Path) -> Piece:
        piece = read_midi(file, self.steps_per_quarter)
        if self.form == "roll":
            return piece
        if len(piece.voices) != self.voices:
            raise UnreadableError(f"has {len(piece.voices)} voices, not data.voices={self.voices}; data.form=roll fits")
        voices = tuple(one_by_one(voice) for voice in piece.voices)
        if any(map(_together, piece.voices)):
            raise UnreadableError("two notes of one voice sound at once; data.form=roll fits")
        return Piece(piece.name, voices)


def _together(voice: tuple[Note, ...]) -> bool:
    """Whether two notes sound at once; an overlap of one step is allowed, since legato is played like that."""
    return any(
        after.start == note.start or after.start < note.start + note.length - 1 for note, after in pairwise(voice)
    )
