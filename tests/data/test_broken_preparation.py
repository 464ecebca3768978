"""The files that say how a model's examples were prepared are checked when they are read, not when they are used."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaelab.data import preparation
from vaelab.data.preparation import read_preparation
from vaelab.data.scaling import Scaling
from vaelab.data.series.format import SeriesFormat
from vaelab.data.tables.format import Field, TableFormat
from vaelab.data.text.tokens import Tokens
from vaelab.errors import CheckpointError, DataError

ROWS = np.array([[0.0, 1.0, 0.5], [1.0, np.nan, 0.25], [0.0, 0.0, 0.75]])
FIELDS = (
    Field("size", "number", "double"),
    Field("town", "category", "string", ("Bonn", "Ulm")),
    Field("day", "date", "date32"),
)


def table(scaling: str = "standard") -> TableFormat:
    return TableFormat.fit(FIELDS, list(ROWS.T), scaling, most=10)


def series(scaling: Any = "standard") -> SeriesFormat:
    return SeriesFormat.fit(("a", "b"), [ROWS[:, 0], ROWS[:, 2]], scaling)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_what_was_fitted_comes_back(scaling: Any, tmp_path: Path) -> None:
    for fitted in (table(scaling), series(scaling)):
        (tmp_path / "note.json").write_text(json.dumps(fitted.to_json()))
        again = read_preparation(tmp_path / "note.json", type(fitted).from_json)
        assert again is not None
        assert again.to_json() == fitted.to_json()


def put(place: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(about: dict[str, Any]) -> Any:
        part: Any = about
        *groups, key = place.split(".")
        for group in groups:
            part = part[int(group) if isinstance(part, list) else group]
        part[int(key) if isinstance(part, list) else key] = value
        return about

    return change


WRONG_SCALING = [
    put("scaling", None),
    put("scaling.method", "log"),
    put("scaling.method", ["standard"]),
    put("scaling.first", [0.0]),
    put("scaling.first", [[0.0, 1.0]]),
    put("scaling.first", "ab"),
    put("scaling.second", [1.0, 1e999]),
    put("scaling.second", [1.0, {}]),
]
WRONG_TABLE = [
    put("fields", 3),
    put("fields", [3]),
    put("fields.0", {"name": "size"}),
    put("fields.0.kind", "text"),
    put("fields.1.values", 5),
    put("kept", [[], [0, 1]]),
    put("kept.1", [0, 2]),
    put("kept.1", [-1]),
    put("kept.1", [0.5]),
    put("fields.2.kind", "category"),
]


@pytest.mark.parametrize("change", WRONG_SCALING + WRONG_TABLE)
def test_a_table_that_cannot_be_is_refused(change: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(change(copy.deepcopy(table().to_json()))))
    with pytest.raises(DataError, match=r"table\.json: is broken"):
        read_preparation(path, TableFormat.from_json)


@pytest.mark.parametrize("change", [*WRONG_SCALING, put("channels", 3), put("channels", ["a"])])
def test_series_that_cannot_be_are_refused(change: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "series.json"
    path.write_text(json.dumps(change(copy.deepcopy(series().to_json()))))
    with pytest.raises(DataError, match=r"series\.json: is broken"):
        read_preparation(path, SeriesFormat.from_json)


@pytest.mark.parametrize("content", ["", "[]", "null", "3", "[" * 100_000, '{"scaling": NaN}', "\ud800"])
def test_a_file_that_is_no_object_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=r"note\.json: is broken"):
        read_preparation(path, Scaling.from_json)


def test_only_a_file_of_a_possible_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.json"
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"note\.json: is no file"):
        read_preparation(path, Scaling.from_json)
    path.unlink()
    path.write_text(json.dumps(table().to_json()))
    monkeypatch.setattr(preparation, "MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"note\.json: is larger than 100 bytes"):
        read_preparation(path, TableFormat.from_json)


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_tokens_come_back_or_are_refused(kind: Any, tmp_path: Path) -> None:
    tokens = Tokens.fit(["once upon a time", "in a land"], kind, 300)
    path = tmp_path / "model/tokenizer.json"
    path.parent.mkdir()
    path.write_text(tokens.to_json())
    assert Tokens.load(tmp_path).digest == tokens.digest
    about = json.loads(tokens.to_json())
    first = next(iter(about["model"]["vocab"]))
    wrong = {
        "far": put(f"model.vocab.{first}", 10**9),
        "huge": put(f"model.vocab.{first}", 10**30),
        "negative": put(f"model.vocab.{first}", -1),
        "none": put("model.vocab", None),
        "type": put("model.type", "Unknown"),
    }
    for change in wrong.values():
        path.write_text(json.dumps(change(copy.deepcopy(about))))
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: is broken"):
            Tokens.load(tmp_path)
    for content in (b"", b"[]", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: is broken"):
            Tokens.load(tmp_path)


def test_characters_are_one_each(tmp_path: Path) -> None:
    tokens = Tokens.fit(["abc"], "characters", 10)
    about = json.loads(tokens.to_json())
    about["model"]["vocab"]["long"] = about["model"]["vocab"].pop("a")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tokenizer.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="a token is not one character"):
        Tokens.load(tmp_path)
