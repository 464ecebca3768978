"""What a run says of generated rows of a table, beside a Gaussian copula and train rows."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from options import stated
from own_tables import later
from vaelab.corruptions import Identity
from vaelab.data.tables.table import Table
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.table_quality.rows import decoded
from vaelab.metrics import direction, is_reference
from vaelab.tasks.generation.tables import TableQuality, beside

Run = Callable[..., Path]
NAMES = ("tstr", "marginal_distance", "correlation_distance", "real_or_synthetic_auroc")


def visits(path: Path, count: int, seed: int, missing: bool = False) -> Path:
    """A label that follows an amount, and a city that follows nothing."""
    generator = np.random.default_rng(seed)
    amount = generator.normal(size=count)
    rows = pd.DataFrame({
        "amount": amount,
        "pages": generator.poisson(3, count),
        "city": generator.choice(["Bonn", "Ulm", "Köln"], count),
        "paid": np.where(amount + 0.5 * generator.normal(size=count) > 0.3, "yes", "no"),
    })  # fmt: skip
    if missing:
        rows.loc[::5, "amount"] = np.nan
    rows.to_csv(path, index=False)
    return path


def load(path: Path, **settings: Any) -> Table:
    data = Table(**stated("data/table") | {
        "corruption": Identity(), "path": str(path), "data_dir": "nowhere", "seed": 0, "label": "paid",
        "label_as_column": True,
    } | settings)  # fmt: skip
    data.setup()
    return data


def quality(data: Table, folder: Path, target: str | None = None, given: bool = False) -> TableQuality:
    return TableQuality(data, target, given, len(data.split["test"]), BaselineCache(folder, data))


def test_rows_are_decoded_to_the_units_of_the_file(tmp_path: Path) -> None:
    path = visits(tmp_path / "visits.csv", 100, 0, missing=True)
    data = load(path)
    rows = decoded(data, data.clean("train"))
    file = pd.read_csv(path).iloc[data.split["train"].numpy()]
    assert [column.name for column in rows.columns] == ["amount", "pages", "city", "paid"]
    np.testing.assert_allclose(rows.values[:, 0], file["amount"], atol=1e-4)
    np.testing.assert_array_equal(rows.values[:, 1], file["pages"])
    assert [rows.columns[2].categories[int(code)] for code in rows.values[:, 2]] == file["city"].tolist()
    assert rows.columns[1].decimals == 0
    assert rows.columns[0].decimals != 0


def test_rare_categories_are_one_and_labels_may_be_a_column_beside(tmp_path: Path) -> None:
    data = load(visits(tmp_path / "visits.csv", 100, 0), max_categories=2, label_as_column=False)
    values, labels = data.clean("train"), data.labels("train")
    rows = decoded(data, values, labels)
    assert rows.columns[2].categories[2:] == ("(other)",)
    assert (rows.values[:, 2] == 2).sum() == (values[:, 2] == 2).sum() > 0
    assert rows.columns[3].categories == ("no", "yes")
    np.testing.assert_array_equal(rows.values[:, 3], labels.numpy())


def test_the_target_is_the_one_that_is_named_or_the_label_or_a_category(tmp_path: Path) -> None:
    path = visits(tmp_path / "visits.csv", 200, 0)

    def target(data: Table, **settings: Any) -> str:
        exam = quality(data, tmp_path, **settings).exam()
        assert not isinstance(exam, str)
        return exam.rows.columns[exam.target].name

    assert target(load(path)) == "paid"
    assert target(load(path), target="pages") == "pages"
    assert target(load(path, label_as_column=False)) == "city"
    assert target(load(path, label_as_column=False), given=True) == "paid"
    assert target(load(path, label=None, label_as_column=False, drop=["paid", "city"])) == "pages"


def test_a_copula_is_missing_what_train_is_missing(tmp_path: Path) -> None:
    data = load(visits(tmp_path / "visits.csv", 500, 0, missing=True))
    drawn = quality(data, tmp_path).copula()(2_000, 0)
    assert np.isnan(drawn.values).mean(0).tolist() == pytest.approx([0.2, 0, 0, 0], abs=0.03)


def test_rows_of_a_copula_are_in_the_units_that_those_of_a_model_are_in(tmp_path: Path) -> None:
    path = visits(tmp_path / "visits.csv", 300, 0)
    rows = pd.read_csv(path)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rows.pages * 7, "D")
    price = rows.amount.abs().round(1).astype("float32")
    rows.assign(day=days.dt.date, price=price).to_parquet(tmp_path / "visits.parquet")
    data = load(tmp_path / "visits.parquet", scaling="standard")
    of = quality(data, tmp_path)
    drawn, train = of.copula()(200, 0), of.real("train")
    day, price_of = (drawn.column(name) for name in ("day", "price"))
    assert (drawn.values[:, day] % 86_400_000 == 0).all()
    known = np.unique(price)  # as float32 has them
    for each in (drawn, train):
        assert np.isin(each.values[:, price_of].astype(np.float32), known).mean() > 0.9
    assert np.isin(drawn.values[:, price_of], train.values[:, price_of]).mean() > 0.9  # to the last digit


def test_a_test_split_without_labels_does_not_tell_rows_apart(tmp_path: Path) -> None:
    folder = tmp_path / "visits"
    folder.mkdir()
    visits(folder / "train.csv", 300, 0)
    pd.read_csv(visits(tmp_path / "test.csv", 200, 1)).drop(columns="paid").to_csv(folder / "test.csv", index=False)
    of = quality(load(folder), tmp_path)
    test, train = of.compared(of.real("test")), of.compared(of.real("train", 200))
    assert [column.name for column in train.columns] == [column.name for column in test.columns]
    assert "paid" not in [column.name for column in test.columns]
    numbers, _ = of.distances(train, test)
    assert numbers["real_or_synthetic_auroc"] < 0.65  # 1 where rows are told by whether they have a label
    assert numbers["marginal_distance"] < 0.1
    assert "the label paid" in of.about(train, test, numbers)["marginal_distance"]["left out"]
    whole = quality(load(tmp_path / "test.csv"), tmp_path)
    assert "paid" in [column.name for column in whole.compared(whole.real("test")).columns]


def test_rows_for_later_data_are_missing_what_these_are_missing(tmp_path: Path) -> None:
    trained = load(visits(tmp_path / "visits.csv", 300, 0, missing=True))
    rows = later(visits(tmp_path / "later.csv", 200, 1, missing=True), trained, label="paid")
    of = quality(rows, tmp_path)
    gaps = of.gaps()
    drawn = gaps.over(torch.zeros(2_000, 4)).isnan().double().mean(0).tolist()
    assert drawn == pytest.approx([0.2, 0, 0, 0], abs=0.03)
    assert gaps.about == "each generated example has the missing values of a randomly drawn test example"


def test_baselines_are_measured_anew_in_other_units(tmp_path: Path) -> None:
    path = visits(tmp_path / "visits.csv", 200, 0)
    rows = pd.read_csv(path)

    def measured(times: int, cache: str) -> float:
        rows.assign(more=(rows.amount + rows.pages) * times).to_csv(path, index=False)
        of = quality(load(path, scaling="standard"), tmp_path / cache, target="more")
        exam = of.exam()
        copula, _ = beside(of, exam, {}, None, of.real("test"))
        return copula.measure(print).numbers["baseline/gaussian_copula/tstr"]

    first, second = measured(1, "cache"), measured(1_024, "cache")  # scaled values are the same
    assert second == pytest.approx(measured(1_024, "empty"))
    assert second == pytest.approx(first, abs=0.01)


def test_numbers_of_tables_have_a_direction_and_the_copula_is_a_rival() -> None:
    assert [direction(f"test/{name}") for name in (*NAMES, "tstr_ratio_fitted")] == ["max", "min", "min", "min", "max"]
    assert not is_reference("gaussian_copula")
    assert is_reference("train_split")


RUN = ("task=generation", "data=table", "encoder.hidden=[16]", "decoder.hidden=[16]", "latent_dim=3",
       "task.nll_samples=2", "budget.patience=null")  # fmt: skip


def read(run: Path) -> tuple[dict[str, float], dict[str, Any]]:
    return json.loads((run / "metrics.json").read_text()), json.loads((run / "metrics_metadata.json").read_text())


@pytest.mark.long
def test_a_run_measures_its_rows_and_later_ones(train: Run, tmp_path: Path) -> None:
    path, later = (visits(tmp_path / f"{name}.csv", 300, seed) for name, seed in (("visits", 0), ("later", 1)))
    words = (f"data.path={path}", "data.label=paid", f"paths.data_dir={tmp_path}")
    run = train(*RUN, *words, "budget.steps=400", "fitted_prior=gaussian")
    numbers, about = read(run)
    for name in NAMES:
        assert {f"test/{name}", f"test/{name}_fitted", f"baseline/gaussian_copula/{name}",
                f"baseline/train_split/{name}"} <= numbers.keys()  # fmt: skip
    assert numbers["test/tstr_ratio"] == pytest.approx(numbers["test/tstr"] / numbers["test/trtr"])
    assert numbers["baseline/train_split/tstr"] == numbers["test/trtr"] > 0.8
    assert numbers["test/tstr"] > 0.6
    assert about["test/tstr"]["target"] == "paid"
    assert about["test/trtr"]["at least"] < numbers["test/trtr"] < about["test/trtr"]["at most"]
    assert "trees predict the column paid (macro one-vs-rest AUROC of 2 classes)" in (run / "report.html").read_text()
    assert about["test/tstr_ratio"]["at least"] < numbers["test/tstr_ratio"] < about["test/tstr_ratio"]["at most"]
    lead = about["baseline/gaussian_copula/tstr"]
    assert lead["the run is ahead by"] == pytest.approx(
        numbers["test/tstr"] - numbers["baseline/gaussian_copula/tstr"], abs=1e-3
    )
    fitted = about["baseline/gaussian_copula/tstr_fitted"]["the run is ahead by"]
    assert fitted == pytest.approx(numbers["test/tstr_fitted"] - numbers["baseline/gaussian_copula/tstr"], abs=1e-3)
    assert {"columns.png", "associations.png"} <= {file.name for file in (run / "figures").iterdir()}
    listed = list(csv.DictReader((run / "column_distances.csv").read_text().splitlines()))
    assert sum(float(row["distance"]) for row in listed) / 4 == pytest.approx(
        numbers["test/marginal_distance_fitted"], rel=1e-4
    )

    # Columns that are kept with the run are all that a later file needs.
    found, known = read(train("task=generation", "train=false", f"ckpt_path={run}", f"data.path={later}"))
    assert known["test/tstr"]["tested on"] == "300 real test rows"
    assert found["test/tstr"] > 0.6
    assert {f"test/{name}" for name in NAMES} <= found.keys()
    assert "not measured" in known["test/trtr"]
    assert "not measured" in known["test/tstr_ratio"]
    assert not any(name.startswith("baseline/") for name in found)


@pytest.mark.long
def test_a_model_that_is_given_labels_has_rows_with_labels(train: Run, tmp_path: Path) -> None:
    path = visits(tmp_path / "visits.csv", 300, 0, missing=True)
    words = (f"data.path={path}", "data.label=paid", f"paths.data_dir={tmp_path}", "model.condition=label",
             "fitted_prior=gaussian_by_label")  # fmt: skip
    run = train(*RUN, *words, "budget.steps=300")
    numbers, about = read(run)
    assert about["test/tstr"]["target"] == "paid"
    assert numbers["test/tstr_fitted"] > 0.6  # by N(0, I) alone, whatever the label, codes tell another amount
    assert "missing" in about["test/marginal_distance"]
    samples = pd.read_csv(run / "samples/samples.csv")
    assert samples.columns.tolist() == ["amount", "pages", "city", "paid"]
    assert len(samples) == 1_000  # although there are 60 test rows
    amounts = samples.groupby("paid").amount.mean()
    assert amounts["yes"] > amounts["no"]
    more = train("task=generation", "train=false", f"ckpt_path={run}", "task.samples=1500")
    assert len(pd.read_csv(more / "samples/samples.csv")) == 1_500
    for name in ("originals", "reconstructions"):
        rows = pd.read_csv(run / f"samples/{name}.csv")
        assert rows.paid.tolist() == ["no", "yes"] * 4  # drawn over the classes
    assert "paid" not in pd.read_csv(run / "samples/interpolation.csv").columns
    file = pd.read_csv(path)
    originals = pd.read_csv(run / "samples/originals.csv")
    assert originals.amount.dropna().isin(file.amount).all()  # to the last digit


@pytest.mark.long
def test_images_are_no_files_that_could_be_more(train: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train("task=generation", "task.samples=5", "trainer.max_epochs=1")
    assert "task.samples=5: applies to tables, series, music and text" in " ".join(capsys.readouterr().err.split())


@pytest.mark.long
def test_tiny_tables_and_targets_that_cannot_be_measured_say_why(
    train: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = visits(tmp_path / "visits.csv", 30, 0)
    words = (f"data.path={path}", f"paths.data_dir={tmp_path}", "trainer.max_epochs=1")
    numbers, about = read(train(*RUN[:-1], *words, "data.label=paid"))
    assert about["test/tstr"] == {"not measured": "6 test rows with a value of paid are too few"}
    assert "fewer than 10 rows" in about["test/real_or_synthetic_auroc"]["not measured"]
    assert "test/marginal_distance" in numbers
    assert "test/marginal_distance_fitted" in numbers  # of a mixture, as is usual for generated tables
    for more, message in (
        (["task.target=pgaes"], "task.target=pgaes: visits has no such column; did you mean pages"),
        (
            ["task.target=paid", "data.label=paid", "data.label_as_column=false"],
            "is the label, which this model does not generate",
        ),
    ):
        with pytest.raises(SystemExit):
            train(*RUN[:-1], *words, *more)
        assert message in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        train("task=generation", "task.target=x", "trainer.max_epochs=1")
    assert "task.target=x: applies to tables" in " ".join(capsys.readouterr().err.split())


def test_generated_rows_are_the_same_for_a_seed(tmp_path: Path) -> None:
    data = load(visits(tmp_path / "visits.csv", 100, 0))
    draw = quality(data, tmp_path).copula()
    np.testing.assert_array_equal(draw(50, 1).values, draw(50, 1).values)
    assert not np.array_equal(draw(50, 1).values, draw(50, 2).values)
    assert torch.equal(data.clean("train", 5), data.clean("train", torch.arange(5)))
