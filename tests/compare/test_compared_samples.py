"""`vaelab compare --samples`: one row of samples for each model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from saved_models import image_run, table_run
from vaelab.compare.command import compare
from vaelab.compare.runs import find_runs
from vaelab.compare.samples import SHOWN, draw_samples
from vaelab.compare.table import tabulate
from vaelab.errors import ConfigError


def finished(make: Callable[[Path], Path], folder: Path, beta: float) -> Path:
    """A run with an untrained model, its config, and one number."""
    folder.mkdir()
    run = make(folder)
    config = {"task": {"_target_": "vaelab.tasks.Generation"}, "model": {"_target_": "x.VAE", "beta": beta}, "seed": 1}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "overrides.yaml").write_text(yaml.safe_dump([f"model.beta={beta}"]))
    (run / "metrics.json").write_text(json.dumps({"test/mse": beta}))
    return run


def test_a_row_of_images_for_each_model(tmp_path: Path) -> None:
    runs = [finished(image_run, tmp_path / name, beta) for name, beta in (("a", 1.0), ("b", 4.0))]
    compare([*map(str, runs), "--samples", "--out", str(tmp_path / "out")])
    with Image.open(tmp_path / "out/comparison_samples.png") as picture:
        assert picture.width > picture.height
    assert "comparison_samples" in (tmp_path / "out/comparison.html").read_text()
    figure = draw_samples(tabulate(find_runs(runs), None).rows)
    assert [axes.get_ylabel() for axes in figure.axes] == ["model.beta=1", "model.beta=4"]
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape == (10, 10 * SHOWN, 3)  # 8 x 8 pixels and a gap on each side
    assert 0 <= shown.min() < shown.max() <= 1


def test_what_is_no_image_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = finished(table_run, tmp_path / "a", 1.0)
    with pytest.raises(ConfigError, match="is not a model of images; leave --samples out"):
        compare([str(run), "--samples", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
