"""A prior for each label: p(z|label) is that of the codes of the label, and p(z) is their mixture."""

import math
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation import fitted_priors
from vaelab.evaluation.autoregressive_prior import Autoregressive
from vaelab.evaluation.fitted_priors import read_fitted_prior
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.latents.fitted import Codes, GaussianByLabel, MixtureByLabel
from vaelab.latents.fitted.by_label import ByLabel
from vaelab.likelihoods import Gaussian
from vaelab.models import VAE

CPU = torch.device("cpu")
PLANE = LatentSpec.vector(2)
WORDS = LatentSpec((LatentGroup((2, 2, 2), (2, 2), 3),))
CENTRES = torch.tensor([[0.0, 5.0], [5.0, 0.0], [-5.0, 0.0]])
SENSORS = DataSpec("sensors", "table", (4,), "real", classes=("a", "b", "c"))


def model_of(latent: LatentSpec, classes: int = 3) -> Any:
    """As far as a reader of priors looks at a model."""
    return SimpleNamespace(latent=latent, condition=SimpleNamespace(classes=classes))


def labelled_codes() -> Codes:
    """Label a comes twice as often as c; b never comes; some examples have no label, and lie far away."""
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 2, 0] * 200 + [-1] * 50)
    codes = torch.randn(len(label), 2, generator=generator) + CENTRES[label]
    codes[label < 0] += 100
    return Codes(codes, codes[:9], PLANE, CPU, train_label=label, val_label=label[:9], classes=("a", "b", "c"))


@pytest.fixture(params=[GaussianByLabel(), MixtureByLabel(2)], ids=["gaussian", "mixture"])
def fitted(request: pytest.FixtureRequest) -> ByLabel:
    return deepcopy(request.param).fit(labelled_codes())


def test_draws_of_a_label_lie_where_its_codes_lie(fitted: ByLabel) -> None:
    label = torch.tensor([0, 2] * 500)
    drawn = fitted.sample(1_000, seed=1, label=label)
    for number in (0, 2):
        assert (drawn[label == number].mean(0) - CENTRES[number]).abs().max() < 0.3
    assert torch.equal(drawn, fitted.sample(1_000, seed=1, label=label))
    assert not torch.equal(drawn[label == 0] - CENTRES[0], drawn[label == 2] - CENTRES[2])


def test_temperature_draws_nearer_to_the_means(fitted: ByLabel) -> None:
    label = torch.zeros(1_000, dtype=torch.long)
    spread = [fitted.sample(1_000, seed=1, temperature=t, label=label).std(0).mean().item() for t in (0.1, 1.0)]
    assert spread[0] < 0.9 * spread[1]


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


