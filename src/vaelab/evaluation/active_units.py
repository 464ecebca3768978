"""Active units of a posterior."""

from torch import Tensor

VARIANCE = 0.01  # variance of the posterior mean over examples (Burda et al., 2016, section 5.2)
RATE = 0.05  # nats per example


def active(variance: Tensor, rate: Tensor) -> Tensor:
    """Which latent dimensions carry information about examples, `(latent_dim,)` bool.

    The posterior mean of an active unit has a variance over examples above 0.01 (Burda et al., 2016, section 5.2), and
    its rate is above 0.05 nats. The variance alone is not sufficient: a mean with a variance of 0.01 costs 0.005 nats,
    so all units of a collapsed posterior could pass. The rate alone is not sufficient either: a posterior that is
    the same for all examples may be far from the prior, but carries no information.

    Args:
        variance: `(latent_dim,)`, of the posterior mean over examples.
        rate: `(latent_dim,)`, KL(q(z_d|x) || p(z_d)) in nats, mean over examples.
    """
    return (variance > VARIANCE) & (rate > RATE)
