"""Identifiers, constants and empty columns are no inputs of a model, and what a model gives stays within train."""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from own_tables import STORAGE, later, load
from vaelab.data.storage import Storage
from vaelab.data.tables.format import TableFormat
from vaelab.data.tables.left_out import LeftOut, find_left_out, with_constants
from vaelab.data.tables.notation import PLAIN
from vaelab.errors import ConfigError

COUNT = 60


def customers(count: int = COUNT, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame({
        "number": np.arange(count) + 500,
        "currency": "EUR",
        "age": generator.integers(18, 90, count),
        "user_id": generator.permutation(10 * count)[:count],
        "email": [f"someone.{generator.integers(10**9)}@mail" for _ in range(count)],
        "remark": np.nan,
        "version": 3,
        "town": generator.choice(["Ulm", "Bonn"], count),
        "income": generator.normal(3000, 500, count).round(2),
    })  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    customers().to_csv(tmp_path / "customers.csv", index=False)
    return tmp_path / "customers.csv"


def names(data: Any) -> list[str]:
    return [column.name for column in data.spec.columns]


def found(**columns: Any) -> dict[str, str]:
    made = pa.table(columns)
    return {column.name: column.reason for column in find_left_out(made, (), [made.num_rows], PLAIN)}


# What is left out


@pytest.mark.parametrize("where", STORAGE)
def test_columns_that_tell_nothing_are_left_out_with_a_note_for_each_reason(
    path: Path, where: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(load(path, where)) == ["age", "town", "income"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert told[0].startswith("note: 3 columns are left out, since nearly every row has its own value")
    assert told[0].endswith("number, user_id, email; data.keep=[number,user_id,email] keeps them")
    assert "currency ('EUR'), version ('3'); data.keep=[currency,version] keeps them" in told[1]
    assert told[2] == "note: 1 column is left out, since no row has a value: remark"


def test_they_are_kept_where_the_user_says_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(path, keep=["number", "version"], numeric=["user_id"], categorical=["email", "currency"])
    assert names(data) == ["number", "currency", "age", "user_id", "email", "version", "town", "income"]
    assert "no row has a value: remark" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"data\.keep: .* has no column nmber; did you mean number"):
        load(path, keep=["nmber"])


def test_the_label_and_what_is_dropped_are_not_told_of(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(path, label="currency", drop=["number", "user_id", "email", "version", "remark"])
    assert capsys.readouterr().err == ""


def test_only_what_surely_tells_nothing_is_left_out() -> None:
    many = np.random.default_rng(0).permutation(COUNT * 3)[:COUNT]
    assert found(paid=many, solid=many, salary=many) == {}  # distinct, as amounts may be
    assert found(user_id=many, ItemID=many, key=many, order_key=many) == dict.fromkeys(
        ["user_id", "ItemID", "key", "order_key"], "identifier"
    )
    assert found(user_id=[*many[:-1], many[0]]) == {}
    assert found(number=np.arange(COUNT) + 7, even=np.arange(COUNT) * 2) == {"number": "identifier"}
    assert found(town=["Ulm", "Bonn"] * 30, name=[f"n{row}" for row in range(COUNT)]) == {"name": "identifier"}
    assert found(name=[f"n{row}" for row in range(19)], number=np.arange(19)) == {}  # too few to tell
    assert found(weight=[f"{row} kg" for row in range(COUNT)]) == {}  # measurements that have to be read
    days = [f"{1 + row % 28}/{1 + row % 12}/{1990 + row % 30}" for row in range(COUNT)]
    assert found(born=days) == {}
    assert found(asked=[*["yes"] * 30, *[None] * 30]) == {}  # whether there is an answer tells something
    assert found(measured=[1.5] * 59 + [float("nan")]) == {}


def test_numbers_that_begin_anew_in_each_file_count_too(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for name in ("train", "test"):
        customers(30).assign(number=np.arange(30)).to_csv(tmp_path / f"t/{name}.csv", index=False)
    assert "number" not in names(load(tmp_path / "t"))


# Later rows of a trained model


def test_later_rows_may_have_them_or_lack_them(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = load(path)
    capsys.readouterr()
    for table in (customers(9, 1), customers(9, 1)[["income", "town", "age"]]):
        table.to_csv(path.parent / "later.csv", index=False)
        data = later(path.parent / "later.csv", trained)
        assert data.restore(data._loaded.values)["age"].to_pylist() == table["age"].tolist()
        assert data.files() == trained.files()
    assert capsys.readouterr().err == ""


def test_another_value_of_a_constant_is_told_of(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = load(path)
    table = customers(9, 1)
    table.loc[:3, "currency"] = "USD"
    table.assign(version=[3.0] * 8 + [4.5], weight=1).to_csv(path.parent / "later.csv", index=False)
    capsys.readouterr()
    later(path.parent / "later.csv", trained)
    told = capsys.readouterr().err
    assert "have other values here: currency in 4 rows, version in 1 row" in told
    assert "not trained on, and which are left out: weight" in told


def test_a_model_of_before_that_has_such_columns_is_still_fed_with_them(path: Path) -> None:
    kept = ["number", "currency", "user_id", "email", "version"]
    trained = load(path, keep=kept)
    about = trained.format.to_json()
    for name in ("notation", "ranges", "left_out"):  # which no older run has
        del about[name]
    trained._format = TableFormat.from_json(about)
    data = later(path, trained)
    assert names(data) == names(trained)
    assert set(kept) <= set(names(data))
    torch.testing.assert_close(data._loaded.values, trained._loaded.values, rtol=0, atol=0)


# What is written


def test_constants_are_written_at_their_places_and_in_their_types(tmp_path: Path) -> None:
    when = dt.datetime(2021, 3, 4, 5, 6, 7, 89)
    constants = pa.table({
        "first": pa.array([7] * COUNT, pa.int32()),
        "a": np.arange(COUNT) % 9,
        "flag": [True] * COUNT,
        "day": [dt.date(2020, 1, 2)] * COUNT,
        "id": np.arange(COUNT),
        "when": pa.array([when] * COUNT, pa.timestamp("us", "Europe/Berlin")),
        "b": np.arange(COUNT) % 2 / 2,
        "price": pa.array(["3.50"] * COUNT).cast(pa.decimal128(5, 2)),
        "sort": pa.array(["u"] * COUNT).dictionary_encode(),
        "last": ['x, "y"'] * COUNT,
    })  # fmt: skip
    pq.write_table(constants, tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet")
    assert names(data) == ["a", "b"]
    assert data.restore(data._loaded.values).column_names == ["a", "b"]
    files = data.written("rows", data._loaded.values)
    written = pq.read_table(io.BytesIO(files["rows.parquet"]))  # type: ignore[arg-type]
    left = constants.set_column(constants.column_names.index("sort"), "sort", constants["sort"].cast(pa.string()))
    assert written.drop_columns(["a", "b"]).equals(left.drop_columns(["a", "b", "id"]))
    assert written.column_names == [name for name in constants.column_names if name != "id"]
    header = files["rows.csv"].splitlines()[0]
    assert header == b'"first","a","flag","day","when","b","price","sort","last"'


def test_a_constant_that_cannot_be_is_refused() -> None:
    wrong = [
        {"name": "a", "reason": "constant", "place": 0, "arrow": "int64", "value": "x"},
        {"name": "a", "reason": "constant", "place": 0, "arrow": "nothing", "value": "x"},
        {"name": "a", "reason": "constant", "place": -1, "arrow": "string", "value": "x"},
        {"name": "a", "reason": "dull", "place": 0},
    ]
    good = TableFormat.fit([], [], "standard", 9).to_json()
    assert TableFormat.from_json(good).left_out == ()
    for column in wrong:
        with pytest.raises(ValueError, match=r".+"):
            TableFormat.from_json(good | {"left_out": [column]})
    assert with_constants(pa.table({"b": [1, 2]}), [LeftOut("a", "constant", 9, "string", "u")]).column_names == [
        "b",
        "a",
    ]


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_what_a_model_gives_is_written_within_the_range_of_train(tmp_path: Path, scaling: str) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({
        "smoker": generator.integers(0, 2, COUNT),
        "children": generator.integers(0, 5, COUNT).astype(float),
        "weight": generator.normal(70, 10, COUNT),
        "day": pd.Timestamp("2021-01-01") + pd.to_timedelta(generator.integers(0, 300, COUNT), "D"),
    })  # fmt: skip
    table.loc[3, "children"] = np.nan
    table.to_parquet(tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet", scaling=scaling)
    train = data.restore(data.clean("train")).to_pandas()
    values = 4 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    files = data.written("samples", values)
    rows = pq.read_table(io.BytesIO(files["samples.parquet"])).to_pandas()  # type: ignore[arg-type]
    assert rows["smoker"].dtype == np.int64
    assert set(rows["smoker"]) == {0, 1}
    assert set(rows["children"]) <= set(range(5))
    for name in ("weight", "day"):
        kept = table[name].iloc[data.split["train"].numpy()]
        assert rows[name].min() == pytest.approx(kept.min()) if name == "weight" else rows[name].min() == kept.min()
        assert kept.min() <= rows[name].min()
        assert rows[name].max() <= kept.max()
    assert train["weight"].max() == pytest.approx(rows["weight"].max())


def test_real_rows_are_written_as_they_are(tmp_path: Path) -> None:
    """Those of a later file may be out of the range of train, which `originals` has to show."""
    values = np.random.default_rng(0).normal(0, 1, COUNT)
    pd.DataFrame({"a": values, "b": values**2}).to_csv(tmp_path / "before.csv", index=False)
    pd.DataFrame({"a": [50.0, 0.5], "b": [0.1, 0.2]}).to_csv(tmp_path / "later.csv", index=False)
    data = later(tmp_path / "later.csv", load(tmp_path / "before.csv"))
    real = data.written("originals", data._loaded.values, generated=False)["originals.parquet"]
    given = data.written("reconstructions", data._loaded.values)["reconstructions.parquet"]
    assert pq.read_table(io.BytesIO(real))["a"][0].as_py() == pytest.approx(50)  # type: ignore[arg-type]
    assert pq.read_table(io.BytesIO(given))["a"][0].as_py() < 4  # type: ignore[arg-type]
    assert data.restore(data._loaded.values)["a"][0].as_py() == pytest.approx(50)


def test_a_run_that_kept_no_range_writes_what_the_model_gives(tmp_path: Path) -> None:
    pd.DataFrame({"a": np.arange(COUNT) % 7, "b": np.arange(COUNT) % 5}).to_csv(tmp_path / "x.csv", index=False)
    data = load(tmp_path / "x.csv")
    about = json.loads(json.dumps(data.format.to_json()))
    del about["ranges"]
    old = TableFormat.from_json(about)
    rows = np.full((1, 2), 100.0)
    assert old.decode(rows, within_train=True).equals(old.decode(rows))
    assert data.format.decode(rows, within_train=True).to_pylist() == [{"a": 6, "b": 4}]
    with pytest.raises(ValueError, match="ranges"):
        TableFormat.from_json(about | {"ranges": [None, None]})


def test_numbers_that_a_model_gives_have_no_more_decimals_than_train(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"price": random.uniform(1, 99, COUNT).round(2), "flag": random.integers(0, 2, COUNT).astype(float),
         "length": random.normal(0, 1, COUNT)}
    )  # fmt: skip
    frame.to_csv(tmp_path / "x.csv", index=False)
    data = load(tmp_path / "x.csv")
    assert [known and known.decimals for known in data.format.ranges] == [2, 0, None]
    given = data.format.decode(random.normal(0, 1, (50, 3)), within_train=True).to_pandas()
    assert (given["price"] == given["price"].round(2)).all()
    assert given["flag"].isin([0.0, 1.0]).all()
    assert (given["length"] != given["length"].round(6)).any()


def test_numbers_in_single_precision_keep_the_decimals_that_they_are_printed_with(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    price = pa.array(random.uniform(1, 99, COUNT).round(2).astype(np.float32))
    tiny = pa.array((random.integers(1, 900, COUNT) * 1e-9).round(9))
    pq.write_table(pa.table({"price": price, "tiny": tiny}), tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet")
    assert [known and known.decimals for known in data.format.ranges] == [2, 9]
    files = data.written("samples", torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))
    lines = bytes(files["samples.csv"]).decode().splitlines()[1:]  # type: ignore[arg-type]
    assert all(len(line.split(",")[0].partition(".")[2]) <= 2 for line in lines)


@pytest.mark.parametrize(
    ("unit", "seconds"), [("D", 86_400), ("15min", 900), ("1h", 3_600), ("10min", 600), ("1min", 60), ("7s", 1)]
)
def test_times_that_a_model_gives_keep_the_step_of_train(unit: str, seconds: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    times = pd.Timestamp("2024-01-01") + random.integers(0, 2_000, COUNT) * pd.Timedelta(1, "s") * (
        pd.Timedelta(unit if unit[0].isdigit() else f"1{unit}") / pd.Timedelta(1, "s")
    )
    pd.DataFrame({"when": times, "x": random.normal(size=COUNT)}).to_parquet(tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet")
    assert data.format.ranges[0] is not None
    given = data.format.decode(random.normal(0, 1, (50, 2)), within_train=True)["when"].to_pandas()
    assert (given.dt.floor(f"{seconds}s") == given).all()
    assert given.nunique() > 20
    again = TableFormat.from_json(json.loads(json.dumps(data.format.to_json())))
    assert again.ranges == data.format.ranges
