"""Data that a trained model never saw: every example, in the order of the files, prepared as the model's were."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from in_memory import SETTINGS
from in_memory_music import SETTINGS as MUSIC
from in_memory_music import Songs, piece
from options import stated
from vaelab.corruptions import Identity
from vaelab.data.images.images import Images
from vaelab.data.module import DataModule
from vaelab.data.series.series import Series
from vaelab.data.series.windows import starts
from vaelab.data.tables.table import Table
from vaelab.data.text.text import Text
from vaelab.errors import DataError

OPTIONS = {Table: "table", Images: "images", Series: "series", Text: "text"}
SPLIT = {key: value for key, value in SETTINGS.items() if key != "binarize"}


def trained(data: DataModule, run: Path) -> Path:
    """The `model/` that a run on these data leaves."""
    data.setup()
    (run / "model").mkdir(parents=True)
    for name, content in data.files().items():
        (run / name).write_text(str(content))
    (run / "model/model.json").write_text(json.dumps({"spec": data.spec.to_json()}))
    return run / "model"


def later(data: DataModule, model: Path) -> DataModule:
    data.all_as_test = True
    data.prepare_as(model)
    data.setup()
    return data


def made(kind: type[DataModule], path: Path, **settings: Any) -> DataModule:
    option = stated(f"data/{OPTIONS[kind]}") | SPLIT | ({"binarize": None} if kind is Images else {})
    place = {"path": str(path), "data_dir": str(path.parent / "cache"), "corruption": Identity()}
    return kind(**option | place | settings)


# Tables


def people(count: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame({
        "id": np.arange(count) + 1000,
        "age": generator.normal(40, 10, count),
        "zip": generator.choice(["007", "1a", "53"], count),
        "state": generator.choice(["bad", "ok"], count, p=[0.2, 0.8]),
    })  # fmt: skip


PEOPLE: dict[str, Any] = {"label": "state", "drop": ["id"], "normal": ["ok"]}


@pytest.fixture
def of_people(tmp_path: Path) -> Path:
    people(60).to_csv(tmp_path / "before.csv", index=False)
    return trained(made(Table, tmp_path / "before.csv", **PEOPLE), tmp_path / "run")


def of_later(of_people: Path, table: pd.DataFrame, name: str = "later.csv") -> Table:
    path = of_people.parents[1] / name
    table.to_csv(path, index=False)
    data = later(made(Table, path, **PEOPLE), of_people)
    assert isinstance(data, Table)
    return data


def test_a_table_needs_neither_its_label_nor_what_was_dropped(
    of_people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = of_later(of_people, people(7).drop(columns=["state", "id"]))
    assert len(data.split["test"]) == 7
    assert data.labels("test").tolist() == [-1] * 7
    assert "has no column state" in capsys.readouterr().err


def test_a_table_has_the_scales_and_the_numbers_of_classes_of_training(
    of_people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = people(7, seed=1).assign(state=["ok", "ok", "odd", None, "ok", "ok", "ok"], age=np.arange(7.0))
    data = of_later(of_people, table)
    assert data.spec.classes == ("bad", "ok", "odd")
    assert data.labels("test").tolist() == [1, 1, 2, -1, 1, 1, 1]
    assert data.is_anomaly("test").tolist() == [False, False, True, False, False, False, False]
    assert data.new_classes == ("odd",)
    assert data.restore(data.clean("test"))["age"].to_pylist() == pytest.approx(list(range(7)), abs=1e-4)
    assert data.origins(data.split["test"]) == {"row": list(range(7))}


def test_what_a_table_has_too_much_is_named_and_left_out(of_people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = of_later(of_people, people(7).assign(remark="[x]", height=1.0)[["zip", "remark", "age", "state", "height"]])
    assert data.spec.shape == (2,)
    assert "not trained on, and which are left out: remark, height" in capsys.readouterr().err


def test_what_a_table_lacks_is_named_in_one_message(of_people: Path) -> None:
    with pytest.raises(DataError, match="lacks columns that the model was trained on: age, zip; its columns are state"):
        of_later(of_people, people(7)[["state"]])


def test_texts_of_digits_are_the_texts_of_training(of_people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of a later file's may look like numbers; those that training never saw are counted."""
    data = of_later(of_people, people(4).assign(zip=["007", "53", "99", "7"]))
    assert data.restore(data.clean("test"))["zip"].to_pylist() == ["007", "53", "(other)", "(other)"]
    assert "categories that training never saw, taken for (other), as rare ones were in training: zip in 2" in (
        capsys.readouterr().err
    )


