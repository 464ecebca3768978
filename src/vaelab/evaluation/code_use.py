"""Whether a model uses its latent code at all."""

from math import isfinite
from typing import NamedTuple

import torch

from vaelab.data.module import DataModule
from vaelab.models import Model

EXAMPLES, VALUES = 512, 2**22  # drawn from a split at most, and values in all of them
NATS = 0.5  # that a used code makes its example likelier by
SHARE = 0.02  # of the error that a used code takes away


class CodeUse(NamedTuple):
    """What examples gain by their own code, beside the code of another example; means over examples.

    Attributes:
        gain: log p(x_i|z_i) - log p(x_i|z_j) in nats, with z the code or the posterior mean and j another example.
        share: the part of the error under the code of another that the own code takes away, at most 1; None where
            the likelihood has no constant, so that its nats are not measured from a perfect reconstruction.
        rate: KL(q(z|x) || p(z)) in nats; None for a model without a posterior.
    """

    gain: float
    share: float | None
    rate: float | None

    @property
    def used(self) -> bool:
        """Whether reconstructions depend on the code.

        An autoencoder's squared error is a likelihood whose scale nobody has measured, so that its nats mean nothing.
        There the share of the error counts.
        """
        if self.rate is None and self.share is not None:
            return self.share >= SHARE
        return self.gain >= NATS


def code_use(model: Model, data: DataModule, split: str) -> CodeUse | None:
    """Measured on examples drawn from a split, the same ones at each call; None where there are not two of them.

    The code of another example is as likely under q(z) as the own one, so that nothing but the dependence on x counts.
    """
    total = len(data.split[split])
    count = min(total, EXAMPLES, max(2, VALUES // data.spec.size))
    if count < 2:
        return None
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]
    batch = next(data.batches(split, model.device, count, chosen))
    condition = model.condition_of(batch)
    z = model.encode(batch.target, condition)
    # The examples come in random order, so that the next one is any other.
    own, other = (
        model.log_likelihood(code, batch.target, condition).cpu().double().mean() for code in (z, z.roll(1, 0))
    )
    constant = torch.as_tensor(model.likelihood.constant_of(batch.target)).cpu().double().mean()
    share, error = None, float(-other - constant)
    if model.likelihood.constant:
        share = float(own - other) / error if error > 0 else 0.0
    rates = model.draw(batch).rate
    rate = None if rates is None else float(rates.cpu().double().mean())
    return CodeUse(float(own - other), share, rate)


def code_notes(model: Model, data: DataModule, split: str) -> list[str]:
    """One line where a model hardly uses its code, with what to try; nothing where it does."""
    use = code_use(model, data, split)
    if use is None or use.used or not isfinite(use.gain):
        return []
    gained = f"an example's own code makes it {use.gain:.2g} nats likelier than another's"
    if use.gain <= 0:
        gained = "an example's own code makes it no likelier than another's"
    if use.rate is not None and not model.deterministic:  # else the rate is that of every code
        gained = f"KL {use.rate:.2g} nats an example, and {gained} (posterior collapse)"
    elif use.share is not None:
        gained = f"the error of an example from its own code is {100 * use.share:.2g} % below that from another's"
        if use.share <= 0:
            gained = "the error of an example from its own code is no lower than that from another's"
    *first, last = remedies(model)
    return [f"the latent code is hardly used: {gained}; try {', '.join(first)} or {last}"]


def remedies(model: Model) -> list[str]:
    """What to type, the likeliest to help first."""
    found = model.remedies()
    if model.has_rate and model.likelihood.fixed_scale is not None:
        found.append("likelihood=gaussian_learned")  # too wide a scale leaves no nats to gain
    if model.autoregressive:  # such a decoder may do without
        found.append("decoder.word_dropout=0.3")
    return [*found, "a lower optimizer.lr", "more epochs"]
