"""A label is a column of generated rows where the task generates them, and never an input where labels judge codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from options import stated
from vaelab.config.builder import Builder
from vaelab.corruptions import Identity
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError
from vaelab.run import settle_label
from vaelab.tasks import Compression, Generation

Run = Callable[..., Path]
SMALL = ("encoder.hidden=[4]", "decoder.hidden=[4]", "latent_dim=2", "trainer.max_epochs=1", "task.baselines=false")


def people(path: Path, label: bool = True, member: tuple[object, ...] = (0, 1)) -> Path:
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(generator.normal(size=(60, 2)), columns=["age", "income"])
    if label:
        rows["member"] = np.resize(np.array(member, dtype=object), 60)
    rows.to_csv(path, index=False)
    return path


def load(path: Path, **settings: Any) -> Table:
    data = Table(**stated("data/table") | {
        "corruption": Identity(), "path": str(path), "data_dir": "nowhere", "seed": 0, "label": "member",
    } | settings)  # fmt: skip
    data.setup()
    return data


def test_a_label_of_numbers_is_a_category_in_its_place_and_stays_a_label(tmp_path: Path) -> None:
    path = people(tmp_path / "people.csv")
    data, without = load(path, label_as_column=True), load(path, label_as_column=False)
    assert [column.name for column in data.spec.columns] == ["age", "income", "member"]
    assert data.spec.columns[2].categories[:2] == ("0", "1")
    assert data.spec.classes == without.spec.classes == ("0", "1")
    assert torch.equal(data.clean("test")[:, 2].long(), data.labels("test"))
    assert data.restore(data.clean("test"))["member"].to_pylist() == data.labels("test").tolist()
    assert [column.name for column in without.spec.columns] == ["age", "income"]
    assert data.label_is_input
    assert not without.label_is_input


def test_a_label_named_among_numbers_is_one(tmp_path: Path) -> None:
    data = load(people(tmp_path / "people.csv", member=(1, 2, 3)), label_as_column=True, numeric=["member"])
    assert data.spec.columns[2].categories == ()


def test_a_label_of_many_numbers_is_told_how_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(people(tmp_path / "people.csv", member=tuple(range(30))), label_as_column=True, max_categories=9)
    said = " ".join(capsys.readouterr().err.split())
    assert "column member: holds 30 distinct texts" in said
    assert "data.numeric=[member] models it as a number" in said
    assert "data.label_as_column=false leaves it out" in said


def test_a_label_that_train_lacks_is_no_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    people(folder / "train.csv", label=False)
    people(folder / "test.csv")
    data = load(folder, label_as_column=True)
    assert [column.name for column in data.spec.columns] == ["age", "income"]
    assert not data.label_is_input
    said = " ".join(capsys.readouterr().err.split())
    assert "the label member has no value in the train split, so generated rows have no such column" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"label": None}, "needs data.label"), ({"drop": ["member"]}, "data.drop removes member")],
)
def test_a_label_that_is_not_there_is_no_column(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(people(tmp_path / "people.csv"), label_as_column=True, **settings)


def config(**data: Any) -> dict[str, Any]:
    node = {"label_as_column": "auto", "label": "member", "drop": [], "normal": None} | data
    return {"data": node, "model": {"_target_": "vaelab.models.VAE", "condition": None}}


@pytest.mark.parametrize(
    ("changed", "generated"),
    [({}, True), ({"label": None}, False), ({"drop": ["member"]}, False), ({"normal": ["0"]}, False)],
)
def test_auto_is_what_the_task_needs(changed: dict[str, Any], generated: bool) -> None:
    task: Any = Generation.__new__(Generation)
    settle_label(cfg := config(**changed), Builder(), task, new=True)
    assert cfg["data"]["label_as_column"] is generated
    settle_label(cfg := config(**changed), Builder(), Compression.__new__(Compression), new=True)
    assert cfg["data"]["label_as_column"] is False


def test_a_model_that_is_given_labels_does_not_generate_them_too() -> None:
    cfg = config() | {"model": {"_target_": "vaelab.models.VAE", "condition": "label"}}
    settle_label(cfg, Builder(), Generation.__new__(Generation), new=True)
    assert cfg["data"]["label_as_column"] is False


def test_a_label_that_a_model_is_given_cannot_be_a_column_of_it() -> None:
    cfg = config(label_as_column=True) | {"model": {"_target_": "vaelab.models.VAE", "condition": "label"}}
    with pytest.raises(ConfigError, match=r"model\.condition=label already gives the model the label"):
        settle_label(cfg, Builder(), Generation.__new__(Generation), new=True)


@pytest.mark.long
def test_a_run_prepares_rows_as_its_model_was_trained(
    train: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=table", f"data.path={people(tmp_path / 'people.csv')}", "data.label=member")
    generated = train("task=generation", *words, *SMALL)
    assert json.loads((generated / "model/table.json").read_text())["label"] == "member"
    assert pd.read_csv(generated / "samples/samples.csv").columns.tolist() == ["age", "income", "member"]
    again = train("task=generation", "train=false", f"ckpt_path={generated}")
    assert (again / "samples/samples.csv").read_text() == (generated / "samples/samples.csv").read_text()

    with pytest.raises(SystemExit):
        train("task=embedding", *words, "train=false", f"ckpt_path={generated}")
    said = " ".join(capsys.readouterr().err.split())
    assert "task=embedding: is evaluated with labels, but the model reads the label" in said

    embedded = train("task=embedding", *words, *SMALL)
    assert "label" not in json.loads((embedded / "model/table.json").read_text())
    plain = train("task=generation", *words, "train=false", f"ckpt_path={embedded}")
    assert pd.read_csv(plain / "samples/samples.csv").columns.tolist() == ["age", "income"]
    with pytest.raises(SystemExit):
        train("task=generation", *words, "data.label_as_column=true", "train=false", f"ckpt_path={embedded}")
    assert "the model was trained without the label member as a column" in " ".join(capsys.readouterr().err.split())