def test_a_table_may_have_one_row(of_people: Path) -> None:
    assert len(of_later(of_people, people(1)).split["test"]) == 1


def test_rows_of_several_files_are_named_by_their_file(of_people: Path) -> None:
    folder = of_people.parents[1] / "months"
    (folder / "x").mkdir(parents=True)
    people(3).to_csv(folder / "may.csv", index=False)
    people(2).to_csv(folder / "x/test.csv", index=False)
    data = later(made(Table, folder, **PEOPLE), of_people)
    assert data.origins(data.split["test"]) == {
        "file": ["may.csv"] * 3 + ["x/test.csv"] * 2,
        "row": [0, 1, 2, 0, 1],
    }


def test_a_run_that_kept_no_scales_cannot_prepare_later_rows(of_people: Path) -> None:
    (of_people / "table.json").unlink()
    with pytest.raises(DataError, match=r"keeps no table\.json"):
        of_later(of_people, people(3))


# Images


def pictures(root: Path, classes: dict[str, int], size: int = 6, color: bool = False) -> Path:
    generator = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shape = (size, size, 3) if color else (size, size)
            pixels = generator.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def of_parts(tmp_path: Path) -> Path:
    root = pictures(tmp_path / "parts", {"dent": 8, "good": 20, "scratch": 8})
    return trained(made(Images, root, normal=["good"]), tmp_path / "run")


@pytest.mark.parametrize(
    ("classes", "label", "anomalous"),
    [
        ({"": 3}, [-1, -1, -1], [False] * 3),  # no folders
        ({"good": 2}, [1, 1], [False] * 2),  # some classes are missing
        ({"new": 1, "scratch": 1}, [3, 2], [True, True]),  # one is new, and comes first in its own folder
        ({"good": 1, "": 1}, [-1, 1], [False, False]),  # some images lie in no class
        ({"monday": 1, "tuesday": 1}, [-1, -1], [False, False]),  # folders that are no classes
        ({"test/good": 1, "test/dent": 1}, [0, 1], [True, False]),  # a folder of a split
    ],
)
def test_folders_of_images_are_classes_as_far_as_the_model_knows_them(
    of_parts: Path, tmp_path: Path, classes: dict[str, int], label: list[int], anomalous: list[bool]
) -> None:
    root = pictures(tmp_path / "later", classes)
    data = later(made(Images, root, normal=["good"]), of_parts)
    assert data.labels("test").tolist() == label
    assert data.is_anomaly("test").tolist() == anomalous
    names = data.origins(data.split["test"])["file"]
    assert sorted(names) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    assert names == sorted(names)
    for row, name in enumerate(names):
        pixels = torch.from_numpy(np.asarray(Image.open(root / name)) / np.float32(255))
        torch.testing.assert_close(data.clean("test")[row, 0], pixels)


