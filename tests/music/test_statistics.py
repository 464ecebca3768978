"""Counts of notes, and distances between them."""

import pytest
import torch

from vaelab.data.music.notes import Note
from vaelab.evaluation.note_statistics import note_statistics, total_variation


def test_each_note_counts_once_by_class_and_length_and_each_step_of_a_voice_by_interval() -> None:
    voices = [[Note(0, 2, 60), Note(2, 40, 72), Note(42, 1, 71)], [Note(0, 1, 48)]]
    counts = note_statistics([voices], 4)
    assert counts["pitch_class"].tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert counts["interval"].nonzero().squeeze(1).tolist() == [11, 24]  # down one, up an octave
    assert counts["duration"][0] == 2
    assert counts["duration"][1] == 1
    assert counts["duration"][15] == 1


def test_a_voice_of_chords_goes_by_its_highest_notes() -> None:
    counts = note_statistics([[[Note(0, 4, 50), Note(0, 4, 60), Note(4, 4, 45), Note(4, 4, 62)]]], 4)
    assert counts["interval"].nonzero().squeeze(1).tolist() == [14]


def test_total_variation_is_zero_for_the_same_and_one_for_disjoint_counts() -> None:
    a, b, none = torch.tensor([2.0, 2, 0]), torch.tensor([0.0, 0, 7]), torch.zeros(3)
    assert total_variation(a, 3 * a) == pytest.approx(0)
    assert total_variation(a, b) == pytest.approx(1)
    assert total_variation(a, torch.tensor([1.0, 1, 2])) == pytest.approx(0.5)
    assert total_variation(a, none) == 1
    assert total_variation(none, none) == 0
