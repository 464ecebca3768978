"""Tokens, rolls and MIDI files say the same notes; another key is another key in each of them."""

from pathlib import Path

import pytest
import torch

from in_memory_music import piece
from vaelab.core.noise import StepNoise
from vaelab.data.music.midi_files import UnreadableError, read_midi, write_midi
from vaelab.data.music.notes import (
    HOLD,
    REST,
    Note,
    Piece,
    from_roll,
    from_tokens,
    on_grid,
    one_by_one,
    sounding,
    to_roll,
    to_tokens,
    tokens_to_roll,
)
from vaelab.data.music.transposition import drawn_shifts, transposed_roll, transposed_tokens
from vaelab.data.music.works import works

LOW, COUNT = 36, 46


@pytest.mark.parametrize("seed", range(5))
def test_tokens_give_back_the_notes(seed: int) -> None:
    song = piece("a", seed)
    assert [tuple(voice) for voice in from_tokens(to_tokens(song, LOW), LOW)] == list(song.voices)


def test_a_note_struck_again_differs_from_one_held() -> None:
    twice, once = (Note(0, 2, 60), Note(2, 2, 60)), (Note(0, 4, 60),)
    assert not torch.equal(to_tokens(Piece("a", (twice,)), 60), to_tokens(Piece("a", (once,)), 60))


def test_a_hold_of_nothing_is_a_rest() -> None:
    tokens = torch.tensor([[HOLD, REST, HOLD, 5, HOLD, REST, HOLD, -1, -1]])
    assert sounding(tokens).tolist() == [[REST, REST, REST, 5, 5, REST, REST, -1, -1]]
    assert from_tokens(tokens, 0) == [[Note(3, 2, 3)]]


@pytest.mark.parametrize("seed", range(3))
def test_the_roll_of_tokens_is_the_roll_of_the_notes(seed: int) -> None:
    song = piece("a", seed)
    torch.testing.assert_close(tokens_to_roll(to_tokens(song, LOW), COUNT), to_roll(song, LOW, COUNT))


def test_a_roll_gives_back_notes_that_do_not_touch() -> None:
    notes = [Note(0, 3, 40), Note(2, 4, 50), Note(5, 2, 40)]
    assert from_roll(to_roll(Piece("a", (tuple(notes),)), LOW, COUNT).float(), LOW) == [notes]


@pytest.mark.parametrize("semitones", [-20, -3, 0, 5, 30])
def test_a_transposed_piece_has_the_transposed_roll(semitones: int) -> None:
    tokens = torch.stack([to_tokens(piece("a", seed), LOW) for seed in range(3)]).long()
    shift = torch.full((3,), semitones)
    moved = transposed_tokens(tokens, shift, COUNT + 2)
    rolled = transposed_roll(tokens_to_roll(tokens, COUNT).float(), shift)
    torch.testing.assert_close(tokens_to_roll(moved, COUNT).float(), rolled)
    assert torch.equal(moved, tokens) == (semitones in (-20, 0, 30))  # what would leave the range stays
    if semitones == 5:
        before, after = from_tokens(tokens[0], LOW), from_tokens(moved[0], LOW)
        assert [[n._replace(pitch=n.pitch + 5) for n in voice] for voice in before] == after


def test_padding_is_not_transposed() -> None:
    tokens = torch.full((2, 4, 6), -1)
    assert torch.equal(transposed_tokens(tokens, torch.tensor([3, -3]), 40), tokens)
    roll = torch.full((1, 10, 4), torch.nan)
    assert transposed_roll(roll, torch.tensor([2])).isnan().all()


def test_shifts_are_even_and_the_same_for_the_same_noise() -> None:
    noise = StepNoise(0, 1, 2, slice(0, 3_000), 3_000)
    drawn = drawn_shifts(noise, 2, torch.device("cpu"))
    counts = torch.bincount(drawn + 2)
    assert len(counts) == 5
    assert (counts > 500).all()
    half = StepNoise(0, 1, 2, slice(100, 200), 3_000)  # another device of the same batch
    assert torch.equal(drawn_shifts(half, 2, torch.device("cpu")), drawn[100:200])


def test_times_are_rounded_and_notes_of_a_voice_follow_each_other() -> None:
    notes = on_grid([(0.0, 1.1, 60), (1.01, 1.02, 62), (2.0, 3.0, 64)], 4)
    assert notes == [Note(0, 4, 60), Note(4, 1, 62), Note(8, 4, 64)]
    assert one_by_one([Note(0, 5, 60), Note(4, 2, 62), Note(4, 2, 65)]) == (Note(0, 4, 60), Note(4, 2, 65))


def test_a_written_file_reads_back_to_the_same_notes(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    song = piece("song", 3)
    path = tmp_path / "song.mid"
    for grid in (1, 4, 12):
        path.write_bytes(write_midi(song.voices, grid))
        assert read_midi(path, grid) == song


def test_music21_opens_a_written_file(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    converter = pytest.importorskip("music21.converter")
    song = piece("song", 1)
    path = tmp_path / "song.mid"
    path.write_bytes(write_midi(song.voices, 4))
    score = converter.parse(path, forceSource=True, storePickle=False)
    assert len(score.parts) == 4
    for part, voice in zip(score.parts, song.voices, strict=True):
        assert {p.midi for note in part.flatten().notes for p in note.pitches} == {note.pitch for note in voice}


@pytest.mark.parametrize("content", [b"", b"no music", b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\1\0\x90"])
def test_bytes_that_are_no_midi_file_are_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("mido")
    (tmp_path / "a.mid").write_bytes(content)
    with pytest.raises(UnreadableError):
        read_midi(tmp_path / "a.mid", 4)


def test_versions_of_a_work_are_found_in_any_key_and_through_a_third() -> None:
    first, other = piece("1", 1), piece("2", 2)
    higher = Piece("3", tuple(tuple(n._replace(pitch=n.pitch + 3) for n in v) for v in first.voices))
    joined = Piece("4", tuple(a + tuple(n._replace(start=n.start + 40) for n in b)
                              for a, b in zip(higher.voices, other.voices, strict=True)))  # fmt: skip
    alone = piece("5", 5)
    numbers = works([first, other, higher, alone], "abcd", 16, 4)
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 3
    assert len(set(works([first, other, higher, alone, joined], "abcde", 16, 4))) == 2
    assert len(set(works([first, other, alone], "aab", 16, 4))) == 2
