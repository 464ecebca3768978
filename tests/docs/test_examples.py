"""The scripts in examples/ run as their first lines say."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from saved_models import image_run, people, pictures, table_run
from vaelab.cli import train

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *words: object) -> str:
    command = [sys.executable, EXAMPLES / name, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.mark.long
def test_odd_rows_are_named_with_reasons(tmp_path: Path) -> None:
    people(400).to_csv(tmp_path / "people.csv", index=False)
    train([
        "task=anomaly", "data=table", f"data.path={tmp_path / 'people.csv'}", "data.val_fraction=0.3", "logger=none",
        "trainer.max_epochs=3", f"paths.output_dir={tmp_path / 'run'}", f"paths.data_dir={tmp_path}",
    ])  # fmt: skip
    rows = people(40, seed=1)
    rows.loc[7, "age"] = 10_000.0
    rows.to_csv(tmp_path / "later.csv", index=False)
    said = run("odd_rows.py", tmp_path / "run", tmp_path / "later.csv").splitlines()
    assert said[0].endswith(" of 40 rows raise an alarm")
    assert said[1].startswith("row 7: p = 0.0")
    assert "age" in said[1]


@pytest.mark.long
def test_a_picture_is_cleaned_in_its_size_and_new_ones_are_drawn(tmp_path: Path) -> None:
    trained = image_run(tmp_path)
    Image.new("RGB", (50, 31), "red").save(tmp_path / "noisy.png")
    run("clean_pictures.py", trained, tmp_path / "noisy.png", tmp_path / "clean.png", tmp_path / "new")
    with Image.open(tmp_path / "clean.png") as clean:
        assert clean.size == (50, 31)
    assert len(list(tmp_path.glob("new_*.png"))) == 4


@pytest.mark.long
def test_rows_and_pictures_are_grouped(tmp_path: Path) -> None:
    people(60).to_csv(tmp_path / "rows.csv", index=False)
    trained = table_run(tmp_path)
    said = run("embed_and_cluster.py", trained, tmp_path / "rows.csv", tmp_path / "groups.csv", 3)
    assert said.startswith("60 examples in 3 groups, silhouette ")
    assert set(pd.read_csv(tmp_path / "groups.csv")["group"]) == {0, 1, 2}
    shown = pictures(tmp_path / "photos")
    run("embed_and_cluster.py", image_run(tmp_path / "images"), shown, tmp_path / "groups.csv", 2)
    assert set(pd.read_csv(tmp_path / "groups.csv")["group"]) == {0, 1}


@pytest.mark.long
def test_new_rows_have_the_columns_of_the_table(tmp_path: Path) -> None:
    people(60).to_csv(tmp_path / "rows.csv", index=False)
    trained = table_run(tmp_path)
    said = run("synthetic_rows.py", trained, tmp_path / "rows.csv", tmp_path / "new.csv", 20)
    assert said.startswith("20 rows in ")
    new, real = pd.read_csv(tmp_path / "new.csv"), pd.read_csv(tmp_path / "rows.csv")
    assert len(new) == 20
    assert list(new.columns) == [column for column in real.columns if column in new.columns]


@pytest.mark.long
def test_a_vae_is_trained_by_plain_lightning(tmp_path: Path) -> None:
    assert "test/elbo" in run("train_in_python.py", tmp_path / "samples.png", 2)
    with Image.open(tmp_path / "samples.png") as samples:
        assert samples.size == (480, 480)
