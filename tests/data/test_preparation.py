"""What a checkpoint is evaluated on is prepared as its model's examples were, whatever the new file holds."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

Train = Callable[..., Path]
SMALL = ("encoder.hidden=[8]", "decoder.hidden=[8]", "trainer.max_epochs=2", "latent_dim=2")


def people(path: Path, cities: tuple[str, ...], centre: float, missing: bool = False) -> Path:
    generator = np.random.default_rng(0)
    gap = np.arange(60) % 9 == 4 if missing else np.zeros(60, dtype=bool)
    table = pa.table({
        "income": pa.array(generator.normal(centre, 2, 60), mask=gap),
        "city": pa.array(generator.choice(cities, 60)),
    })  # fmt: skip
    csv.write_csv(table, path)
    return path


def numbers(run: Path) -> dict[str, float]:
    read: dict[str, float] = json.loads((run / "metrics.json").read_text())
    return read


@pytest.mark.long
def test_rows_of_a_later_file_keep_the_scales_and_categories_of_training(train: Train, tmp_path: Path) -> None:
    before = people(tmp_path / "before.csv", ("Bonn", "Ulm"), centre=0)
    later = people(tmp_path / "later.csv", ("Bonn", "Ulm", "Köln"), centre=50)
    words = ("data=table", "data.name=people", "data.scaling=standard", "shortcut=none", *SMALL, "task=compression")
    run = train(*words, f"data.path={before}")
    evaluate = (*words, "train=false", f"ckpt_path={run}")
    again = train(*evaluate, f"data.path={before}")
    assert numbers(again)["test/mse"] == pytest.approx(numbers(run)["test/mse"])
    moved = train(*evaluate, f"data.path={later}")
    assert numbers(moved)["test/mse"] > 100 * numbers(run)["test/mse"]  # 25 standard deviations away
    assert (moved / "model/table.json").read_text() == (run / "model/table.json").read_text()


@pytest.mark.long
def test_missing_values_that_the_model_never_saw_are_refused(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = people(tmp_path / "whole.csv", ("Bonn", "Ulm"), centre=0)
    holes = people(tmp_path / "holes.csv", ("Bonn", "Ulm"), centre=0, missing=True)
    run = train("data=table", f"data.path={whole}", *SMALL, "task=compression")
    with pytest.raises(SystemExit):
        train("data=table", "train=false", f"ckpt_path={run}", f"data.path={holes}", *SMALL, "task=compression")
    assert (
        "column income: has no value in row 4 (line 6 of holes.csv), and the model was trained on data without any"
        in capsys.readouterr().err
    )


@pytest.mark.long
def test_series_keep_their_scales_and_their_channels(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2, 16)).cumsum(2)
    for name, values in {"before": x, "later": x + 100, "wide": np.concatenate([x, x], 1)}.items():
        np.save(tmp_path / f"{name}.npy", values)
    run = train("data=series", f"data.path={tmp_path}/before.npy", "trainer.max_epochs=1", "task=compression")
    evaluate = ("data=series", "train=false", f"ckpt_path={run}", "task=compression")
    moved = train(*evaluate, f"data.path={tmp_path}/later.npy")
    assert numbers(moved)["test/mse"] > 100 * numbers(run)["test/mse"]
    with pytest.raises(SystemExit):
        train(*evaluate, f"data.path={tmp_path}/wide.npy")
    assert "the model was trained on" in capsys.readouterr().err


@pytest.mark.long
def test_a_checkpoint_without_its_run_folder_is_told_of(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = people(tmp_path / "before.csv", ("Bonn", "Ulm"), centre=0)
    run = train("data=table", f"data.path={before}", *SMALL, "task=compression")
    alone = (run / "checkpoints/best.ckpt").rename(tmp_path / "alone.ckpt")
    capsys.readouterr()
    train("data=table", "train=false", f"ckpt_path={alone}", f"data.path={before}", *SMALL, "task=compression")
    assert "the data are scaled by their own train split" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", *(pytest.param(broken, marks=pytest.mark.long) for broken in ("{", "{}"))])
def test_a_broken_note_of_how_data_were_prepared_is_named(
    content: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = people(tmp_path / "before.csv", ("Bonn", "Ulm"), centre=0)
    run = train("data=table", f"data.path={before}", *SMALL, "task=compression")
    (run / "model/table.json").write_text(content)
    with pytest.raises(SystemExit):
        train("data=table", "train=false", f"ckpt_path={run}", f"data.path={before}", *SMALL, "task=compression")
    assert "model/table.json: is broken" in capsys.readouterr().err
