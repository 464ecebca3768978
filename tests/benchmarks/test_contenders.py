"""Benchmarks run the package as it is now: each contender takes its epochs to the end."""

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


class Counting:
    """Stands where a clock does."""

    begun = ended = 0

    def begin(self) -> None:
        self.begun += 1

    def end(self) -> None:
        self.ended += 1


@pytest.mark.long
@pytest.mark.parametrize("name", ["run", "by hand", "plain Lightning"])
def test_a_contender_trains_for_its_epochs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import contenders

    case = contenders.Case(("encoder.hidden=[8]", "decoder.hidden=[8]"), compiled=False, epochs=1, limit=2)
    clock: Any = Counting()
    contenders.CONTENDERS[name](case, case.config(str(tmp_path)), 2, str(tmp_path), clock)
    assert (clock.begun, clock.ended) == (2, 2)
    sys.modules.pop("contenders")
