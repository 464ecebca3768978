"""Labels of examples that somebody holds, and samples of a label, by a model that infers labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from in_memory import digits
from saved_models import run_of
from vaelab import load
from vaelab.errors import ConfigError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_of(digits(), tmp_path, "M2", {"alpha": 1.0, "hidden": 8, "classifier": [8]})


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
