"""Generated examples are missing values as train examples are, and fid compares the two on equal terms."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from in_memory import InMemory
from vaelab.core import DataSpec
from vaelab.core.spec import Column
from vaelab.data.missing import MissingPatterns
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.features.values import Values
from vaelab.evaluation.sample_quality import SampleQuality

COLUMNS = tuple(Column(name) for name in "abc")


def rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)) + 2


def table(count: int = 900) -> InMemory:
    """Of three columns; the first two are missing together in a third of the rows, the last in a tenth."""
    values = rows(count, 0)
    values[::3, :2] = torch.nan
    values[::10, 2] = torch.nan
    return InMemory(values, DataSpec("t", "table", (3,), "real", columns=COLUMNS, has_missing=True))


def test_samples_are_missing_what_train_rows_are_missing() -> None:
    data = table()
    missing = MissingPatterns(data).over(rows(3_000, 1)).isnan()
    assert missing.float().mean(0).tolist() == pytest.approx([1 / 3, 1 / 3, 0.1], abs=0.03)
    assert torch.equal(missing[:, 0], missing[:, 1])
    assert torch.equal(MissingPatterns(data).over(rows(3_000, 1)).isnan(), missing)
    kept = MissingPatterns(data).over(rows(9, 1))
    assert torch.equal(kept.nan_to_num(), rows(9, 1).masked_fill(kept.isnan(), 0.0))


def test_data_that_misses_nothing_is_left_as_it_is() -> None:
    data = InMemory(rows(60, 0), DataSpec("t", "table", (3,), "real", columns=COLUMNS))
    values = rows(9, 1)
    assert MissingPatterns(data).over(values) is values


def test_a_perfect_sampler_is_not_told_apart_by_its_complete_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = table()
    source: Any = SimpleNamespace(fitted=None, examples=lambda count: iter([rows(count, 2)]))
    quality = SampleQuality(data, Values(data, torch.device("cpu")), 180, tmp_path, BaselineCache(tmp_path, data))
    assert quality.about["missing"] == MissingPatterns.about
    as_train = quality.measured(source)[0]["fid"]
    monkeypatch.setattr(MissingPatterns, "over", lambda patterns, values: values)
    complete = quality.measured(source)[0]["fid"]
    assert as_train < 0.3 * complete