def test_a_label_that_train_has_not_takes_the_distribution_of_all(
    fitted: ByLabel, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = fitted.sample(500, label=torch.ones(500, dtype=torch.long))
    assert drawn.std(0).min() > 5  # those without a label lie far away
    assert fitted.facts["labels with a distribution of their own"] == "2 of 3"
    deepcopy(fitted).fit(labelled_codes())
    assert "labels with fewer than 12 train examples use the distribution of all labels: b (0)" in (
        capsys.readouterr().err
    )


def test_a_label_with_few_examples_has_fewer_components_and_fits_codes_that_it_has_not_seen() -> None:
    """Ten components for 40 codes would lie on single codes, and give all others next to no density."""
    generator = torch.Generator().manual_seed(1)
    codes, unseen = torch.randn(40, 2, generator=generator), torch.randn(1_000, 2, generator=generator)
    label = torch.zeros(40, dtype=torch.long)
    prior = MixtureByLabel(10).fit(Codes(codes, codes, PLANE, CPU, train_label=label, classes=("a",)))
    assert prior.own[0] is not None
    assert prior.own[0].components == 3
    assert prior.log_prob(unseen, torch.zeros(1_000, dtype=torch.long)).mean() > -4.5  # 2.84 under the true one


def test_codes_without_any_label_are_refused() -> None:
    codes = Codes(torch.zeros(20, 2), torch.zeros(2, 2), PLANE, CPU, train_label=torch.full((20,), -1), classes=("a",))
    with pytest.raises(ConfigError, match="fitted_prior=gaussian_by_label: no train example has a label"):
        GaussianByLabel().fit(codes)


@pytest.mark.parametrize(
    ("label", "message"), [([3, 0], "label has 3: should be below 3"), ([1], r"should be \[2\], one for each")]
)
def test_labels_that_there_are_not_are_named(fitted: ByLabel, label: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.sample(2, label=torch.tensor(label))
    with pytest.raises(ValueError, match=message):
        fitted.log_prob(torch.zeros(2, 2), torch.tensor(label))


def test_nll_under_it_is_that_of_each_examples_own_label() -> None:
    """K draws for each of B examples: the bound of every example by hand, in another order of labels."""
    torch.manual_seed(0)
    encoder = MLPEncoder((4,), 4, [5], activation="relu", condition_size=3)
    decoder = MLPDecoder(5, (1, 4), [5], activation="relu")
    model = VAE(encoder, decoder, Gaussian(SENSORS, 1.0), 2, condition="label", condition_size=3).eval()
    prior, label = GaussianByLabel().fit(labelled_codes()), torch.tensor([2, 0, 2, 1, 0])
    x = torch.randn(5, 4)
    batch = Batch(x, x, label, x, ExampleNoise(0, range(5)), 1.0)
    with torch.no_grad():
        found = model.log_evidence(batch, 7, prior=prior)
        noise = batch.noise.normal("evidence", (7, 2), x.device)
        q = model.infer(x, label).q
        for row in range(5):
            z = q.mean[row] + q.variance[row].sqrt() * noise[row]
            given = label[row].expand(7)
            log_q = torch.distributions.Normal(q.mean[row], q.variance[row].sqrt()).log_prob(z).sum(1)
            log_p = model.log_likelihood(z, x[row].expand(7, -1), given) + prior.log_prob(z, given)
            assert found[row].item() == pytest.approx((log_p - log_q).logsumexp(0).item() - math.log(7), abs=1e-3)


def keep(prior: Any, run: Path) -> Path:
    (run / "model").mkdir()
    for name, content in fitted_priors.files(prior).items():
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return run / "model"


def test_it_comes_back_from_the_run_folder(fitted: ByLabel, tmp_path: Path) -> None:
    folder = keep(fitted, tmp_path)
    again = read_fitted_prior(folder, model_of(PLANE))
    assert isinstance(again, type(fitted))
    assert (again.settings, again.facts) == (fitted.settings, fitted.facts)
    label = torch.tensor([0, 1, 2, -1])
    assert torch.equal(again.sample(4, seed=3, label=label), fitted.sample(4, seed=3, label=label))
    with pytest.raises(CheckpointError, match="is for 3 labels, and the model has 4"):
        read_fitted_prior(folder, model_of(PLANE, classes=4))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []}, {"labels": [1, 0, 2]}, {"labels": [1, 0]}, {"labels": [True, 0, 1]}, {"shared": 0},
        {"most": 10**400}, {"dimensions": 3}, {"converged": {}}, {"labels": [0] * 3},
    ],
)  # fmt: skip
def test_what_it_never_wrote_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    prior = GaussianByLabel().fit(labelled_codes())
    written = prior.to_json()
    prior.to_json = lambda: written | change  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match=r"fitted_prior\.(json|safetensors)"):
        read_fitted_prior(keep(prior, tmp_path), model_of(PLANE))


@pytest.mark.parametrize("shares", [[5.0, 0.0, 5.0], [-1.0, 1.0, 1.0], [math.inf, 0.0, 0.0], [math.nan, 0.5, 0.5]])
def test_shares_that_are_no_distribution_are_refused(shares: list[float], tmp_path: Path) -> None:
    prior = GaussianByLabel().fit(labelled_codes())
    prior.shares = torch.tensor(shares, dtype=torch.float64)
    with pytest.raises(CheckpointError, match=r"does not describe a prior|shares holds NaN or infinity"):
        read_fitted_prior(keep(prior, tmp_path), model_of(PLANE))


def words(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Label 0 writes its first index four times, label 1 counts upwards from it."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=generator)
    first = torch.randint(3, (count, 1), generator=generator)
    return (first + label.unsqueeze(1) * torch.arange(4)) % 3, label


def test_a_network_of_indices_learns_what_a_label_says_and_does_without(tmp_path: Path) -> None:
    (train, label), (val, val_label) = words(500, 0), words(100, 1)
    codes = Codes(train, val, WORDS, CPU, train_label=label, val_label=val_label, classes=("still", "up"))
    prior = Autoregressive(width=16, layers=1, heads=2, steps=300, batch_size=64, lr=1e-2).fit(codes)
    test, test_label = words(200, 2)
    given, wrong, none = (-prior.log_prob(test, told).mean().item() for told in (test_label, 1 - test_label, None))
    assert given == pytest.approx(1.10, abs=0.1)  # log 3 nats
    assert none == pytest.approx(1.79, abs=0.25)  # log 2 nats more: which of the two it is
    assert wrong > 5
    asked = torch.arange(200) % 2
    drawn = prior.sample(200, seed=3, label=asked)
    assert ((drawn[:, 0] == drawn[:, 1]) == (asked == 0)).float().mean() > 0.95
    again = read_fitted_prior(keep(prior, tmp_path), model_of(WORDS, classes=2))
    assert isinstance(again, Autoregressive)
    assert torch.equal(again.sample(20, seed=3, label=asked[:20]), prior.sample(20, seed=3, label=asked[:20]))
    with pytest.raises(ValueError, match="label has 2: should be below 2"):
        prior.sample(1, label=torch.tensor([2]))
