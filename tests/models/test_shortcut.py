"""With a shortcut an untrained model is principal components, and a trained one is not behind them."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from in_memory import digits
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.core.spec import Column
from vaelab.latents import Gaussian as Normal
from vaelab.latents import LatentSpec, Point
from vaelab.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    Likelihood,
    Mixed,
    squared_error,
)
from vaelab.models import AE, VAE, Shortcut, Start

SIZE = 4


def with_shortcut(kind: type, likelihood: Likelihood, examples: torch.Tensor, mean: torch.Tensor) -> Any:
    torch.manual_seed(0)
    spec = likelihood.spec
    numbers = SIZE * (2 if kind is VAE else 1)
    encoder = MLPEncoder(spec.shape, numbers, [16], "relu", spec=spec)
    decoder = MLPDecoder(SIZE, likelihood.raw_shape, [16], "relu")
    model = kind(encoder, decoder, likelihood, SIZE)
    assert Shortcut.fits(model.latent, model.posterior, likelihood, model.autoregressive)
    model.shortcut = Shortcut(spec, SIZE, examples=1000, pace=0.3)
    model.start(Start(len(examples), mean, examples))
    for network in (model.encoder, model.decoder):
        for weights in network.parameters():
            torch.nn.init.zeros_(weights)
    return model.eval()


def pca_of(rows: np.ndarray) -> np.ndarray:
    found = PCA(SIZE, random_state=0).fit(rows)
    return found.inverse_transform(found.transform(rows))


ROWS = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 4, 3, 2, 0.5, 0.5])


def gaussian(scale: Any) -> Gaussian:
    return Gaussian(DataSpec("r", "table", (6,), "real"), scale)


def test_an_untrained_autoencoder_is_principal_components() -> None:
    model = with_shortcut(AE, gaussian("learned"), ROWS, ROWS.mean(0))
    expected = torch.from_numpy(pca_of(ROWS.numpy())).float()
    codes = model.encode(ROWS)
    torch.testing.assert_close(model.decode(codes), expected, atol=1e-4, rtol=1e-4)
    assert codes.square().mean().item() == pytest.approx(1, rel=0.01)
    apart = torch.cdist(codes, codes) / torch.cdist(expected, expected)  # all distances are in proportion
    assert apart[~torch.eye(len(ROWS), dtype=torch.bool)].std() < 1e-3


def test_an_untrained_vae_is_probabilistic_pca() -> None:
    model = with_shortcut(VAE, gaussian("learned"), ROWS, ROWS.mean(0))
    found = PCA(SIZE).fit(ROWS.numpy())
    kept = 1 - found.noise_variance_ / found.explained_variance_
    expected = (found.transform(ROWS.numpy()) * kept) @ found.components_ + found.mean_
    codes = model.encode(ROWS)
    torch.testing.assert_close(model.decode(codes), torch.from_numpy(expected).float(), atol=1e-3, rtol=1e-3)
    # Means and variances of the posteriors make up the prior's variance of 1.
    torch.testing.assert_close(codes.var(0) + model.infer(ROWS[:1]).q.variance[0], torch.ones(SIZE), atol=0.01, rtol=0)


def test_posteriors_begin_as_those_of_probabilistic_pca() -> None:
    model = with_shortcut(VAE, gaussian("by_place"), ROWS, ROWS.mean(0))
    found = PCA(SIZE).fit(ROWS.numpy())
    expected = torch.from_numpy(found.noise_variance_ / found.explained_variance_).float()
    torch.testing.assert_close(model.infer(ROWS[:1]).q.variance[0], expected, rtol=0.1, atol=0)
    left = ROWS.numpy() - pca_of(ROWS.numpy())
    torch.testing.assert_close(
        model.likelihood.log_scale.exp(),
        torch.from_numpy(np.maximum(left.std(0), 0.01)).float(),
        rtol=0.05,
        atol=0.002,
    )


@pytest.mark.parametrize("name", ["discretized_logistic", "gaussian", "laplace", "squared_error", "bernoulli"])
def test_pixels_keep_to_their_range(name: str) -> None:
    data = digits(binarize="threshold" if name == "bernoulli" else None)
    likelihoods: dict[str, Any] = {
        "discretized_logistic": lambda s: DiscretizedLogistic(s, 2),
        "gaussian": lambda s: Gaussian(s, 0.1),
        "laplace": lambda s: Laplace(s, "per_value"),
        "squared_error": squared_error,
        "bernoulli": lambda s: Bernoulli(s, binarize=None),
    }
    x = data.clean("train")
    model = with_shortcut(AE, likelihoods[name](data.spec), x, data.mean())
    expected = torch.from_numpy(pca_of(x.flatten(1).double().numpy())).float().clamp(0, 1)
    torch.testing.assert_close(model.decode(model.encode(x)).flatten(1), expected, atol=0.02, rtol=0)


def test_a_table_with_categories_and_missing_values_has_one_too() -> None:
    columns = (Column("a"), Column("b"), Column("c", ("x", "y", "z")))
    spec = DataSpec("t", "table", (3,), "mixed", columns=columns, has_missing=True)
    generator = torch.Generator().manual_seed(0)
    c = torch.randint(0, 3, (300, 1), generator=generator).float()
    rows = torch.cat([c + 0.1 * torch.randn(300, 1, generator=generator), -c, c], dim=1)
    rows[::7, 1] = torch.nan
    mean = torch.tensor([float(c.mean()), -float(c.mean()), *(float((c == k).float().mean()) for k in range(3))])
    model = with_shortcut(VAE, Mixed(spec, "gaussian", "learned", 4), rows, mean)
    restored = model.decode(model.encode(rows))
    assert (restored[:, 2] == rows[:, 2]).float().mean() > 0.95
    assert (restored[:, 0] - rows[:, 0]).square().mean() < 0.1


def test_missing_values_are_those_of_the_mean_and_leave_no_residual() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 5 + torch.randn(400, 1, generator=generator) + 0.1 * torch.randn(400, 6, generator=generator)
    holes = torch.rand(rows.shape, generator=generator) < 0.3
    mean = rows.masked_fill(holes, torch.nan).nanmean(0)
    columns = tuple(Column(name) for name in "abcdef")
    spec = DataSpec("r", "table", (6,), "real", columns=columns, has_missing=True)
    model = with_shortcut(VAE, Gaussian(spec, "by_place"), rows.masked_fill(holes, torch.nan), mean)
    torch.testing.assert_close(model.shortcut.mean, mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(model.decode(model.encode(torch.full((1, 6), torch.nan)))[0], mean, atol=1e-3, rtol=0)


def test_a_likelihood_begins_with_a_scale_where_there_are_fewer_examples_than_numbers_of_a_code() -> None:
    rows = torch.randn(SIZE, 40, generator=torch.Generator().manual_seed(0))
    model = with_shortcut(VAE, Gaussian(DataSpec("r", "table", (40,), "real"), "learned"), rows, rows.mean(0))
    assert model.likelihood.log_scale.exp().item() > 0.5


def test_what_cannot_have_one_goes_without() -> None:
    spec = DataSpec("digits", "image", (1, 8, 8), "unit", 17)
    vector, grid = LatentSpec.vector(4), LatentSpec((Normal().group((2, 2, 2)),))
    assert Shortcut.fits(vector, Normal(), Gaussian(spec, 0.1), False)
    assert Shortcut.fits(vector, Point(), Gaussian(spec, 0.1), False)
    assert not Shortcut.fits(grid, Normal(), Gaussian(spec, 0.1), False)
    assert not Shortcut.fits(vector, Normal(), ContinuousBernoulli(spec), False)
    assert not Shortcut.fits(vector, Normal(), Gaussian(spec, 0.1), True)
    tokens = DataSpec("text", "tokens", (5,), "categories", 7)
    assert not Shortcut.fits(vector, Normal(), Categorical(tokens), False)


def test_examples_that_are_all_the_same_have_no_components() -> None:
    rows = torch.ones(20, 6)
    model = with_shortcut(VAE, Gaussian(DataSpec("r", "table", (6,), "real"), "learned"), rows, rows.mean(0))
    assert model.decode(model.encode(rows)).isfinite().all()


@pytest.mark.long
def test_a_run_is_not_behind_principal_components_and_loads_again(train: Any, tmp_path: Any) -> None:
    import json

    import vaelab

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(60, 3)) @ generator.normal(size=(3, 40)) + 0.1 * generator.normal(size=(60, 40))
    np.save(tmp_path / "waves.npy", rows[:, None, :].astype(np.float32))
    words = ("task=compression", "data=series", f"data.path={tmp_path / 'waves.npy'}", "data.batch_size=16")
    folder = train(*words, "budget.steps=400", "latent_dim=3", "encoder.widths=[8]", "decoder.widths=[8]")
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["test/mse"] < 1.25 * numbers["baseline/pca/mse"]
    model = vaelab.load(folder).model
    assert model.shortcut is not None
    assert "shortcut" in {name.partition(".")[0] for name, _ in model.named_parameters()}
