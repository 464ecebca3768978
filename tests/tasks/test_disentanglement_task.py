"""Disentanglement as a task: codes stay with their factors, and what cannot be measured is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from torch import Tensor, nn

from in_memory import InMemory, digits
from options import CONF, stated
from vaelab.core import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.factors import Factors
from vaelab.errors import ConfigError, DataError
from vaelab.evaluation.baselines import BaselineCache
from vaelab.figures.factors import MOST, factor_matrices
from vaelab.likelihoods import Gaussian
from vaelab.models import AE
from vaelab.tasks import Disentanglement, Findings

SIZES = (3, 4, 8, 8)
NAMES = ("a", "b", "c", "d")
SMALL = ("task.examples=400", "task.trees=3", "task.votes=100", "encoder.hidden=[16]", "decoder.hidden=[16]",
         "latent_dim=3", "trainer.max_epochs=1")  # fmt: skip
SCORES = ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "sap", "factor_vae_score")


class Made(InMemory):
    """Rows of numbers that are made from factors."""

    def __init__(self, values: Tensor, factors: Factors, **settings: Any) -> None:
        self._factors_given = factors
        super().__init__(values, DataSpec("made", "table", (values.shape[1],), "real"), **settings)

    def load(self) -> Examples:
        return replace(super().load(), factors=self._factors_given)


def made(mix: Tensor, **settings: Any) -> Made:
    values = torch.tensor(list(product(*map(range, SIZES))))
    rows = (values - values.double().mean(0)) / values.double().std(0)
    return Made((rows @ mix.double()).float(), Factors(NAMES, SIZES, values), **settings)


def identity(data: Made) -> AE:
    size = data.spec.shape[0]
    decoder = nn.Sequential(nn.Unflatten(1, (1, size)))
    return AE(nn.Identity(), decoder, Gaussian(data.spec, 1.0), size).eval()


def task(**settings: Any) -> Disentanglement:
    quick = {"trees": 5, "votes": 300, "vote_examples": 32, "pictures_every": None}
    return Disentanglement(**stated("task/disentanglement") | quick | settings)


def findings(data: Made, tmp_path: Path, **settings: Any) -> Findings:
    with torch.no_grad():
        return task(**settings).findings(identity(data), data, BaselineCache(tmp_path / "kept", data)).complete()


def rotation() -> Tensor:
    return torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))[0]


def test_codes_that_are_the_factors_score_best_and_a_rotation_of_them_does_not(tmp_path: Path) -> None:
    perfect = findings(made(torch.eye(4)), tmp_path).numbers
    turned = findings(made(rotation()), tmp_path / "turned").numbers
    for name in ("dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae_score"):
        assert perfect[f"test/{name}"] > 0.98, name
    assert perfect["test/mig"] > 0.8  # 154 test examples: their counts overstate what other variables say
    assert turned["test/mig"] < 0.4 * perfect["test/mig"]
    assert turned["test/dci_disentanglement"] < 0.5
    assert {name for name in perfect if name.startswith("test/sap")} == {
        "test/sap", *(f"test/sap_factor_{name}" for name in NAMES),
    }  # fmt: skip


def test_every_score_says_what_it_depends_on_and_has_a_baseline(tmp_path: Path) -> None:
    found = findings(made(rotation()), tmp_path, examples=300)
    for name in SCORES:
        assert found.metadata[f"test/{name}"]["test_examples"] == 154
        assert found.metadata[f"baseline/pca/{name}"] == {"train_examples": 300, "test_examples": 154}
        assert 0 <= found.numbers[f"baseline/pca/{name}"] <= 1
    assert found.metadata["test/mig"]["bins"] == "20 of equal width"
    assert found.metadata["test/sap"]["at most"] == pytest.approx(np.mean([1 - 1 / size for size in SIZES]), abs=1e-4)
    assert found.notes == []


def test_principal_components_find_factors_of_different_variances(tmp_path: Path) -> None:
    spread = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    numbers = findings(made(spread @ rotation()), tmp_path).numbers
    for name, least in (("mig", 0.6), ("dci_disentanglement", 0.8), ("dci_completeness", 0.8)):
        assert numbers[f"baseline/pca/{name}"] > least > numbers[f"test/{name}"] + 0.2, name


def test_a_factor_with_one_value_is_left_out_and_said(tmp_path: Path) -> None:
    data = made(torch.eye(4))
    known = data._given
    values = torch.tensor(list(product(*map(range, SIZES))))
    values[:, 1] = 2
    constant = Made(known.values, Factors(NAMES, SIZES, values))
    found = findings(constant, tmp_path)
    assert found.notes == ["factors with only one value among the examples are not scored: b"]
    assert "test/mig_factor_b" not in found.numbers
    assert "test/mig_factor_c" in found.numbers
    nothing = Made(known.values, Factors(NAMES, SIZES, torch.zeros_like(values)))
    with pytest.raises(DataError, match="no factor has two values"):
        findings(nothing, tmp_path / "nothing")


def test_data_that_were_not_trained_on_have_the_gap_alone(tmp_path: Path) -> None:
    data = made(torch.eye(4))
    later = Made.__new__(Made)
    later.__dict__ |= {**data.__dict__, "_examples": None, "all_as_test": True}
    later.setup()
    found = findings(later, tmp_path)
    assert found.numbers["test/mig"] > 0.9
    assert {name.partition("_factor_")[0] for name in found.numbers} == {"test/mig"}
    assert all("not measured" in found.metadata[f"test/{name}"] for name in SCORES[1:])


def test_data_without_factors_are_refused_by_naming_some_that_have_them() -> None:
    with pytest.raises(
        ConfigError, match=r"digits does not have them; data=shapes, data=dsprites and data=dictionary do"
    ):
        task().check_data(digits())


def test_the_word_alone_takes_shapes_and_a_beta_vae() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["task=disentanglement"])
        typed = compose("train", ["task=disentanglement", "data=dsprites", "model=ae"])
    assert config.data._target_.endswith("Shapes")
    assert config.model.beta == 4
    assert config.likelihood.binarize == "dynamic"
    assert typed.data._target_.endswith("DSprites")
    assert typed.model._target_ == "vaelab.models.AE"


def test_a_run_reports_scores_and_draws_them(train: Callable[..., Path], tmp_path: Path) -> None:
    run = train("task=disentanglement", *SMALL, f"paths.data_dir={tmp_path}")
    numbers = json.loads((run / "metrics.json").read_text())
    for name in SCORES:
        assert 0 <= numbers[f"test/{name}"] <= 1
        assert 0 <= numbers[f"baseline/pca/{name}"] <= 1
    for name in ("shape", "scale", "orientation", "position_x", "position_y"):
        assert f"test/mig_factor_{name}" in numbers
    assert {"factors.png", "traversals.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert "Latent variables and factors of variation" in (run / "report.html").read_text()


def test_a_model_of_another_task_is_scored_without_training(train: Callable[..., Path], tmp_path: Path) -> None:
    where = f"paths.data_dir={tmp_path}"
    run = train("data=shapes", "model=ae", "task=compression", "task.baselines=false", *SMALL[3:], where)
    again = train("train=false", f"ckpt_path={run}", "task=disentanglement", *SMALL[:3], where)
    assert again != run
    numbers = json.loads((again / "metrics.json").read_text())
    assert set(SCORES) <= {name.removeprefix("test/") for name in numbers}


@pytest.mark.parametrize("count", [1, 5, 30, MOST + 10])
def test_the_figure_has_a_row_for_each_variable_up_to_a_limit(count: int) -> None:
    shares = np.random.default_rng(0).uniform(size=(count, 4))
    figure: Figure = factor_matrices(shares, shares, NAMES)
    assert len(figure.axes) == 2
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == min(count, MOST)
    assert labels == sorted(labels, key=lambda label: int(label[2:-1]))
    assert len(factor_matrices(shares, None, NAMES).axes) == 1
