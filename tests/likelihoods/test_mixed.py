"""Mixed rows: nats of every column add up, and what is missing costs nothing and pulls at nothing."""

from math import log

import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal, StudentT

from vaelab.core import DataSpec
from vaelab.core.spec import Column
from vaelab.errors import ConfigError
from vaelab.likelihoods import Categorical, Gaussian, Mixed, squared_error

COLUMNS = (Column("x"), Column("color", ("red", "green", "blue")), Column("y"))
ROW = DataSpec("row", "table", (3,), "mixed", columns=COLUMNS, has_missing=True)


@pytest.fixture
def raw() -> torch.Tensor:
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def target() -> torch.Tensor:
    return torch.tensor([[0.5, 0, 1.0], [-1.0, 2, 0.3], [0.0, 1, -2.0], [2.0, 2, 0.1]], dtype=torch.float64)


@pytest.mark.parametrize("numbers", ["gaussian", "student_t"])
def test_nats_are_those_of_torch_distributions(raw, target, numbers: str) -> None:
    likelihood = Mixed(ROW, numbers, sigma=0.7, degrees=3)
    density = Normal(raw[:, :2], 0.7) if numbers == "gaussian" else StudentT(3.0, raw[:, :2], 0.7)
    expected = density.log_prob(target[:, [0, 2]]).sum(1) + TorchCategorical(logits=raw[:, 2:]).log_prob(target[:, 1])
    torch.testing.assert_close(likelihood.log_prob(raw, target), expected, rtol=1e-6, atol=1e-6)


def test_a_missing_value_costs_nothing_and_has_no_gradient(raw, target) -> None:
    likelihood = Mixed(ROW, sigma=1.0, numbers="gaussian", degrees=4)
    holed = target.clone()
    holed[:, 1:] = torch.nan
    raw.requires_grad_()
    nats = likelihood.log_prob(raw, holed)
    torch.testing.assert_close(nats, Normal(raw[:, 0], 1.0).log_prob(target[:, 0]))
    (gradient,) = torch.autograd.grad(nats.sum(), raw)
    assert gradient.isfinite().all()
    assert (gradient[:, 1:] == 0).all()
    assert (gradient[:, 0] != 0).all()


def test_samples_have_the_frequencies_and_scales_they_are_given() -> None:
    likelihood = Mixed(ROW, sigma=0.5, numbers="gaussian", degrees=4)
    raw = torch.tensor([1.0, -1.0, *torch.tensor([0.2, 0.3, 0.5]).log()]).expand(40_000, 5)
    drawn = likelihood.sample(raw, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn[:, 1].long(), minlength=3) / 40_000
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.3, 0.5]), atol=0.01, rtol=0)
    assert drawn[:, 0].mean().item() == pytest.approx(1.0, abs=0.01)
    assert drawn[:, 2].std().item() == pytest.approx(0.5, abs=0.01)


def test_the_likeliest_row(raw) -> None:
    rows = Mixed(ROW, numbers="gaussian", sigma="learned", degrees=4).mean(raw)
    torch.testing.assert_close(rows[:, [0, 2]], raw[:, :2])
    assert rows[:, 1].tolist() == raw[:, 2:].argmax(1).tolist()


def test_the_start_is_the_mean_and_the_frequencies() -> None:
    likelihood = Mixed(ROW, numbers="gaussian", sigma="learned", degrees=4)
    start = likelihood.raw_at(torch.tensor([0.4, -0.2, 0.1, 0.6, 0.3]))
    torch.testing.assert_close(start[:2], torch.tensor([0.4, -0.2]))
    torch.testing.assert_close(start[2:].softmax(0), torch.tensor([0.1, 0.6, 0.3]))


def test_a_perfect_row_leaves_the_constant_only() -> None:
    likelihood = squared_error(ROW)
    raw = torch.tensor([[0.3, -0.2, 60.0, 0.0, 0.0]])
    assert -likelihood.log_prob(raw, torch.tensor([[0.3, 0.0, -0.2]])).item() == pytest.approx(
        likelihood.constant, abs=1e-5
    )


def test_tokens_have_a_probability_each() -> None:
    spec = DataSpec("words", "tokens", (5,), "categories", levels=7, has_missing=True)
    likelihood = Categorical(spec)
    raw = torch.zeros(2, 7, 5)
    nats = likelihood.log_prob(raw, torch.tensor([[0, 1, 2, 3, 4], [6, 6, -1, -1, -1]]))
    torch.testing.assert_close(nats, -torch.tensor([5 * log(7), 2 * log(7)]))
    assert likelihood.raw_shape == (7, 5)
    assert likelihood.offset_shape == (7, 1)


@pytest.mark.parametrize(("build", "remedy"), [(lambda: Gaussian(ROW, 1.0), "likelihood=mixed")])
def test_likelihoods_of_numbers_refuse_categories(build, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        build()
    with pytest.raises(ConfigError, match="is for tables"):
        Mixed(DataSpec("image", "image", (1, 8, 8), "unit", 256), numbers="gaussian", sigma="learned", degrees=4)
