"""The latents of a whole split taken together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaelab.csv_text import csv_text
from vaelab.data.module import DataModule
from vaelab.evaluation.active_units import active
from vaelab.evaluation.encoded import encoded
from vaelab.models import Model

SMALLEST = 1e-12  # of an eigenvalue: a dimension that does not vary at all is taken for one that hardly does


@dataclass(frozen=True)
class AggregatePosterior:
    """Moments of q(z), the mean over examples of q(z|x); of an AE's codes, each a point.

    Attributes:
        count: examples.
        mean: `(latent_dim,)` float64.
        covariance: `(latent_dim, latent_dim)` float64; of the posterior means plus the mean of the
            posteriors' own variances.
        rates: `(latent_dim,)` float64, the rate of each dimension in nats, mean over examples; None for an AE, and
            where a prior has no closed form.
        spread: `(latent_dim,)` float32, standard deviations of codes or posterior means.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    rates: Tensor | None
    spread: Tensor

    @property
    def active(self) -> Tensor | None:
        """`(latent_dim,)` bool, which dimensions are active units; None for an AE."""
        return None if self.rates is None else active(self.spread.square(), self.rates)

    def kl_to_prior(self) -> float:
        """KL(N(mean, covariance) || N(0, I)) in nats.

        Of all distributions with these moments the normal one has the least KL to N(0, I), since it
        has the most entropy; so this is what q(z) has at the least, and q(z) may have more.
        """
        eigenvalues = torch.linalg.eigvalsh(self.covariance).clamp(min=SMALLEST)
        each = eigenvalues - 1 - eigenvalues.log()
        return 0.5 * float(each.sum() + self.mean.square().sum())

    def to_csv(self) -> str:
        """A line for each dimension: its rate in nats, mean and variance of q(z), and whether it is an active unit.

        An AE has neither a rate nor active units, and these fields are empty.
        """
        rates = [None] * len(self.mean) if self.rates is None else [f"{rate:.6g}" for rate in self.rates]
        active = [None] * len(self.mean) if self.active is None else [int(used) for used in self.active]
        rows = (
            [dimension, rate, f"{mean:.6g}", f"{variance:.6g}", used]
            for dimension, (rate, mean, variance, used) in enumerate(
                zip(rates, self.mean, self.covariance.diagonal(), active, strict=True)
            )
        )
        return csv_text(["dimension", "rate_nats", "aggregate_mean", "aggregate_variance", "active"], rows)


def aggregate_posterior(model: Model, data: DataModule, split: str) -> AggregatePosterior:
    """Of the encoded split."""
    found = encoded(model, data, split)
    rows = found.codes.double()
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / len(rows)
    if found.variance is not None:
        covariance = covariance + found.variance.diag()
    each = found.rates is not None and len(found.rates) == model.latent.size and not model.latent.discrete
    return AggregatePosterior(
        len(rows), rows.mean(0), covariance, found.rates if each else None, rows.std(0, correction=0).float()
    )
