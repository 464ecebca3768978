"""A prior for each label: p(z|label) is that of the codes of the label, and p(z) is their mixture."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation import fitted_priors
from vaelab.evaluation.autoregressive_prior import Autoregressive
from vaelab.evaluation.fitted_priors import read_fitted_prior
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.latents.fitted import ByLabel, Codes, FullGaussian, FullMixture

CPU = torch.device("cpu")
PLANE = LatentSpec.vector(2)
WORDS = LatentSpec((LatentGroup((2, 2, 2), (2, 2), 3),))
CENTRES = torch.tensor([[0.0, 5.0], [5.0, 0.0], [-5.0, 0.0]])


def labelled_codes() -> Codes:
    """Label 0 comes twice as often as 2; 1 never comes; some examples have no label, and lie far away."""
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 2, 0] * 200 + [-1] * 50)
    codes = torch.randn(len(label), 2, generator=generator) + CENTRES[label]
    codes[label < 0] += 1_000
    return Codes(codes, codes[:9], PLANE, CPU, train_label=label, val_label=label[:9], classes=3)


@pytest.fixture(params=[FullGaussian(), FullMixture(2)], ids=["gaussian", "mixture"])
def fitted(request: pytest.FixtureRequest) -> ByLabel:
    return ByLabel(request.param).fit(labelled_codes())


def test_draws_of_a_label_lie_where_its_codes_lie(fitted: ByLabel) -> None:
    label = torch.tensor([0, 2] * 500)
    drawn = fitted.sample(1_000, seed=1, label=label)
    for number in (0, 2):
        assert (drawn[label == number].mean(0) - CENTRES[number]).abs().max() < 0.3
    assert torch.equal(drawn, fitted.sample(1_000, seed=1, label=label))


def test_without_a_label_draws_come_from_all_as_often_as_train_has_them(fitted: ByLabel) -> None:
    drawn = fitted.sample(4_000, seed=2)
    assert (drawn[:, 0] > -2.5).float().mean().item() == pytest.approx(2 / 3, abs=0.03)


def test_its_density_without_a_label_is_the_mixture_and_has_an_integral_of_1(fitted: ByLabel) -> None:
    axis = torch.arange(-15, 15, 0.1)
    points = torch.cartesian_prod(axis, axis)
    for label in (None, torch.zeros(len(points), dtype=torch.long)):
        assert fitted.log_prob(points, label).double().exp().sum().item() * 0.01 == pytest.approx(1, abs=1e-3)
    given = [fitted.log_prob(points, torch.full((len(points),), number)).exp() for number in (0, 2)]
    torch.testing.assert_close(fitted.log_prob(points).exp(), 2 / 3 * given[0] + 1 / 3 * given[1])


def test_a_label_that_train_has_not_is_named(fitted: ByLabel) -> None:
    for label in (1, 7):
        with pytest.raises(ConfigError, match=f"train has no example of label {label}"):
            fitted.sample(1, label=torch.tensor([label]))


def test_a_label_with_too_few_examples_is_named() -> None:
    codes = labelled_codes()
    assert codes.train_label is not None
    codes.train_label[0] = 1
    with pytest.raises(ConfigError, match="label 1 has 1 train examples, and a covariance of 2 numbers needs 3"):
        ByLabel(FullGaussian()).fit(codes)


def keep(prior: Any, run: Path) -> Path:
    (run / "model").mkdir()
    for name, content in fitted_priors.files(prior).items():
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return run / "model"


def test_it_comes_back_from_the_run_folder(fitted: ByLabel, tmp_path: Path) -> None:
    again = read_fitted_prior(keep(fitted, tmp_path), PLANE)
    assert isinstance(again, ByLabel)
    assert again.settings == fitted.settings
    label = torch.tensor([0, 2, -1])
    assert torch.equal(again.sample(3, seed=3, label=label), fitted.sample(3, seed=3, label=label))


@pytest.mark.parametrize(
    "change", [{"each": "flow"}, {"shares": [1.0]}, {"shares": [1.0, 1.0, 1.0]}, {"labels": [None]}]
)
def test_what_it_never_wrote_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    prior = ByLabel(FullGaussian()).fit(labelled_codes())
    written = prior.to_json()
    prior.to_json = lambda: written | change  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match=r"fitted_prior\.json: does not describe a prior"):
        read_fitted_prior(keep(prior, tmp_path), PLANE)


def words(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Label 0 writes its first index four times, label 1 counts upwards from it."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=generator)
    first = torch.randint(3, (count, 1), generator=generator)
    return (first + label.unsqueeze(1) * torch.arange(4)) % 3, label


def test_a_network_of_indices_learns_what_a_label_says_and_does_without(tmp_path: Path) -> None:
    (train, label), (val, val_label) = words(500, 0), words(100, 1)
    codes = Codes(train, val, WORDS, CPU, train_label=label, val_label=val_label, classes=2)
    prior = Autoregressive(width=16, layers=1, heads=2, steps=300, batch_size=64, lr=1e-2).fit(codes)
    test, test_label = words(200, 2)
    given, wrong, none = (-prior.log_prob(test, told).mean().item() for told in (test_label, 1 - test_label, None))
    assert given == pytest.approx(1.10, abs=0.1)  # log 3 nats
    assert none == pytest.approx(1.79, abs=0.25)  # log 2 nats more: which of the two it is
    assert wrong > 5
    asked = torch.arange(200) % 2
    drawn = prior.sample(200, seed=3, label=asked)
    assert ((drawn[:, 0] == drawn[:, 1]) == (asked == 0)).float().mean() > 0.95
    again = read_fitted_prior(keep(prior, tmp_path), WORDS)
    assert isinstance(again, Autoregressive)
    assert torch.equal(again.sample(20, seed=3, label=asked[:20]), prior.sample(20, seed=3, label=asked[:20]))
