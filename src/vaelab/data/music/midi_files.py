"""Reading and writing of MIDI files."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from vaelab.data.music.notes import Note, Piece, on_grid
from vaelab.errors import DataError

TICKS = 120  # in a step, in files that are written
TEMPO = 750_000  # microseconds in a quarter: 80 quarters a minute
CHOIR, PIANO = 52, 0  # General MIDI programs, counted from 0
LONGEST = 200_000  # most steps of a file: hours of music; files with broken times have more
DRUMS = 9  # the channel of drums, whose note numbers are not pitches


class UnreadableError(Exception):
    """A file cannot be used; the message is the reason."""


def mido() -> Any:
    """Import the package mido.

    Raises:
        DataError: it is not installed.
    """
    try:
        import mido
    except ImportError:
        raise DataError("music: needs the package mido; pip install 'vaelab[music]'") from None
    return mido


def read_midi(path: Path, steps_per_quarter: int) -> Piece:
    """Read the notes of a file on a grid of steps. Each channel of a track is a voice; drums are left out.

    Raises:
        DataError: mido is not installed.
        UnreadableError: the file is not a MIDI file, is truncated, has no times in quarters, has no pitch, or is longer
            than `LONGEST` steps.
    """
    package = mido()
    try:
        file = package.MidiFile(path)
    except Exception as error:  # broken bytes raise exceptions of many types
        raise UnreadableError(f"no MIDI file, or cut short ({error or type(error).__name__})") from error
    if file.type == 2 or file.ticks_per_beat <= 0:
        raise UnreadableError("its times are not in quarters")
    voices = [voice for track in file.tracks for voice in _played(track, file.ticks_per_beat, steps_per_quarter)]
    if not voices:
        raise UnreadableError("no pitch sounds in it")
    piece = Piece(path.stem, tuple(voices))
    if piece.steps > LONGEST:
        raise UnreadableError(f"lasts {piece.steps:,} steps, more than {LONGEST:,}")
    return piece


def _played(track: Any, ticks_per_quarter: int, steps_per_quarter: int) -> list[tuple[Note, ...]]:
    """The notes of each channel of a track.

    A note ends when its pitch is struck again. A note without an end lasts until the end of the track.
    """
    now, on, notes = 0, {}, {}  # type: ignore[var-annotated]

    def end(key: tuple[int, int]) -> None:
        notes.setdefault(key[0], []).append((on.pop(key) / ticks_per_quarter, now / ticks_per_quarter, key[1]))

    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
            continue
        key = message.channel, message.note
        if key in on:
            end(key)
        if message.type == "note_on" and message.velocity:
            on[key] = now
    for key in list(on):
        end(key)
    return [tuple(on_grid(notes[channel], steps_per_quarter)) for channel in sorted(notes)]


def write_midi(voices: Sequence[Sequence[Note]], steps_per_quarter: int, program: int = PIANO) -> bytes:
    """The bytes of a MIDI file with a track for each voice, at 80 quarters a minute.

    Args:
        voices: the notes of each voice.
        steps_per_quarter: steps of the grid in a quarter note.
        program: the General MIDI program of all voices, from 0.
    """
    package = mido()
    file = package.MidiFile(type=1, ticks_per_beat=TICKS * steps_per_quarter)
    for number, voice in enumerate(voices):
        track = package.MidiTrack()
        if number == 0:
            track.append(package.MetaMessage("set_tempo", tempo=TEMPO))
        channel = number % 16 + (number % 16 >= DRUMS) if len(voices) < 16 else 0
        track.append(package.Message("program_change", channel=channel, program=program))
        now = 0
        for at, velocity, pitch in sorted(_events(voice)):
            track.append(
                package.Message("note_on", channel=channel, note=pitch, velocity=velocity, time=(at - now) * TICKS)
            )
            now = at
        file.tracks.append(track)
    buffer = BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _events(voice: Sequence[Note]) -> list[tuple[int, int, int]]:
    """Events `(step, velocity, pitch)`. Velocity 0 ends a note; sorted, it comes before a note that begins then."""
    begins = [(note.start, 80, note.pitch) for note in voice]
    return begins + [(note.start + note.length, 0, note.pitch) for note in voice]
