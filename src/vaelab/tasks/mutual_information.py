"""What a code says of its example."""

from math import log

import torch

from vaelab.data.module import DataModule
from vaelab.models import VAE
from vaelab.models.vae import Posterior

MOST, CHUNK = 10_000, 512  # examples; those whose draws meet all posteriors at once


def mutual_information(posterior: Posterior, seed: int = 0) -> float:
    """I_q(x; z) in nats over the examples of a split (Hoffman and Johnson, 2016, section 2).

    The mean of log q(z|x) - log q(z) over one draw z of each posterior, with q(z) the mean of all of them. It is at
    most log N; where it comes near that, more examples would give more.

    Args:
        posterior: of N examples, `(N, latent_dim)` each.
        seed: of the draws.
    """
    mean, log_variance = (values.cpu().double() for values in posterior)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed), dtype=mean.dtype)
    z = mean + (0.5 * log_variance).exp() * noise
    precision = (-log_variance).exp()
    constant = (mean.square() * precision + log_variance).sum(1)
    own = -0.5 * (noise.square() + log_variance).sum(1)
    marginal = [
        torch.logsumexp(-0.5 * (part.square() @ precision.T - 2 * part @ (mean * precision).T + constant), dim=1)
        for part in z.split(CHUNK)
    ]
    return float((own - torch.cat(marginal)).mean()) + log(len(mean))


def measure_mutual_information(model: VAE, data: DataModule, split: str) -> tuple[float, int]:
    """Of the first `MOST` examples of a split, and how many they are."""
    means, log_variances, seen = [], [], 0
    for batch in data.batches(split, model.device):
        posterior = model.posterior(batch.x)
        means.append(posterior.mean)
        log_variances.append(posterior.log_variance)
        if (seen := seen + len(batch.x)) >= MOST:
            break
    posterior = Posterior(torch.cat(means)[:MOST], torch.cat(log_variances)[:MOST])
    return mutual_information(posterior), len(posterior.mean)
