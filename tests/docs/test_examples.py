"""The scripts in examples/ run as their first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from saved_models import image_run, people
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
