"""The fast reading of configs gives what PyYAML gives, or leaves the text to it."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaelab.config.recorded import yaml_data
from vaelab.config.written_yaml import config_data

CONFIGS = sorted((Path(__file__).parents[1] / "record" / "old_runs").glob("*/*.yaml"))
PIECES = "ab1.-:# '\"\\{}[]&*!|>%@`,?\n\t~=é0eE+_\u2028"
ODD = [
    "a: |\n  text\n  b: c\n", "a: &x 1\nb: *x\n", "a: 'one\n  b: two'\n", "a: [1, 2]\n", "a: {b: 1}\n", "- a\n- b\n",
    "a:\n  b:\n", "a:\n- - 1\n", "a:\n- b: 1\n", "null: 1\n", "on: 1\n", "a: 1 # c\n", "# c\na: 1\n", "a: --- x\n",
    "a: !!python/name:os.system\n", "a: 1\na: 2\n", "a:\n  b: 1\n c: 2\n", "", "a: 2026-01-01\n", "a: 0x1f\n", "a: ~\n",
    "a: x: y\n", "a: 'it''s'\n", 'a: "\\x41"\n', "a: .inf\n", "a:\n- 1\nb: 2\n", "a:\n  - 1\n  - 2\n", "a: yes\n",
]  # fmt: skip


def outcome(read: Any, text: str) -> str:
    try:
        return repr(read(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        return "refused"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_configs_of_runs_are_read_the_same(path: Path) -> None:
    assert config_data(path.read_text()) == yaml_data(path.read_text())


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_read_the_same(text: str) -> None:
    assert outcome(config_data, text) == outcome(yaml_data, text)


def test_anything_that_is_dumped_is_read_the_same() -> None:
    drawn = random.Random(0)

    def text() -> str:
        return "".join(drawn.choice(PIECES) for _ in range(drawn.choice([2, 8, 120])))

    def value(depth: int) -> Any:
        kind = drawn.random()
        if kind < 0.25 and depth < 4:
            return {drawn.choice(["a", "b-c", "on", "y", "1", "x.y", "k k"]): value(depth + 1) for _ in range(3)}
        if kind < 0.4:
            return [drawn.choice([1, 2.5, None, True, "a", "-1", text()]) for _ in range(drawn.randint(0, 3))]
        return drawn.choice([1, -3, 2.5, 1e-8, float("inf"), None, False, "null", "1e5", "a b " * 30, "x: y", text()])

    for _ in range(1000):
        dumped = yaml.safe_dump({f"k{place}": value(0) for place in range(4)}, sort_keys=False)
        lines = dumped.split("\n")
        place = drawn.randrange(len(lines))
        lines[place] += drawn.choice(["", "", "", " #c", ":", " &a", "'", "\t", " x"])
        changed = "\n".join(lines)
        assert outcome(config_data, changed) == outcome(yaml_data, changed), changed
