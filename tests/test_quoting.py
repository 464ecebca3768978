"""Words that a shell and Hydra read as they were meant."""

import shlex

import pytest

from vaelab.config.recorded import parse_word
from vaelab.quoting import quoted, typed_path

PLACES = ["logs/run", "0", "12", "1e5", "null", "true", "inf", "007", "lögs/日本", "my logs/ä b", "it's", 'say "x"',
          "$HOME/x", "a\\b", "a`b", "x!", "back\\"]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_folder_of_any_name_is_read_as_it_is(place: str) -> None:
    word = parse_word(f"resume={quoted(place)}")
    assert word is not None
    assert str(word.value()) == place
    (handed_over,) = shlex.split(typed_path("resume", place))
    again = parse_word(handed_over)
    assert again is not None
    assert str(again.value()) == place


def test_plain_names_stay_plain() -> None:
    assert typed_path("resume", "logs/generation/2026-01-31_12-00-00") == "resume=logs/generation/2026-01-31_12-00-00"
    assert typed_path("resume", "my logs") == "\"resume='my logs'\""
