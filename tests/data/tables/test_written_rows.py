"""Rows in files: originals as they were read, labels as a column."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from own_tables import STORAGE, later, load
from vaelab.data.storage import Storage
from vaelab.data.tables.table import SHOWN, Table


def salaries(path: Path, seed: int = 0, count: int = 600) -> Path:
    """Whole numbers, counts of all sizes, times and many names, some cells missing; and a grade."""
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame({
        "salary": generator.normal(52_000, 15_000, count).round().astype(int),
        "visits": generator.lognormal(8, 3, count).round().astype(int),
        "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 30_000_000, count), unit="s"),
        "town": [f"town {number}" for number in generator.integers(0, 150, count)],
        "grade": generator.integers(1, 4, count),
    })  # fmt: skip
    rows.loc[::9, "town"] = None
    rows.to_csv(path, index=False)
    return path


def read(files: dict[str, bytes | str]) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(next(bytes(content) for name, content in files.items() if name.endswith(".csv"))))


def original(data: Table, path: Path, split: str = "test") -> pd.DataFrame:
    places = data.split[split][data.drawn("test", SHOWN)].numpy()
    return pd.read_csv(path).iloc[places].reset_index(drop=True)


@pytest.mark.parametrize("where", STORAGE)
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_originals_are_the_cells_of_the_file(scaling: str, where: Storage, tmp_path: Path) -> None:
    path = salaries(tmp_path / "salaries.csv")
    settings: dict[str, Any] = {"scaling": scaling, "max_categories": 20, "categorical": ["grade"]}
    data = load(path, where, **settings)
    written = read(data.written_as_read("originals", data.drawn("test", SHOWN)))
    pd.testing.assert_frame_equal(written, original(data, path), check_dtype=False)
    rounded = read(data.written("originals", data.clean("test", data.drawn("test", SHOWN)), generated=False))
    assert "(other)" in set(rounded.town)

    other = salaries(tmp_path / "later.csv", seed=1)
    rows = later(other, data, where, **settings)
    written = read(rows.written_as_read("originals", rows.drawn("test", SHOWN)))
    pd.testing.assert_frame_equal(written, original(rows, other), check_dtype=False)


def test_labels_that_the_model_is_given_are_a_column_in_their_own_type(tmp_path: Path) -> None:
    path = salaries(tmp_path / "salaries.csv")
    data = load(path, label="grade")
    labels = torch.tensor([0, 2, -1])
    rows = read(data.written("samples", data.clean("test", 3), labels=labels))
    assert rows.columns.tolist() == ["salary", "visits", "when", "town", "grade"]
    np.testing.assert_array_equal(rows.grade, [1, 3, np.nan])
    assert "grade" not in read(data.written("samples", data.clean("test", 3)))
    texts = load(path, label="town", drop=["grade"])
    towns = read(texts.written("samples", texts.clean("test", 2), labels=torch.tensor([0, -1]))).town
    assert towns.tolist()[0] == "town 0"
    assert towns.isna().tolist() == [False, True]
