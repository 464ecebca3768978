"""Whether a model uses its latent code."""

from math import isfinite
from typing import NamedTuple

import torch

from vaelab.data.module import DataModule
from vaelab.models import Model

EXAMPLES, VALUES = 512, 2**22  # examples of a split at most, and their values in total at most
NATS = 0.5  # gain in log-likelihood from which a code counts as used
SHARE = 0.02  # share of the error that a used code removes


class CodeUse(NamedTuple):
    """The gain of examples from their own code, compared with the code of another example; means over examples.

    Attributes:
        gain: log p(x_i|z_i) - log p(x_i|z_j) in nats, with z the code or the posterior mean and j another example.
        share: the share of the error with another example's code that the own code removes, at most 1; None if the
            likelihood has no constant, because its nats then have no zero point.
        rate: KL(q(z|x) || p(z)) in nats; None for a model without a posterior.
    """

    gain: float
    share: float | None
    rate: float | None

    @property
    def used(self) -> bool:
        """Whether reconstructions depend on the code.

        For an autoencoder the scale of the squared-error likelihood is arbitrary, so its nats have no meaning, and the
        share of the error is used.
        """
        if self.rate is None and self.share is not None:
            return self.share >= SHARE
        return self.gain >= NATS


def code_use(model: Model, data: DataModule, split: str) -> CodeUse | None:
    """Measured on examples drawn from a split, always the same ones; None if there are fewer than two.

    The code of another example is as likely under q(z) as the own one, so only the dependence on x counts.
    """
    total = len(data.split[split])
    count = min(total, EXAMPLES, max(2, VALUES // data.spec.size))
    if count < 2:
        return None
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]
    batch = next(data.batches(split, model.device, count, chosen))
    condition = model.condition_of(batch)
    z = model.encode(batch.target, condition)
    # The examples are in random order, so the next one is an arbitrary other example.
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
    """A note, with settings to try, if the model hardly uses its code; otherwise empty."""
    use = code_use(model, data, split)
    if use is None or use.used or not isfinite(use.gain):
        return []
    gained = f"an example's own code makes it {use.gain:.2g} nats more likely than another's"
    if use.gain <= 0:
        gained = "an example's own code makes it no more likely than another's"
    if use.rate is not None and not model.deterministic:  # otherwise the KL is a constant
        gained = f"KL {use.rate:.2g} nats an example, and {gained} (posterior collapse)"
    elif use.share is not None:
        gained = f"the error of an example from its own code is {100 * use.share:.2g} % below that from another's"
        if use.share <= 0:
            gained = "the error of an example from its own code is no lower than that from another's"
    *first, last = remedies(model)
    return [f"the latent code is hardly used: {gained}; try {', '.join(first)} or {last}"]


def remedies(model: Model) -> list[str]:
    """Overrides to try, the most promising first."""
    found = model.remedies()
    if model.has_rate and model.likelihood.fixed_scale is not None:
        found.append("likelihood=gaussian_learned")  # if the scale is too wide, the code gains few nats
    if model.autoregressive:  # such a decoder can ignore its latent (posterior collapse)
        found.append("decoder.word_dropout=0.3")
    return [*found, "a lower optimizer.lr", "more epochs"]
