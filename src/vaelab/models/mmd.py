"""Models that match the distribution of codes to the prior with the maximum mean discrepancy (MMD) of a batch."""

from typing import Annotated, Any, Literal, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.core.devices import gathered
from vaelab.latents import Draw
from vaelab.models.ae import AE, AESettings
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE
from vaelab.models.vae import VAE, VAESettings

Kernel = Literal["inverse_multiquadratic", "gaussian"]
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # the kernel is a sum over these scales (Tolstikhin et al., 2018)


def squared_mmd(codes: Tensor, drawn: Tensor, kernel: Kernel) -> Tensor:
    """The unbiased estimate of the squared maximum mean discrepancy of two samples (Gretton et al., 2012, lemma 6).

    mean k(z, z') + mean k(p, p') - 2 mean k(z, p) over pairs of different codes z, pairs of different draws p, and all
    pairs of both. The kernel is a sum over scales s in .1, .2, .5, 1, 2, 5, 10, with C = 2 D s: squared distances of
    draws of N(0, I) have the mean 2 D.

    Args:
        codes: `(B, D)`.
        drawn: `(B, D)`, draws of the prior.
        kernel: C / (C + ||z - p||^2), `inverse_multiquadratic` (Tolstikhin et al., 2018), or exp(-||z - p||^2 / C),
            `gaussian` (Zhao et al., 2019).

    Returns:
        A scalar; it may be negative, because the estimate is unbiased.
    """
    count, size = codes.shape
    other = ~torch.eye(count, dtype=torch.bool, device=codes.device)
    pairs = max(1, count * (count - 1))
    within = (_kernel(codes, codes, kernel, size) + _kernel(drawn, drawn, kernel, size)) * other
    return within.sum() / pairs - 2 * _kernel(codes, drawn, kernel, size).mean()


def _kernel(one: Tensor, another: Tensor, kernel: Kernel, size: int) -> Tensor:
    distances = (one.unsqueeze(1) - another).square().sum(2)
    scales = [2 * size * scale for scale in SCALES]
    if kernel == "gaussian":
        return torch.stack([(-distances / scale).exp() for scale in scales]).sum(0)
    return torch.stack([scale / (scale + distances) for scale in scales]).sum(0)


def _mmd(batch: Batch, z: Tensor, weight: float, kernel: Kernel) -> Tensor:
    """The MMD term of a batch for `z: (B, ...)`, `(B,)`."""
    codes = gathered(z.flatten(1), batch.weight)
    drawn = gathered(batch.noise.normal("prior", (codes.shape[1],), z.device), batch.weight)
    with torch.autocast(z.device.type, enabled=False):
        found = squared_mmd(codes.float() if codes.dtype.itemsize < 4 else codes, drawn.to(codes.dtype), kernel)
    return (weight * found).expand(len(batch.x))


class InfoVAE(VAE):
    """Penalises the distance of q(z) from N(0, I) in addition to the KL (Zhao et al., 2019, equation 6).

    The loss is -E_q[log p(x|z)] + beta KL + mmd MMD^2(q(z), p(z)). The paper's alpha is 1 - beta, and its lambda is mmd
    + beta. With beta = 0 only the MMD is left, which does not limit the mutual information of x and z.

    The term is a statistic of the whole batch. In evaluation it depends on the batch size; only `val/loss` contains it.

    Args:
        mmd: weight of the squared MMD.
        kernel: see `squared_mmd`.
        **settings: see `VAE`.
    """

    batch_terms = frozenset({"mmd"})
    takes = frozenset()

    def __init__(self, mmd: Annotated[float, Gt(0)], kernel: Kernel, **settings: Unpack[VAESettings]) -> None:
        super().__init__(**settings)
        self.mmd, self.kernel = mmd, kernel

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return super().moves() | {"mmd": self.inferring()}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        term = _mmd(batch, draw.groups[-1].z[:, 0], self.mmd, self.kernel)
        return super().penalties(batch, inferred, draw, scheduled) | {"mmd": term}


class WAE(AE):
    """An autoencoder that matches the distribution of codes to N(0, I) (Tolstikhin et al., 2018, algorithm 2).

    The loss is ||x - x^||^2 + mmd MMD^2(q(z), p(z)), with deterministic codes.

        python train.py model=wae_mmd task=generation data=mnist

    Args:
        mmd: weight of the squared MMD, called lambda in the paper.
        kernel: see `squared_mmd`.
        **settings: see `AE`.
    """

    batch_terms = frozenset({"mmd"})

    def __init__(self, mmd: Annotated[float, Ge(0)], kernel: Kernel, **settings: Unpack[AESettings]) -> None:
        super().__init__(**settings)
        self.mmd, self.kernel = mmd, kernel

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return super().moves() | {"mmd": self.inferring() if self.mmd else ()}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        term = _mmd(batch, draw.groups[-1].z[:, 0], self.mmd, self.kernel)
        return super().penalties(batch, inferred, draw, scheduled) | {"mmd": term}
