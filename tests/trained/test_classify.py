"""Labels of examples that somebody holds, and samples of a label, by a model that infers labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from in_memory import digits
from saved_models import made, pictures, run_of
from vaelab import load
from vaelab.cli import main
from vaelab.data.images.images import Images
from vaelab.errors import ConfigError

SETTINGS = {"alpha": 1.0, "hidden": 8, "classifier": [8]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_of(digits(), tmp_path, "M2", SETTINGS)


def test_the_label_is_the_likeliest_class_and_a_sample_has_the_label_it_is_drawn_for(run: Path) -> None:
    trained, data = load(run), digits()
    x = data.clean("test", 7)
    found = trained.classify(x)
    shares = found[[f"probability_{name}" for name in trained.spec.classes]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert found["label"].tolist() == [trained.spec.classes[number] for number in shares.argmax(1)]
    np.testing.assert_array_equal(found["probability"], shares.max(1))
    assert isinstance(found, pd.DataFrame)
    same, other = (trained.sample(2, label=label, as_tensor=True, prior="own") for label in ("3", "8"))
    assert not same.equal(other)
    assert trained.sample(2, label="3", as_tensor=True, prior="own").equal(same)
    with pytest.raises(ConfigError, match="no such label"):
        trained.sample(2, label="eleven")


def test_a_model_that_infers_no_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="VAE infers no labels; model=m2"):
        load(run_of(digits(), tmp_path)).classify(digits().clean("test", 2))


def test_files_are_classified_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat", "dog"):
        pictures(tmp_path / "animals" / name)
    run = run_of(made(Images, "images", tmp_path / "animals", size=(8, 8)), tmp_path / "run", "M2", SETTINGS)
    later, table = pictures(tmp_path / "later", 5), tmp_path / "classes.csv"
    monkeypatch.setattr("sys.argv", ["vaelab", "classify", str(run), str(later), "-o", str(table)])
    main()
    assert f"wrote the classes of 5 examples to {table}" in capsys.readouterr().out
    written = pd.read_csv(table)
    expected = load(run).classify(sorted(later.iterdir()))
    assert written["label"].tolist() == expected["label"].tolist()
    assert set(written["label"]) <= {"cat", "dog"}
    np.testing.assert_allclose(written["probability_dog"], expected["probability_dog"], rtol=1e-5)
    monkeypatch.setattr("sys.argv", ["vaelab", "info", str(run)])
    main()
    assert "score, classify, export" in capsys.readouterr().out


def test_a_run_without_a_classifier_is_refused_before_the_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = run_of(digits(), tmp_path / "run"), tmp_path / "classes.csv"
    monkeypatch.setattr("sys.argv", ["vaelab", "classify", str(run), str(tmp_path / "absent"), "-o", str(table)])
    with pytest.raises(SystemExit):
        main()
    assert "VAE infers no labels; model=m2 trains one that does" in capsys.readouterr().err
    assert not table.exists()
