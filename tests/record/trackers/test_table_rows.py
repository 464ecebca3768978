"""The first rows of a table, whatever its size, and whether there are more."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from vaelab.record.trackers import table_rows
from vaelab.record.trackers.table_rows import first_rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("count", "cut"), [(0, False), (2, False), (3, False), (4, True), (50, True)])
def test_a_table_is_cut_where_it_has_more_rows(tmp_path: Path, kind: str, count: int, cut: bool) -> None:
    path = tmp_path / f"scores.{kind}"
    if kind == "csv":
        path.write_text("row,score,label\n" + "".join(f'{n},{n}.5,"a,\n{n}"\n' for n in range(count)))
    else:
        columns = {"row": range(count), "score": [n + 0.5 for n in range(count)],
                   "label": [f"a,\n{n}" for n in range(count)]}  # fmt: skip
        parquet.write_table(pa.table({name: list(cells) for name, cells in columns.items()}), path)
    found = first_rows(path, 3)
    assert found.columns == ["row", "score", "label"]
    assert found.rows == [[n, n + 0.5, f"a,\n{n}"] for n in range(min(count, 3))]
    assert found.cut is cut


def test_no_more_of_a_file_is_read_than_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "BLOCK", 4_096)
    path = tmp_path / "scores.csv"
    rows = "".join(f"{n},a\n" for n in range(10_000))
    path.write_text(f"row,label\n{rows}a line, that has, too many cells\n")  # which would be an error to read
    assert first_rows(path, 1_000).rows[-1] == [999, "a"]
    with pytest.raises(pa.ArrowInvalid):
        first_rows(path, 20_000)


def test_vectors_are_columns_and_what_is_no_number_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "latents.parquet"
    parquet.write_table(pa.table({"z": [[1.0, 2.0], [3.0, float("nan")]], "label": ["a", None]}), path)
    found = first_rows(path, 5)
    assert found.columns == ["z0", "z1", "label"]
    assert found.rows == [[1.0, 2.0, "a"], [3.0, None, None]]
