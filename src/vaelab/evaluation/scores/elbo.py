"""The negative evidence lower bound."""

import torch
from torch import Tensor

from vaelab.evaluation.scores.score import Score, refuse_no_rate, scored_batch
from vaelab.models import Model

DRAWS = 8  # z for each example; the KL is exact, so that only log p(x|z) is sampled


class Elbo(Score):
    """-elbo = KL - E_q[log p(x|z)] in nats, at beta = 1, its expectation over fixed draws."""

    needs_rate = True

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)` nats."""
        refuse_no_rate(model)
        draws = [model.terms(scored_batch(x, seed)).named()["elbo"] for seed in range(DRAWS)]
        return -torch.stack(draws).mean(0)
