"""Notes as sound for a browser: a simple synthetic plucked tone."""

import wave
from collections.abc import Sequence
from io import BytesIO

import numpy as np

from vaelab.data.music.midi_files import TEMPO
from vaelab.data.music.notes import Note

RATE = 11_025  # samples per second
PARTIALS = ((1, 1.0), (2, 0.5), (3, 0.25), (4, 0.12))  # multiples of the pitch's frequency, and their amplitudes
DECAY, RELEASE = 1.2, 0.02  # seconds
LONGEST = 30.0  # seconds of a preview


def write_wav(voices: Sequence[Sequence[Note]], steps_per_quarter: int) -> bytes:
    """A WAV file, mono with 16 bits, of the notes of all voices at 80 quarters a minute; at most 30 seconds."""
    step = TEMPO / 1e6 / steps_per_quarter
    notes = [note for voice in voices for note in voice if note.start * step < LONGEST]
    end = min(LONGEST, max((step * (note.start + note.length) for note in notes), default=0.5) + 0.3)
    sound = np.zeros(int(end * RATE))
    for note in notes:
        first = int(note.start * step * RATE)
        time = np.arange(min(int(note.length * step * RATE), len(sound) - first)) / RATE
        frequency = 440 * 2 ** ((note.pitch - 69) / 12)
        tone = sum(loud * np.sin(2 * np.pi * frequency * n * time) for n, loud in PARTIALS if frequency * n < RATE / 2)
        edge = np.minimum(1, np.minimum(time, time[-1:] - time) / RELEASE)  # fade in and out, to avoid clicks
        sound[first : first + len(time)] += tone * np.exp(-time / DECAY) * edge
    loudest = np.abs(sound).max(initial=0) or 1.0
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound / loudest * 0.8 * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
