"""Series are read from every form they come in, scaled by train alone, restored exactly, and never leak in time."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from series_files import folder, series, waves, write_csv
from vaelab.data.series.format import SeriesFormat
from vaelab.data.series.recordings import Reading, read_recordings
from vaelab.data.series.series import Series
from vaelab.errors import ConfigError, DataError, UserError


def restored(data: Series) -> torch.Tensor:
    """All examples in the units of the file, in the order of the file."""
    rows = torch.cat(list(data.split.values()))
    values = torch.cat([data.restore(data.clean(split)) for split in data.split])
    return values[rows.argsort()]


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_every_scaling_has_an_exact_way_back(tmp_path: Path, scaling: str) -> None:
    x = waves(30)
    np.save(tmp_path / "x.npy", x)
    data = series(tmp_path / "x.npy", scaling=scaling)
    assert data.spec.shape == (2, 24)
    assert not data.spec.has_missing
    if scaling == "quantile":  # beyond train's extremes there is no way back
        x = np.clip(x, *(f(restored(data).numpy(), axis=(0, 2), keepdims=True) for f in (np.min, np.max)))
    np.testing.assert_allclose(restored(data), x, atol=2e-5)


def test_scales_are_those_of_train_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", waves(30) * np.linspace(1, 5, 30).reshape(-1, 1, 1))
    data = series(tmp_path / "x.npy")
    train = data.clean("train").double()
    torch.testing.assert_close(train.mean((0, 2)), torch.zeros(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std((0, 2), correction=0), torch.ones(2).double(), atol=1e-6, rtol=0)
    again = SeriesFormat.from_json(json.loads(str(data.files()["model/series.json"])))
    torch.testing.assert_close(again.decode(data.clean("test")), data.restore(data.clean("test")), rtol=0, atol=0)


def test_layouts_of_arrays(tmp_path: Path) -> None:
    x = waves(12, channels=3)
    np.save(tmp_path / "first.npy", x)
    np.save(tmp_path / "last.npy", x.transpose(0, 2, 1))
    np.save(tmp_path / "flat.npy", x[:, 0])
    first, last = series(tmp_path / "first.npy"), series(tmp_path / "last.npy", layout="channels_last")
    torch.testing.assert_close(restored(first), restored(last))
    assert series(tmp_path / "flat.npy").spec.shape == (1, 24)
    with pytest.raises(ConfigError, match=r"24 channels of 3 steps.*layout"):
        series(tmp_path / "last.npy")


def test_labels_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", waves(12))
    np.save(tmp_path / "y.npy", np.arange(12) % 3)
    data = series(tmp_path / "x.npy", labels=str(tmp_path / "y.npy"))
    assert data.spec.classes == ("0", "1", "2")
    for split, rows in data.split.items():
        assert torch.equal(data.labels(split), rows % 3)
    np.save(tmp_path / "y.npy", np.arange(11))
    with pytest.raises(DataError, match=r"shape \(11,\).*\(12,\)"):
        series(tmp_path / "x.npy", labels=str(tmp_path / "y.npy"))


def test_a_folder_of_files_of_any_length(tmp_path: Path) -> None:
    """Windows line ends, gaps and two classes; what is missing or after the end is NaN, all else is as in the file."""
    data = series(folder(tmp_path / "all"))
    assert data.spec.has_missing
    assert data.spec.shape == (2, 24)
    assert data.spec.classes == ("odd", "usual")
    rows = str(data.files()["examples.csv"]).splitlines()[1:]
    values = restored(data)
    for row in rows:
        example, _, source, _ = row.split(",")
        file = np.genfromtxt(source.strip('"'), delimiter=",", skip_header=1).T
        np.testing.assert_allclose(values[int(example), :, : file.shape[1]], file, atol=2e-5)
        assert values[int(example), :, file.shape[1] :].isnan().all()


def test_compressed_files_are_read_as_others(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "pump.csv", waves(1, steps=80)[0])
    (tmp_path / "packed").mkdir()
    packed = tmp_path / "packed/pump.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain, data = series(path, window=8, stride=8), series(packed, window=8, stride=8)
    torch.testing.assert_close(data.clean("train"), plain.clean("train"))
    assert data.name == plain.name == "pump"


def test_folders_may_be_splits_of_classes(tmp_path: Path) -> None:
    for number, x in enumerate(waves(12)):
        split, kind = ("train", "val", "test")[number % 3], "ab"[number % 2]
        write_csv(tmp_path / split / kind / f"{number}.csv", x)
    data = series(tmp_path)
    assert {split: len(rows) for split, rows in data.split.items()} == {"train": 4, "val": 4, "test": 4}
    for place, split in enumerate(("train", "val", "test")):
        expected = sorted(waves(12)[place::3, 0, 0].tolist())
        assert sorted(data.restore(data.clean(split))[:, 0, 0].tolist()) == pytest.approx(expected, abs=1e-4)
    assert data.spec.classes == ("a", "b")


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    x = waves(10)
    for number, one in enumerate(x):
        order = [0, 1] if number % 2 else [1, 0]
        write_csv(tmp_path / f"{number}.csv", one[order], [f"c{place}" for place in order])
    values = restored(series(tmp_path))
    names = [1, 0]  # as in the first file
    np.testing.assert_allclose(values, x[:, names], atol=2e-5)


def test_a_row_may_be_a_series(tmp_path: Path) -> None:
    """The form of the UCR archive: no header, the class in the first column, shorter series end in NaN."""
    x = waves(20, 1)[:, 0]
    x[3, 20:] = np.nan
    table = np.column_stack([np.arange(20) % 2 + 1, x])
    for name, part in (("A_TRAIN.tsv", table[:12]), ("A_TEST.tsv", table[12:])):
        np.savetxt(tmp_path / name, part, delimiter="\t")
    data = series(tmp_path, form="rows", label=0)
    assert data.spec.shape == (1, 24)
    assert data.spec.classes == ("1", "2")
    assert len(data.split["test"]) == 8
    assert data.restore(data.clean("test"))[:, 0].numpy() == pytest.approx(x[12:], abs=1e-4)
    with_names = tmp_path / "named.csv"
    np.savetxt(with_names, table, delimiter=",", header=",".join(map(str, range(25))), comments="")
    assert restored(series(with_names, form="rows", label=0))[:, 0].numpy() == pytest.approx(x, abs=1e-4, nan_ok=True)


def test_a_cell_may_be_a_series(tmp_path: Path) -> None:
    """The form of a data set of the Hugging Face hub: a column of lists for each channel."""
    generator = np.random.default_rng(0)
    rows = [generator.normal(size=(2, 5 + number % 3)) for number in range(12)]
    kinds = [f"kind {number % 2}" for number in range(12)]
    for name, first, last in (("train", 0, 8), ("test", 8, 12)):
        x, y = ([row[channel].tolist() for row in rows[first:last]] for channel in (0, 1))
        pq.write_table(pa.table({"y": y, "kind": kinds[first:last], "x": x}), tmp_path / f"{name}.parquet")
    data = series(tmp_path, label="kind")
    assert data.spec.shape == (2, 7)
    assert data.spec.classes == ("kind 0", "kind 1")
    assert len(data.split["test"]) == 4
    for row, found in zip(rows[8:], data.restore(data.clean("test")).numpy(), strict=True):
        assert found[:, : row.shape[1]] == pytest.approx(row[::-1], abs=1e-5)
        assert np.isnan(found[:, row.shape[1] :]).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [[1.0, 2.0], []]}, "column x: row 1 holds no value"),
        ({"x": [[1.0, 2.0], [3.0, 4.0]], "y": [[1.0, 2.0], [3.0]]}, "row 1 has channels of 1 and 2 steps"),
        ({"x": [["a"], ["b"]]}, "column x holds lists of string; should be numbers"),
        ({"x": [[1.0, 2.0], [3.0, 4.0]], "id": [7, 8]}, r"column id holds int64 beside columns of lists.*data\.drop"),
    ],
)
def test_cells_that_are_no_series_are_named(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "lists.parquet")
    with pytest.raises(DataError, match=message):
        series(tmp_path / "lists.parquet")


def test_windows_of_one_recording_share_no_step_between_splits(tmp_path: Path) -> None:
    """A recording that counts its steps says where each window lies."""
    steps = np.arange(1000.0)
    pq.write_table(pa.table({"at": steps, "x": steps, "mark": (steps == 950).astype(int)}), tmp_path / "long.parquet")
    data = series(tmp_path / "long.parquet", time="at", label="mark", window=20, stride=3)
    seen = {split: {int(v.round()) for v in data.restore(data.clean(split)).flatten()} for split in data.split}
    assert max(seen["train"]) < min(seen["val"])
    assert max(seen["val"]) < min(seen["test"])
    assert [len(data.split[s]) for s in ("train", "val", "test")] == [207, 47, 61]  # of 640, 160 and 200 steps
    anomalous = data.labels("test") == data.spec.classes.index("1")
    windows = data.restore(data.clean("test"))[:, 0].round()
    assert torch.equal(anomalous, (windows == 950).any(1))
    commonest = series(tmp_path / "long.parquet", time="at", label="mark", window=20, window_label="commonest")
    assert commonest.spec.classes == ("0",)


def test_windows_of_an_array_take_labels_of_its_steps(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(300, 2)))
    np.save(tmp_path / "y.npy", (np.arange(300) >= 290).astype(int))
    settings = {"layout": "channels_last", "labels": str(tmp_path / "y.npy"), "window": 10}
    data = series(tmp_path / "x.npy", **settings)
    assert data.spec.shape == (2, 10)
    assert data.labels("test").tolist() == [0] * 5 + [1]


def test_a_gap_as_long_as_a_window_gives_no_example(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=200)
    x[20:40] = np.nan
    np.save(tmp_path / "x.npy", x)
    data = series(tmp_path / "x.npy", window=10)
    assert sum(map(len, data.split.values())) < 20
    assert not data.spec.has_missing


def bad(tmp_path: Path, name: str, content: bytes) -> Path:
    for number, x in enumerate(waves(6)):
        write_csv(tmp_path / f"ok{number}.csv", x)
    (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.csv: the file is empty"),
        (b"c0,c1\n", "bad.csv: holds no row"),
        (b"c0,c1\n1,2\n1\n", "bad.csv: cannot be read.*Expected 2 columns, got 1"),
        (b"c0,c1\n1,x\n", "bad.csv: column c1 holds string, which is no number"),
        (b"c0,c2\n1,2\n", r"ok0.csv: has the channels c0, c1, but .*bad.csv has c0, c2"),
        (b"c0,c1\n,\n", "bad.csv: holds no value"),
        (b"c0,c1\n1,inf\n", "bad.csv: has an infinite value"),
        (b"c0,c\xe4\n1,2\n", "bad.csv: cannot be read.*data.encoding"),
        (b"c0,c0\n1,2\n", "bad.csv: has several columns named c0"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        series(bad(tmp_path, "bad.csv", content))


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    bad(tmp_path, "bad.csv", b"")
    with pytest.raises(DataError, match=r"2 of 8 files cannot be used: .*bad\.csv: the file .*; .*worse\.csv: holds"):
        series(bad(tmp_path, "worse.csv", b"c0,c1\n"))


STEPS = b"c0,c1\n" + b"".join(b"%d,2\n" % step for step in range(9))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (STEPS + b"x,1\n", r"bad\.csv: column c0: 1 cell is no number, first 'x' in row 9 \(line 11\); correct"),
        (STEPS + b"1,-inf\n", r"bad\.csv: has an infinite value, channel c1, step 9"),
        (STEPS + b"1e300,1\n", r"1e\+300 is too far from all other values to compute with, channel c0, step 9"),
        (STEPS + b"1,3e12\n", r"bad\.csv: 3e\+12 is too far from all other values to compute with, channel c1, step 9"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = bad(tmp_path, "bad.csv", content)
    with pytest.raises(DataError, match=message):
        series(path, scaling="robust")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_an_array_with_a_value_far_off_is_refused(tmp_path: Path, kind: type) -> None:
    x = waves(30).astype(kind)
    x[29, 1, 3] = 1e30
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match=r"x\.npy\[29\]: 1e\+30 is too far .*channel channel 1, step 3"):
        series(tmp_path / "x.npy", scaling="robust")


@pytest.mark.parametrize("cell", ["", "NA", "-", " ", "n/a", "<NA>", '"NaN"'])
def test_every_sign_of_a_missing_value_is_missing(tmp_path: Path, cell: str) -> None:
    data = series(bad(tmp_path, "odd.csv", STEPS + cell.encode() + b",1\n1,2\n"))
    values = restored(data)[0 if "odd.csv" < "ok0.csv" else -1]
    assert values[0, :11].isnan().tolist() == [False] * 9 + [True, False]


def test_links_capitals_and_what_is_skipped_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, root in (("a", tmp_path / "x/a"), ("b", tmp_path / "far")):
        for number, one in enumerate(waves(10)):
            write_csv(root / f"{kind}{number}.CSV", one)
    (tmp_path / "x/b").symlink_to(tmp_path / "far")
    (tmp_path / "x/a/notes.txt").write_text("x")
    (tmp_path / "x/a/._a1.CSV").write_text("x")
    write_csv(tmp_path / "x/loose.csv", waves(1)[0])
    data = series(tmp_path / "x")
    assert data.spec.classes == ("a", "b")
    labels = torch.cat([data.labels(split) for split in data.split])
    assert sorted(labels.tolist()) == [-1] + [0] * 10 + [1] * 10
    told = capsys.readouterr().err
    assert "1 file is skipped, since the suffix is not that of a table (.txt 1): a/notes.txt" in told
    assert "1 series is outside the folders of classes and without a label: loose.csv" in told


def test_a_file_beside_splits_is_in_none(tmp_path: Path) -> None:
    for number, x in enumerate(waves(9)):
        write_csv(tmp_path / ("train", "val", "test")[number % 3] / f"{number}.csv", x)
    write_csv(tmp_path / "loose.csv", waves(1)[0])
    with pytest.raises(DataError, match=r"1 file is in no split, beside the folders test, train, val.*loose\.csv"):
        series(tmp_path)


def test_a_file_of_one_step_is_a_short_series(tmp_path: Path) -> None:
    data = series(bad(tmp_path, "short.csv", b"c0,c1\n1,2\n"))
    assert data.spec.has_missing


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "contains one series of 300 steps.*data.window.*data.form=rows"),
        ({"window": 400}, "has 300 steps, fewer than data.window=400"),
        ({"window": 100}, "no window lies within the val part"),
        ({"window": 10, "label": "lable"}, "no column lable"),
        ({"window": 10, "time": "back"}, "data.time=back goes back at row 151"),
        ({"stride": 5}, "data.stride=5: goes with data.window"),
        ({"window": 10, "drop": ["x", "label", "back"]}, "no column is left"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, settings: dict, message: str) -> None:
    x = np.arange(300.0)
    path = write_csv(tmp_path / "long.csv", np.stack([x, x % 150.5, x % 2]), ["x", "back", "label"])
    with pytest.raises(UserError, match=message):
        series(path, **settings)


@pytest.mark.parametrize("content", [b"", b"not an array", b"PK\x03\x04"])
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npy"):
        series(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.array(["a", "b"]))
    with pytest.raises(DataError, match="real numbers"):
        series(tmp_path / "x.npy")


def test_a_first_line_of_numbers_is_data_unless_it_counts_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    np.savetxt(path, waves(1)[0].T.repeat(10, 0), delimiter=",")
    assert sum(len(rows) for rows in series(path, window=10).split.values()) == 24 - 2  # 2 cross from part to part
    path.write_text("0,1\n" + path.read_text())
    with pytest.raises(ConfigError, match="may hold names or values"):
        series(path, window=10)
    assert series(path, window=10, header=True).format.channels == ("0", "1")


def test_generated_series_are_written_in_their_own_units(tmp_path: Path) -> None:
    data = series(folder(tmp_path))
    values = data.clean("test")
    files = data.written("samples/test", values)
    (tmp_path / "x.npy").write_bytes(bytes(files["samples/test.npy"]))  # type: ignore[arg-type]
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), data.restore(values), rtol=1e-6)
    lines = str(files["samples/test.csv"]).splitlines()
    assert lines[0] == "example,step,c0,c1"
    assert len(lines) - 1 == int((~values.isnan()).any(1).flip(1).cummax(1).values.sum())  # up to each end


def test_pictures_are_drawn_of_anything(tmp_path: Path) -> None:
    data = series(folder(tmp_path))
    x = data.clean("test")
    x[0] = torch.nan
    assert set(data.pictures("samples", x)) == {"samples"}
    scores = x.square().mean(1)
    for figure in data.compared("where", {"a": x, "b": x + 1, "c": x}, ["t"] * len(x), scores).values():
        figure.canvas.draw()


# More than memory should hold


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_windows_on_disk_are_the_windows(
    tmp_path: Path, kind: type, scaling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of them are cut from a file that is mapped, and the overlaps are nowhere in memory."""
    np.save(tmp_path / "long.npy", (100 * waves(1, steps=600)[0]).astype(kind))
    settings = {"window": 24, "stride": 2, "scaling": scaling}  # 2 channels of 24 steps
    whole = series(tmp_path / "long.npy", **settings)
    monkeypatch.setattr("vaelab.data.series.series.AT_ONCE", 48 * 7)
    monkeypatch.setattr("vaelab.data.series.format.AT_ONCE", 48 * 5)
    monkeypatch.setattr("vaelab.data.preparation.AT_ONCE", 48 * 3)
    monkeypatch.setattr(Series, "storage", "disk")
    disk = series(tmp_path / "long.npy", **settings)
    assert disk._loaded.file is not None
    assert disk._loaded.values.dtype == whole._loaded.values.dtype == torch.float32
    assert disk.spec == whole.spec
    assert disk.fingerprint() == whole.fingerprint()
    assert len(whole._loaded.values) > 200
    for ours, theirs in zip(disk.train_dataloader(), whole.train_dataloader(), strict=True):
        assert torch.equal(ours.values, theirs.values)


def test_series_of_any_length_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = series(folder(tmp_path / "all"))
    monkeypatch.setattr(Series, "storage", "disk")
    disk = series(folder(tmp_path / "again"))
    torch.testing.assert_close(disk._loaded.values, whole._loaded.values, rtol=0, atol=0, equal_nan=True)
    assert disk.spec.has_missing


def test_an_array_is_mapped_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", waves(30))
    _, recordings = read_recordings(tmp_path / "x.npy", Reading())
    assert all(isinstance(recording.values.base, np.memmap) for recording in recordings)
