"""VAEs that make latent dimensions independent, by a penalty on their total correlation."""

from math import log, pi
from typing import Annotated, Any, Literal, Unpack

import torch
from annotated_types import Ge, Gt, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.core.batch import Batch
from vaelab.core.devices import gathered
from vaelab.latents import Draw
from vaelab.models.phases import Phase
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE, Start, Terms
from vaelab.models.vae import VAE, VAESettings

Sampling = Literal["stratified", "weighted"]
CRITIC = "critic"


def log_sampling_weights(batch: int, size: int | Tensor, sampling: Sampling) -> Tensor:
    """Log weights of the examples of a batch in the estimate of q(z), at the code of each example.

    q(z) is the mean of q(z|x) over N = `size` examples, of which a batch has a few. At the code of example i, its own
    posterior has the weight 1 / N, and the others of the batch represent the other N - 1 examples.

    Args:
        batch: B.
        size: N, examples of the train split; at least B.
        sampling: `stratified` (Chen et al., 2018, appendix C.2): rows sum to one; `weighted` (section 3.1): 1 / (N B)
            for each, so that the estimate of log q(z) is below the true one by up to log(N).

    Returns:
        `(B, B)` float64: row i for the code of example i.
    """
    examples = torch.as_tensor(size).double().clamp(min=batch)
    if sampling == "weighted" or batch == 1:
        return -(examples * batch).log().expand(batch, batch) if sampling == "weighted" else torch.zeros(1, 1)
    others, own = batch - 1, torch.eye(batch, dtype=torch.bool, device=examples.device)
    following = own.roll(1, dims=1)  # one other example, whose weight makes the row sum to one
    return torch.where(
        own, 1 / examples, torch.where(following, (examples - others) / (examples * others), 1 / others)
    ).log()


def total_correlation(z: Tensor, mean: Tensor, log_variance: Tensor, log_weights: Tensor) -> Tensor:
    """log q(z) - sum_d log q(z_d) at each code, in nats: its mean is the total correlation of q(z).

    Args:
        z: `(B, D)`, a draw of each posterior.
        mean, log_variance: `(B, D)`, of normal posteriors.
        log_weights: `(B, B)`, from `log_sampling_weights`.

    Returns:
        `(B,)`.
    """
    distances = (z.unsqueeze(1) - mean).square() * (-log_variance).exp()
    each = -0.5 * (distances + log_variance + log(2 * pi))  # (B, B, D): the density of code i under posterior j
    joint = torch.logsumexp(log_weights + each.sum(2), dim=1)
    marginal = torch.logsumexp(log_weights.unsqueeze(2) + each, dim=1).sum(1)
    return joint - marginal


class BetaTCVAE(VAE):
    """Penalises the total correlation of the code more than the rest of the KL (Chen et al., 2018, equation 4).

    The KL is the mutual information of example and code, plus the total correlation D_KL(q(z) || prod_d q(z_d)), plus
    the KL of each q(z_d) from its prior (equation 2). With a weight of 1 on the first and the last, the loss is that of
    a VAE plus `tc - 1` times the total correlation, which is estimated from the batch.

    The term is a statistic of the whole batch: it needs batches of a hundred examples or more, and is not a property of
    a single example. In evaluation it depends on the batch size; only `val/loss` contains it.

    Args:
        tc: weight of the total correlation, called beta in the paper; 1 gives a VAE.
        sampling: how q(z) is estimated; see `log_sampling_weights`. With `weighted` the term is larger by a constant,
            which has no gradient.
        **settings: see `VAE`.
    """

    batch_terms = frozenset({"total_correlation"})
    takes = frozenset()
    train_size: Tensor

    def __init__(self, tc: Annotated[float, Ge(0)], sampling: Sampling, **settings: Unpack[VAESettings]) -> None:
        super().__init__(**settings)
        self.tc, self.sampling = tc, sampling
        self.register_buffer("train_size", torch.tensor(0))

    def start(self, start: Start) -> None:
        """See `Model.start`; also sets N."""
        super().start(start)
        self.train_size.fill_(start.size)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return super().moves() | {"total_correlation": self.inferring() if self.tc != 1 else ()}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        q = inferred.q
        z, mean, log_variance = (
            gathered(part.flatten(1), batch.weight) for part in (draw.groups[-1].z[:, 0], q.mean, q.log_variance)
        )
        with torch.autocast(z.device.type, enabled=False):
            weights = log_sampling_weights(len(z), self.train_size, self.sampling).to(z)
            found = total_correlation(z, mean, log_variance, weights).mean()
        term = ((self.tc - 1) * found).expand(len(batch.x))
        return super().penalties(batch, inferred, draw, scheduled) | {"total_correlation": term}


class FactorVAE(VAE):
    """Penalises the total correlation of the code, estimated by a critic (Kim and Mnih, 2018, equation 2).

    In its own phase the critic learns to distinguish codes from codes whose dimensions were each permuted over the
    batch (algorithm 1). The difference of its two outputs estimates log q(z) - log prod_d q(z_d), which is the penalty.

    Args:
        gamma: weight of the total correlation; 0 gives a VAE.
        critic: widths of the critic's hidden layers; the paper uses six of 1,000.
        **settings: see `VAE`.
    """

    extra_phases = (Phase(CRITIC, modules=(CRITIC,)),)
    takes = frozenset()

    def __init__(
        self,
        gamma: Annotated[float, Ge(0)],
        critic: Annotated[list[Annotated[int, Gt(0)]], MinLen(1)],
        **settings: Unpack[VAESettings],
    ) -> None:
        super().__init__(**settings)
        self.gamma = gamma
        self.critic = critic_network(self.latent.size, critic, 2)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return super().moves() | {
            "total_correlation": self.inferring() if self.gamma else (),
            f"{CRITIC}_loss": (CRITIC,),
        }

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        logits = self.critic(draw.groups[-1].z[:, 0].flatten(1).to(self.dtype)).float()
        term = self.gamma * (logits[:, 0] - logits[:, 1])
        return super().penalties(batch, inferred, draw, scheduled) | {"total_correlation": term}

    def phase_terms(self, phase: str, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """See `Model.phase_terms`."""
        if phase != CRITIC:
            return super().phase_terms(phase, batch, scheduled)
        with torch.no_grad():
            own = self.draw(batch, name=CRITIC).groups[-1].z[:, 0].flatten(1)
        keys = batch.noise.uniform("shuffle", (own.shape[1],), own.device)
        codes = gathered(own, batch.weight)
        shuffled = shuffled_dimensions(codes, gathered(keys, batch.weight))
        logits, false = (self.critic(part.to(self.dtype)).float() for part in (codes, shuffled))
        targets = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
        loss = 0.5 * (F.cross_entropy(logits, targets) + F.cross_entropy(false, targets + 1))
        return Terms.loss_alone(loss.expand(len(batch.x)))


def shuffled_dimensions(codes: Tensor, keys: Tensor) -> Tensor:
    """Codes `(B, D)` with each dimension permuted over the batch: draws of prod_d q(z_d).

    Args:
        codes: of a batch.
        keys: `(B, D)` numbers; the rank order of each column is the permutation of a dimension.
    """
    return codes.gather(0, keys.argsort(0))


def critic_network(size: int, widths: list[int], outputs: int) -> nn.Sequential:
    """Linear layers with leaky ReLU of slope 0.2 between them."""
    layers: list[nn.Module] = []
    for before, after in zip([size, *widths], widths, strict=False):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
