"""The autoencoder's loss and its penalties."""

import pytest
import torch

from vaelab.models import AE


def encoder_gradients(term: torch.Tensor, model: AE) -> list[torch.Tensor]:
    return list(
        torch.autograd.grad(term.mean(), list(model.encoder.parameters()), retain_graph=True, allow_unused=True)
    )


def test_loss_is_the_mean_squared_distance(make_ae, make_batch, rows) -> None:
    """(1/N) sum_i ||x_i - x^_i||^2."""
    model = make_ae().double()
    x = rows.double()
    decoded = model.decode(model.encode(x))
    expected = (x - decoded).square().sum() / len(x)
    torch.testing.assert_close(model.terms(make_batch(x)).loss.mean(), expected)


@pytest.mark.parametrize("sigma", [0.1, 0.5**0.5])
def test_a_perfect_reconstruction_costs_nothing(make_ae, make_batch, rows, sigma: float) -> None:
    model = make_ae(latent_dim=6, hidden=(), sigma=sigma)
    for linear in (model.encoder.net[-1], model.decoder.net[0]):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    loss = model.terms(make_batch(rows)).loss
    torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-5)


def test_has_no_kl_and_no_elbo(make_ae, make_batch, rows) -> None:
    assert set(make_ae().terms(make_batch(rows)).named()) == {"loss", "reconstruction"}


def test_sparsity_is_the_weighed_l1_norm(make_ae, make_batch, rows) -> None:
    terms = make_ae(sparsity=0.3).terms(make_batch(rows))
    plain = make_ae()
    norm = plain.encode(rows).abs().sum(1)
    torch.testing.assert_close(terms.penalties["sparsity"], 0.3 * norm)
    torch.testing.assert_close(terms.loss, plain.terms(make_batch(rows)).loss + 0.3 * norm)


@pytest.mark.parametrize("training", [True, False])
def test_contraction_is_the_squared_frobenius_norm_of_the_jacobian(make_ae, make_batch, rows, training: bool) -> None:
    model = make_ae(contraction=0.2).double().train(training)
    x = rows.double()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model.encoder(row.unsqueeze(0)).squeeze(0)))(x)
    expected = 0.2 * jacobian.square().sum((1, 2))
    terms = model.terms(make_batch(x))
    torch.testing.assert_close(terms.penalties["contraction"], expected)
    torch.testing.assert_close(terms.loss, make_ae().double().terms(make_batch(x)).loss + expected)
    with torch.inference_mode():  # as Lightning evaluates
        torch.testing.assert_close(model.terms(make_batch(x.clone())).penalties["contraction"], expected)


def test_contraction_of_a_linear_encoder_is_the_norm_of_its_weights(make_ae, make_batch, rows) -> None:
    model = make_ae(hidden=(), contraction=1.0)
    penalty = model.terms(make_batch(rows)).penalties["contraction"]
    torch.testing.assert_close(penalty, model.encoder.net[-1].weight.square().sum().expand(10))


@pytest.mark.parametrize("name", ["reconstruction", "sparsity", "contraction"])
def test_every_term_reaches_the_encoder(make_ae, make_batch, rows, name: str) -> None:
    model = make_ae(sparsity=0.1, contraction=0.1).train()
    terms = model.terms(make_batch(rows)).named()
    weights_and_biases = encoder_gradients(terms[name], model)
    if name == "contraction":  # the last bias moves the code and not its Jacobian
        weights_and_biases = weights_and_biases[:-1]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in weights_and_biases)


def test_penalties_enter_the_gradient_of_the_loss(make_ae, make_batch, rows) -> None:
    model = make_ae(sparsity=0.1, contraction=0.1).double().train()
    terms = model.terms(make_batch(rows.double()))
    parts = (-terms.log_likelihood, *terms.penalties.values())
    whole = encoder_gradients(terms.loss, model)
    each = [encoder_gradients(part, model) for part in parts]
    for i, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, sum(g[i] for g in each if g[i] is not None))


@pytest.mark.parametrize("settings", [{}, {"sparsity": 0.1, "contraction": 0.1}])
@pytest.mark.parametrize("sizes", [[5, 5], [4, 4, 2], [1] * 10])
def test_loss_and_gradients_do_not_depend_on_how_a_batch_is_cut(
    make_ae, make_batch, rows, settings: dict, sizes: list[int]
) -> None:
    model = make_ae(**settings).double().train()
    x = rows.double()
    whole = model.terms(make_batch(x)).loss.mean()
    parts = sum(model.terms(make_batch(part)).loss.mean() * len(part) / len(x) for part in x.split(sizes))
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)
    cut, one = (torch.autograd.grad(loss, list(model.parameters())) for loss in (parts, whole))
    for a, b in zip(cut, one, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_prediction_is_the_code_and_its_decoding(make_ae, make_batch, rows) -> None:
    model = make_ae(contraction=0.1).eval()
    with torch.inference_mode():
        first, second = model.predict(make_batch(rows)), model.predict(make_batch(rows))
    torch.testing.assert_close(first.latent, model.encode(rows))
    torch.testing.assert_close(first.reconstruction, model.decode(model.encode(rows)))
    assert torch.equal(first.terms.loss, second.terms.loss)
