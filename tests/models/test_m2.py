"""M2: the losses of the paper by hand, and labels that are where they should be."""

from collections.abc import Callable
from math import log
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from in_memory import InMemory, digits
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import M2
from vaelab.models.perceptual import Perceptual
from vaelab.models.phases import MAIN

CLASSES, SIZE, HIDDEN = 3, 2, 6
SPEC = DataSpec("rows", "table", (4,), "real", classes=("a", "b", "c"))
LATENT = LatentSpec((LatentGroup((CLASSES,), (1,), CLASSES, "y"), LatentGroup((SIZE,), name="z")))


def made(**settings: float) -> M2:
    torch.manual_seed(0)
    encoder = MLPEncoder(SPEC.shape, HIDDEN, [5], activation="tanh")
    decoder = MLPDecoder(CLASSES + SIZE, (1, 4), [5], activation="tanh")
    parts = {"encoder": encoder, "decoder": decoder, "likelihood": Gaussian(SPEC, 1.0), "latent": LATENT}
    return M2(**{"alpha": 0.5, "hidden": HIDDEN, "classifier": [4]} | settings | parts).double()  # type: ignore[arg-type]


def batch_of(*label: int) -> Batch:
    count = len(label)
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(1)).double()
    return Batch(x, x, torch.tensor(label), x, ExampleNoise(0, range(count)), 1.0)


def costs(model: M2, batch: Batch) -> tuple[Tensor, Tensor]:
    """L(x,y) of equation 6 for each y, `(B, K)`, and log q(y|x), one example and one class after the other."""
    inferred = model.infer(batch.x)
    eps = batch.noise.normal("posterior_z", (1, SIZE), torch.device("cpu")).double()[:, 0]
    found = torch.empty(len(batch.x), CLASSES, dtype=torch.float64)
    for i in range(len(batch.x)):
        for y in range(CLASSES):
            q = Independent(Normal(inferred.z.mean[i, y], (0.5 * inferred.z.log_variance[i, y]).exp()), 1)
            p = Independent(Normal(torch.zeros(SIZE).double(), 1.0), 1)
            z = inferred.z.mean[i, y] + q.stddev * eps[i]
            read = torch.cat([torch.eye(CLASSES).double()[y], z])
            likelihood = Normal(model.decoder(read[None])[0, 0], 1.0).log_prob(batch.target[i]).sum()
            found[i, y] = -likelihood - log(1 / CLASSES) + kl_divergence(q, p)
    return found, inferred.log_share


@torch.no_grad()
def test_without_a_label_the_loss_is_equation_7_and_with_one_equation_6() -> None:
    model, batch = made().train(), batch_of(-1, 2, -1, 0)
    each, log_q = costs(model, batch)
    marginal = (log_q.exp() * (each + log_q)).sum(1)
    by_hand = torch.stack([marginal[0], each[1, 2], marginal[2], each[3, 0]])
    wrong = torch.stack([torch.tensor(0.0), -log_q[1, 2], torch.tensor(0.0), -log_q[3, 0]]).double()
    terms = model.terms(batch)
    torch.testing.assert_close(terms.kl - terms.log_likelihood, by_hand)
    torch.testing.assert_close(terms.penalties["classification"], 0.5 * wrong)
    torch.testing.assert_close(terms.loss, by_hand + 0.5 * wrong)
    torch.testing.assert_close(terms.rates["kl_y"] + terms.rates["kl_z"], terms.kl)
    torch.testing.assert_close(terms.rates["kl_y"][1], torch.tensor(log(CLASSES)).double())


@torch.no_grad()
def test_evaluation_never_sees_the_label_in_its_bound() -> None:
    model = made().eval()
    shown, hidden = model.predict(batch_of(2, 1)), model.predict(batch_of(-1, -1))
    for name in ("reconstruction", "kl", "elbo"):
        assert torch.equal(shown.terms.named()[name], hidden.terms.named()[name])
    assert torch.equal(shown.latent, hidden.latent)
    each, log_q = costs(model, batch_of(-1, -1))
    torch.testing.assert_close(-hidden.terms.named()["elbo"], (log_q.exp() * (each + log_q)).sum(1))


