"""The aggregate posterior: moments of the latents of a whole split."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaelab.csv_text import csv_text
from vaelab.data.module import DataModule
from vaelab.evaluation.active_units import active
from vaelab.evaluation.encoded import encoded
from vaelab.models import Model

SMALLEST = 1e-12  # of an eigenvalue, so that a constant dimension has a finite KL


@dataclass(frozen=True)
class AggregatePosterior:
    """Moments of q(z), the mean over examples of q(z|x); for an AE, of its deterministic codes.

    Attributes:
        count: number of examples.
        mean: `(latent_dim,)` float64.
        covariance: `(latent_dim, latent_dim)` float64; of the posterior means, plus the mean of the posteriors'
            variances.
        rates: `(latent_dim,)` float64, the rate of each dimension in nats, mean over examples; None for an AE, and if
            the KL from the prior has no closed form.
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

        Among all distributions with these moments, the normal one has the largest entropy and so the smallest KL to
        N(0, I). The value is therefore a lower bound of KL(q(z) || N(0, I)).
        """
        eigenvalues = torch.linalg.eigvalsh(self.covariance).clamp(min=SMALLEST)
        each = eigenvalues - 1 - eigenvalues.log()
        return 0.5 * float(each.sum() + self.mean.square().sum())

    def to_csv(self) -> str:
        """A CSV line for each dimension: its rate in nats, mean and variance of q(z), and whether it is an active unit.

        The fields of the rate and the active unit are empty for an AE.
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
    """The aggregate posterior of a split."""
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
