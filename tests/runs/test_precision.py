"""A precision that is asked for is one that runs, and ends near single precision."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = ("trainer.max_epochs=4", "encoder.hidden=[32]", "decoder.hidden=[32]")


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_ends_near_single_precision(precision: str, train: Callable[..., Path]) -> None:
    single, other = (
        json.loads((train(*SMALL, f"trainer.precision={p}") / "metrics.json").read_text())
        for p in ("32-true", precision)
    )
    assert other["test/loss"] == pytest.approx(single["test/loss"], rel=0.02)
