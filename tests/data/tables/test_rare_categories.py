"""Rare categories: one for the model, and never an empty cell of the rows that it gives."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from own_tables import load
from vaelab.data.tables.format import MOST_RARE, OTHER, TableFormat, to_rows
from vaelab.data.tables.kinds import Field, describe
from vaelab.evaluation.table_quality.marginals import column_distances
from vaelab.evaluation.table_quality.rows import decoded

CITIES = 487


def cities(path: Path, count: int = 4_000) -> Path:
    """Some common ones and many rare ones, and a grade of few values."""
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, CITIES + 1)
    city = generator.choice(CITIES, count, p=chances / chances.sum())
    city[:CITIES] = np.arange(CITIES)
    pd.DataFrame({
        "city": [f"city {number}" for number in city],
        "grade": generator.integers(1, 4, count),
        "amount": generator.normal(size=count),
    }).to_csv(path, index=False)  # fmt: skip
    return path


def test_no_cell_is_empty_where_none_was(tmp_path: Path) -> None:
    data = load(cities(tmp_path / "cities.csv"), max_categories=10)
    test, train = data.clean("test"), data.clean("train", 800)
    assert (train[:, 0] == 10).double().mean() > 0.3  # of rare cities
    files = data.written("samples", train)
    written = pd.read_csv(io.BytesIO(files["samples.csv"]))
    assert not written.isna().any().any()
    rare = written.city[(train[:, 0] == 10).numpy()]
    assert OTHER not in set(written.city)
    assert rare.nunique() > 100
    assert set(rare).isdisjoint(data.spec.columns[0].categories)
    distance = column_distances(decoded(data, test), decoded(data, train, generated=True))[0]
    assert distance.missing == (0, 0)
    assert 0 < distance.distance < 0.1
    wrong = train.clone()
    wrong[:, 0] = 10
    assert column_distances(decoded(data, test), decoded(data, wrong, generated=True))[0].distance > 0.3


def test_a_rare_category_comes_as_often_as_in_train_and_the_same_ones_each_time() -> None:
    table = pa.table({"city": ["a"] * 50 + ["b"] * 40 + ["c"] * 9 + ["d"] * 3})
    fields = describe(table, [], [])
    of = TableFormat.fit(fields, to_rows(table, fields).T, "standard", 2)
    assert of.rare == (((2, 9), (3, 3)),)
    drawn = of.decode(np.full((4_000, 1), 2.0), within_train=True)["city"].to_pylist()
    assert Counter(drawn)["c"] / 4_000 == pytest.approx(0.75, abs=0.03)
    assert drawn == of.decode(np.full((4_000, 1), 2.0), within_train=True)["city"].to_pylist()
    again = TableFormat.from_json(json.loads(json.dumps(of.to_json())))
    assert again.rare == of.rare
    older = replace(of, rare=())
    assert older.decode(np.full((2, 1), 2.0), within_train=True)["city"].to_pylist() == [OTHER, OTHER]
    assert of.decode(np.full((1, 1), 2.0))["city"].to_pylist() == [OTHER]


def test_without_rare_categories_a_kept_one_is_drawn() -> None:
    table = pa.table({"grade": pa.array([1] * 30 + [2] * 10)})
    fields = describe(table, [], ["grade"])
    of = TableFormat.fit(fields, to_rows(table, fields).T, "standard", 5)
    made = np.full((400, 1), 2.0)
    assert set(np.unique(of.settled(made))) == {0.0, 1.0}
    grades = of.decode(made, within_train=True)["grade"]
    assert grades.type == pa.int64()
    assert grades.to_pylist() == (of.settled(made)[:, 0] + 1).tolist()
    assert of.decode(made)["grade"].to_pylist() == [OTHER] * 400  # as texts, since no whole number says it


def test_a_run_keeps_a_limited_number_of_rare_categories() -> None:
    values = tuple(f"{number:05}" for number in range(MOST_RARE + 500))
    codes = np.concatenate([np.arange(len(values)), np.arange(400, len(values))]).astype(float)
    of = TableFormat.fit([Field("x", "category", "string", values)], [codes], "standard", 100)
    assert len(of.rare[0]) == MOST_RARE
    assert not set(dict(of.rare[0])) & set(range(400))


@pytest.mark.parametrize("rare", [[[[9, 1]]], [[[0, 0]]], [[], []]])
def test_a_broken_record_is_refused(rare: list[object]) -> None:
    table = pa.table({"city": ["a", "b", "c"]})
    fields = describe(table, [], [])
    about = TableFormat.fit(fields, to_rows(table, fields).T, "standard", 2).to_json()
    with pytest.raises(ValueError, match=r"rare|greater"):
        TableFormat.from_json(about | {"rare": rare})


def test_a_model_may_give_any_number_of_rows_of_rare_categories(tmp_path: Path) -> None:
    data = load(cities(tmp_path / "cities.csv", 1_000), max_categories=10)
    drawn = torch.zeros(3, 3)
    drawn[:, 0] = torch.tensor([10.0, 0.0, float("nan")])
    assert data.restore(drawn, within_train=True)["city"].null_count == 1  # what is missing stays missing
