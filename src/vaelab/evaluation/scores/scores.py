"""The anomaly scores of a model."""

from collections.abc import Iterable

import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor

from vaelab.data.plain import squared_error_of_each
from vaelab.evaluation.scores.score import Score, number_of_values, reconstruct, refuse_no_rate, scored_batch
from vaelab.models import Model


class Reconstruction(Score):
    """||x - x^||^2 with x^ decoded from the code or the posterior mean, summed over the observed values.

    For data with categories it is -log p(x|z) at that code, in nats. For series it is the mean squared error over
    observed values, scaled to full length, so that long series do not score higher merely for being long.
    """

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        spec = model.likelihood.spec
        if spec.support in ("categories", "mixed"):
            return -model.log_likelihood(model.encode(x), x)
        values = spec.size if spec.kind == "series" else number_of_values(x, spec)
        each = squared_error_of_each(reconstruct(model, x), x, spec)
        return (each.nan_to_num() if spec.has_missing else each) * values  # an example without values has no error


TINY = 1e-6  # added to the norm, which is 0 for a blank example


class Relative(Score):
    """||x - x^||^2 / ||x||, with x^ from the code or the posterior mean.

    It is the geometric mean of the squared error and of the relative error ||x - x^||^2 / ||x||^2. The squared error
    alone is small for every faint image, such as a 1 for a model of 8s; the relative error alone is small for images
    with many bright pixels. It suits data where 0 means empty.
    """

    is_error = True

    def __init__(self) -> None:
        super().__init__()
        self._error = Reconstruction()

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        return self._error(model, x) / (x.nan_to_num().square().flatten(1).sum(1) + TINY).sqrt()


class Latent(Score):
    """Mahalanobis distance of the code, or posterior mean, from those of the training examples.

    Their covariance is shrunk (Ledoit and Wolf, 2004), so that dimensions that the model does not use do not dominate.
    """

    mean: Tensor
    precision: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("precision", torch.eye(latent_dim))

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Fit mean and precision to the codes of batches `(B, *shape)`."""
        codes = torch.cat([model.encode(x).cpu().double() for x in normal])
        fitted = LedoitWolf().fit(codes.numpy())
        self.mean.copy_(torch.from_numpy(fitted.location_))
        self.precision.copy_(torch.from_numpy(fitted.precision_))

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`, in standard deviations."""
        centred = model.encode(x) - self.mean
        return ((centred @ self.precision) * centred).sum(1).clamp(min=0).sqrt()


DRAWS = 8  # z for each example; the KL is exact, so only log p(x|z) is sampled


class Elbo(Score):
    """-elbo = KL - E_q[log p(x|z)] in nats, at beta = 1, with the expectation over fixed draws."""

    needs_rate = True

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)` nats."""
        refuse_no_rate(model)
        draws = [model.terms(scored_batch(x, seed)).named()["elbo"] for seed in range(DRAWS)]
        return -torch.stack(draws).mean(0)


class NegativeLogLikelihood(Score):
    """The importance-weighted bound on -log p(x) with K = `samples` fixed draws (Burda et al., 2016, equation 8)."""

    needs_rate = True

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)` nats."""
        refuse_no_rate(model)
        return -model.log_evidence(scored_batch(x), self.samples)