def test_folders_that_are_no_classes_are_mentioned(
    of_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later(made(Images, pictures(tmp_path / "later", {"monday": 1}), normal=["good"]), of_parts)
    assert "no folder in it is a class of the model (dent, good, scratch)" in capsys.readouterr().err


def test_colour_images_are_made_grey_for_a_grey_model_and_this_is_said(
    of_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = later(made(Images, pictures(tmp_path / "later", {"": 2}, color=True)), of_parts)
    assert data.spec.shape == (1, 6, 6)
    assert "are converted to grey" in capsys.readouterr().err


def test_images_of_another_size_are_refused_with_the_setting_that_helps(of_parts: Path, tmp_path: Path) -> None:
    root = pictures(tmp_path / "later", {"": 2}, size=9)
    with pytest.raises(DataError, match=r"data\.size=\[6,6\] brings them to that size"):
        later(made(Images, root), of_parts)
    assert later(made(Images, root, size=6), of_parts).spec.shape == (1, 6, 6)


# Series


def pump(path: Path, steps: int, fault: slice = slice(0, 0), **more: Any) -> Path:
    generator = np.random.default_rng(0)
    label = np.full(steps, "ok", dtype=object)
    label[fault] = "fault"
    table = pd.DataFrame(
        {"flow": generator.normal(5, 1, steps), "heat": generator.normal(60, 9, steps), "state": label}
    )
    table.assign(**more).to_csv(path, index=False)
    return path


WINDOWS: dict[str, Any] = {"label": "state", "normal": ["ok"], "window": 10, "stride": 10}


@pytest.fixture
def of_pump(tmp_path: Path) -> Path:
    path = pump(tmp_path / "before.csv", 300, slice(270, 290))
    return trained(made(Series, path, **WINDOWS), tmp_path / "run")


def test_windows_of_a_later_recording_reach_its_end(of_pump: Path, tmp_path: Path) -> None:
    data = later(made(Series, pump(tmp_path / "later.csv", 43), **WINDOWS), of_pump)
    assert data.origins(data.split["test"]) == {"file": ["later.csv"] * 5, "first_step": [0, 10, 20, 30, 33]}
    assert list(starts(range(40), 10, 10, to_the_end=True)) == [0, 10, 20, 30]
    assert list(starts(range(5, 18), 10, 20, to_the_end=True)) == [5, 8]


def test_what_is_rare_is_told_by_training(of_pump: Path, tmp_path: Path) -> None:
    """In a recording that is mostly faulty the normal steps are the rare ones, and make no faulty window normal."""
    data = later(made(Series, pump(tmp_path / "later.csv", 40, slice(5, 40)), **WINDOWS), of_pump)
    assert data.is_anomaly("test").tolist() == [True] * 4


def test_channels_come_in_the_order_of_training(
    of_pump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pump(tmp_path / "later.csv", 20, note="x")
    expected = later(made(Series, path, **WINDOWS), of_pump).clean("test")
    assert "left out: note (in later.csv)" in capsys.readouterr().err
    pd.read_csv(path)[["heat", "note", "flow"]].to_csv(path, index=False)
    data = later(made(Series, path, **WINDOWS), of_pump)
    torch.testing.assert_close(data.clean("test"), expected)
    assert "has no column state" in capsys.readouterr().err


def test_channels_that_are_missing_are_named(of_pump: Path, tmp_path: Path) -> None:
    path = pump(tmp_path / "later.csv", 20)
    pd.read_csv(path)[["state"]].to_csv(path, index=False)
    with pytest.raises(DataError, match="lacks channels that the model was trained on: flow, heat"):
        later(made(Series, path, **WINDOWS), of_pump)


def test_whole_series_have_the_length_of_the_longest_in_training(tmp_path: Path) -> None:
    for folder, lengths in (("before", (8, 12, 10, 9, 11) * 3), ("later", (5,)), ("longer", (5, 13))):
        (tmp_path / folder).mkdir()
        for number, steps in enumerate(lengths):
            pd.DataFrame({"flow": np.arange(steps) + 0.5}).to_csv(tmp_path / folder / f"{number}.csv", index=False)
    model = trained(made(Series, tmp_path / "before"), tmp_path / "run")
    data = later(made(Series, tmp_path / "later"), model)
    assert data.spec.shape == (1, 12)
    assert data.origins(data.split["test"]) == {"file": ["0.csv"]}
    with pytest.raises(DataError, match=r"1\.csv: has 13 steps, more than the 12"):
        later(made(Series, tmp_path / "longer"), model)


def test_labels_of_the_run_are_not_those_of_later_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`data.labels` names the labels of the old file; as many later series would take them without a word."""
    for name in ("before", "later"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(30, 8)))
    np.save(tmp_path / "kinds.npy", np.arange(30) % 2)
    settings = {"labels": str(tmp_path / "kinds.npy")}
    model = trained(made(Series, tmp_path / "before.npy", **settings), tmp_path / "run")
    recorded = {"data": {"path": str(tmp_path / "before.npy"), **settings}}
    (tmp_path / "run/config.yaml").write_text(json.dumps(recorded))
    data = later(made(Series, tmp_path / "later.npy", **settings), model)
    assert data.labels("test").tolist() == [-1] * 30
    assert "belong to the run's own series" in capsys.readouterr().err
    assert data.origins(torch.tensor([3])) == {"file": ["later.npy"], "row": [3]}


# Text


def lines(path: Path, texts: list[str], labels: list[str] | None = None) -> Path:
    rows = [{"text": text} | ({"kind": labels[row]} if labels else {}) for row, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else "\n".join(texts))
    return path


@pytest.fixture
def of_lines(tmp_path: Path) -> Path:
    texts = ["abc " * (number % 4) + "cab" for number in range(40)]
    path = lines(tmp_path / "before.jsonl", texts, ["ok", "ok", "ok", "odd"] * 10)
    return trained(made(Text, path, label="kind", normal=["ok"]), tmp_path / "run")


def test_texts_have_the_tokens_and_the_length_of_training(
    of_lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "later.txt", ["abc", "", "xyz", "abc " * 9])
    data = later(made(Text, path, label="kind", normal=["ok"], limit=1), of_lines)
    assert isinstance(data, Text)
    assert data.texts(data.clean("test")) == ["abc", "\ufffd" * 3, ("abc " * 9)[:16]]
    assert data.labels("test").tolist() == [-1] * 3
    assert "1 of 3 texts are truncated: the model has sequences of 16 tokens" in capsys.readouterr().err
    assert data.origins(data.split["test"]) == {"file": ["later.txt"] * 3, "line": [1, 3, 4]}


def test_texts_are_named_by_line_or_row_whatever_they_lie_in(of_lines: Path, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    lines(folder / "a.jsonl", ["abc", "cab"], ["ok", "new"])
    pd.DataFrame({"text": ["cab", "abc"]}).to_csv(folder / "b.csv", index=False)
    data = later(made(Text, folder, label="kind", normal=["ok"]), of_lines)
    assert data.origins(torch.tensor([3, 1])) == {"file": ["b.csv", "a.jsonl"], "line": [None, 2], "row": [1, None]}
    assert data.labels("test").tolist() == [1, 2, -1, -1]
    assert data.is_anomaly("test").tolist() == [False, True, False, False]


def test_of_texts_that_were_drawn_the_right_lines_are_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "all.txt", [f"line {number}" for number in range(1, 41)])
    data = made(Text, path, limit=12)
    data.setup()
    assert isinstance(data, Text)
    rows = torch.arange(12)
    found = [f"line {line}" for line in data.origins(rows)["line"]]
    every = data._loaded.values.long()
    assert data.texts(every) == found


def test_windows_of_text_are_named_by_their_first_character(tmp_path: Path) -> None:
    path = lines(tmp_path / "book.txt", ["abcdefghij" * 40])
    data = made(Text, path, unit="window", max_length=8)
    data.setup()
    assert data.origins(torch.tensor([0, 2])) == {"file": ["book.txt"] * 2, "first_character": [0, 16]}


# Music


def test_pieces_are_all_tested_on_with_the_pitches_of_training(tmp_path: Path) -> None:
    before = Songs([piece(str(number), number, 36 + number) for number in range(8)])
    model = trained(before, tmp_path / "run")

    class LaterSongs(Songs):
        all_as_test = True

        def setup(self, stage: str | None = None) -> None:
            if self._trained is None:
                self.prepare_as(model)
            super().setup(stage)

    data = LaterSongs([piece("3", 3, 20)], hop=MUSIC["steps"])
    assert {name: len(rows) for name, rows in data.split.items()} == {"train": 0, "val": 0, "test": 2}
    assert data.spec.levels == before.spec.levels
    assert data.origins(data.split["test"]) == {"piece": ["3", "3"], "first_step": [0, 16]}
    low = piece("low", 3, 20)
    low = low._replace(voices=tuple(tuple(n._replace(pitch=n.pitch - 30) for n in voice) for voice in low.voices))
    with pytest.raises(DataError, match="those that the model was trained on: low"):
        LaterSongs([low])


def test_data_of_another_kind_are_refused(of_parts: Path, tmp_path: Path) -> None:
    path = lines(tmp_path / "later.txt", ["abc"])
    with pytest.raises(DataError, match="is tokens data; the model was trained on parts, which is image data"):
        later(made(Text, path), of_parts)
