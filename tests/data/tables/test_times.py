"""Times of day: numbers for the model, times in files."""

import datetime as dt
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from own_tables import STORAGE, later, load
from vaelab.data.storage import Storage
from vaelab.data.tables.format import TableFormat
from vaelab.data.tables.notation import times_of_day

COUNT = 60


def shifts(path: Path, seed: int = 0) -> Path:
    """Begin on whole quarters of an hour, some missing, and a duration."""
    generator = np.random.default_rng(seed)
    quarters = generator.integers(24, 72, COUNT)
    start = [f"{quarter // 4:02}:{quarter % 4 * 15:02}:00" for quarter in quarters]
    start[3] = ""
    pd.DataFrame({"start": start, "hours": generator.normal(8, 1, COUNT)}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("where", STORAGE)
def test_times_are_numbers_and_written_as_times(where: Storage, tmp_path: Path) -> None:
    data = load(shifts(tmp_path / "shifts.csv"), where)
    assert data.spec.columns[0].categories == ()
    drawn = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    drawn[0] = torch.nan
    rows = pd.read_csv(io.BytesIO(bytes(data.written("samples", drawn)["samples.csv"])))  # type: ignore[arg-type]
    assert rows.start.isna().tolist() == [True] + [False] * 199
    assert rows.start[1:].str.fullmatch(r"\d\d:(00|15|30|45):00").all()
    known = pd.read_csv(tmp_path / "shifts.csv").start
    assert known.min() <= rows.start[1:].min() <= rows.start[1:].max() <= known.max()
    again = TableFormat.from_json(json.loads(json.dumps(data.format.to_json())))
    assert again.decode(drawn.numpy()).equals(data.format.decode(drawn.numpy()))


def test_later_times_may_be_finer(tmp_path: Path) -> None:
    trained = load(shifts(tmp_path / "shifts.csv"))
    times = pa.array([dt.time(12, 30, 0, 500), dt.time(7)] * 5, pa.time64("us"))
    pq.write_table(pa.table({"start": times, "hours": np.arange(10.0)}), tmp_path / "later.parquet")
    rows = later(tmp_path / "later.parquet", trained)
    restored = rows.restore(rows.clean("test"))["start"].to_pylist()
    assert [time.hour * 60 + time.minute for time in restored[:2]] == [750, 420]


def test_times_can_be_categories(tmp_path: Path) -> None:
    data = load(shifts(tmp_path / "shifts.csv"), categorical=["start"])
    assert data.spec.columns[0].categories[0].endswith(":00")
    assert data.restore(data.clean("train"))["start"].type == pa.time32("s")


@pytest.mark.parametrize("where", STORAGE)
def test_hours_may_have_one_digit(where: Storage, tmp_path: Path) -> None:
    shifts(tmp_path / "shifts.csv")
    rows = pd.read_csv(tmp_path / "shifts.csv")
    rows.assign(start=rows.start.str.replace("^0", "", regex=True).str.removesuffix(":00")).to_csv(
        tmp_path / "short.csv", index=False
    )
    two, one = load(tmp_path / "shifts.csv", where), load(tmp_path / "short.csv", where)
    assert one.spec == replace(two.spec, name=one.spec.name)
    torch.testing.assert_close(one.clean("train"), two.clean("train"), equal_nan=True)
    assert one.restore(one.clean("train"))["start"].type == pa.time32("s")


def test_texts_that_are_no_times_stay_texts() -> None:
    for cells in (["7:05", "24:00"], ["7:05", "x"], ["7:65"], [None]):
        column = pa.array(cells, pa.string())
        assert times_of_day(column) is column
    assert times_of_day(pa.array([" 7:05", None, "23:59:30"])).to_pylist() == [dt.time(7, 5), None, dt.time(23, 59, 30)]
