"""Active units of a posterior."""

from torch import Tensor

VARIANCE = 0.01  # of the posterior mean over examples (Burda et al., 2016, section 5.2)
RATE = 0.05  # nats an example


def active(variance: Tensor, rate: Tensor) -> Tensor:
    """Which latent dimensions tell something of an example, `(latent_dim,)` bool.

    The posterior mean of an active unit varies over examples by more than 0.01 (Burda et al., 2016, section 5.2), and
    its rate is more than 0.05 nats. The variance alone is not enough: a mean that varies by 0.01 costs 0.005 nats,
    so that all units of a collapsed posterior may pass. The rate alone is not enough either: a posterior that is
    the same for all examples may be far from the prior and tells nothing.

    Args:
        variance: `(latent_dim,)`, of the posterior mean over examples.
        rate: `(latent_dim,)`, KL(q(z_d|x) || p(z_d)) in nats, mean over examples.
    """
    return (variance > VARIANCE) & (rate > RATE)