@torch.no_grad()
def test_the_evidence_sums_over_classes_and_is_that_of_quadrature() -> None:
    model, batch = made().eval(), batch_of(-1, -1)
    model.infer_z.output.weight.mul_(0.3)  # q(z|x,y) is then wide enough for few draws
    axis = torch.linspace(-8, 8, 321, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    joint = []
    for y in torch.eye(CLASSES).double():
        means = model.decoder(torch.cat([y.expand(len(z), -1), z], dim=1))[:, 0]
        joint.append(Normal(means, 1.0).log_prob(batch.x.unsqueeze(1)).sum(2) + prior - log(CLASSES))
    exact = torch.cat(joint, dim=1).logsumexp(1) + 2 * (axis[1] - axis[0]).log()
    torch.testing.assert_close(model.log_evidence(batch, 40_000), exact, atol=0.015, rtol=0)


@torch.no_grad()
def test_draws_of_both_variables_are_those_of_q_and_their_weights_give_the_same_evidence() -> None:
    model, batch = made().eval(), batch_of(-1)
    draw = model.draw(batch, 20_000)
    y, z = draw.groups
    torch.testing.assert_close(y.z[0].mean(0), model.infer(batch.x).log_share[0].exp(), atol=0.02, rtol=0)
    weights = model.log_likelihood_of_draws(draw.decoded, batch.target, batch.target)[0] + draw.log_ratio
    evidence = weights.logsumexp(1) - log(20_000)
    torch.testing.assert_close(evidence, model.log_evidence(batch, 4_000), atol=0.05, rtol=0)
    assert torch.equal(y.indices[0, :, 0], y.z[0].argmax(1))
    assert z.z.shape == (1, 20_000, SIZE)


def test_a_hidden_label_moves_the_classifier_by_the_bound_and_a_shown_one_by_its_own_term() -> None:
    model = made().train()
    weight = model.classifier[-1].weight
    for label, bound, classification in ((-1, True, False), (1, False, True)):
        terms = model.terms(batch_of(label))
        for term, moves in (
            (terms.kl - terms.log_likelihood, bound),
            (terms.penalties["classification"], classification),
        ):
            (found,) = torch.autograd.grad(term.sum(), weight, allow_unused=True, retain_graph=True)
            assert (found is not None and bool(found.any())) == moves


@torch.no_grad()
def test_repeated_labels_change_no_objective() -> None:
    """Over an epoch the loss is the formula of the docstring, however often examples with a label come."""
    label = torch.tensor([0, 1, 2, *[-1] * 37])
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(2)).double()
    whole = Batch(x, x, label, x, ExampleNoise(0, range(40)), 1.0)
    model = made(alpha=0.7).train()
    plain = model.terms(whole)
    bound, wrong = plain.kl - plain.log_likelihood, plain.penalties["classification"][:3].mean()
    for repeats in (1, 4):
        model.count_labels(40, 3, repeats)
        rows = torch.cat([torch.arange(40), torch.arange(3).repeat(repeats - 1)])
        each = model.terms(whole).loss[rows]
        torch.testing.assert_close(each.mean(), bound.mean() + wrong)


@torch.no_grad()
def test_a_label_is_that_of_the_samples_and_none_is_drawn_of_all() -> None:
    model = made().eval()
    label = torch.tensor([2, 0, -1])
    assert model.sample_latent(3, condition=label)[:2, :CLASSES].argmax(1).tolist() == [2, 0]
    share = model.sample_latent(6_000)[:, :CLASSES].mean(0)
    torch.testing.assert_close(share, torch.full((CLASSES,), 1 / CLASSES), atol=0.03, rtol=0)


def test_an_epoch_holds_a_tenth_of_labels_and_every_other_example_once() -> None:
    data = digits(labelled=20)
    data.labelled_share = 0.1
    rows = data._epoch_rows()
    counts = rows.bincount(minlength=data.examples)[data.split["train"]]
    known = data.labels("train") >= 0
    assert (counts[~known] == 1).all()
    assert (counts[known] == data.repeats).all()
    labels = torch.cat([batch.label for batch in data.train_dataloader()])
    assert 0.1 <= float((labels >= 0).double().mean()) < 0.12
    assert len(labels) == data.epoch_size


@pytest.mark.parametrize("labelled", [3, None])
def test_data_that_are_all_labelled_or_asked_for_nothing_stay_as_they_are(labelled: int | None) -> None:
    x, label = torch.randn(40, 4), torch.arange(40) % 3
    data = InMemory(x, SPEC, label, labelled=labelled)
    assert data.repeats == 1
    if labelled is None:
        data.labelled_share = 0.1
    assert data.epoch_size == len(data.split["train"])


def test_terms_on_reconstructions_count_repeated_rows_as_often_as_the_loss_does() -> None:
    class Ones(Perceptual):
        about, prepare, move, layers = None, None, None, None  # type: ignore[assignment]

        def term(self, reconstruction: Tensor, batch: Batch) -> Tensor:
            return torch.ones(len(reconstruction), dtype=reconstruction.dtype)

    model, batch = made().train(), batch_of(-1, 2)
    model.count_labels(20, 4, 5)
    model.perceptual = Ones(1.0)
    found = model.phase_terms(MAIN, batch).penalties["perceptual"]
    # An epoch has 36 rows: the 16 without a label once, and the 4 with one five times.
    assert float(16 * found[0] + 20 * found[1]) / 36 == pytest.approx(1.0)
    assert float(found[0]) == pytest.approx(5 * float(found[1]))
    assert "classifier" not in model.moves()["perceptual"]


@pytest.mark.long
def test_rows_are_generated_with_their_label(train: Callable[..., Path]) -> None:
    folder = train("data=breast_cancer", "model=m2", "data.labelled=20", "trainer.max_epochs=1", "task.nll_samples=2")
    assert '"test/tstr"' in (folder / "metrics.json").read_text()
