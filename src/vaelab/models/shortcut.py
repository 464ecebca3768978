"""A linear path beside encoder and decoder, begun at the principal components of the data."""

from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt, Le
from sklearn.decomposition import PCA
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.data.columns import features
from vaelab.data.plain import plain_size
from vaelab.latents import LatentSpec, Posterior
from vaelab.likelihoods import Likelihood

VALUES, EXACT = 2**26, 2**24  # that components are found in at most, and of those in double precision
MOST_WEIGHTS = 20_000_000
LEAST = 1e-4  # variance of a posterior, of a code of variance 1, that an untrained model begins with
SLOW = 0.1  # of the learning rate, for the linear path: it begins where it should be
SMALL = 0.1  # of the last layers of encoder and decoder, so that the components decide at first


class Shortcut(nn.Module):
    """Adds a linear code and a linear reconstruction to those of the networks, which learn what is left.

    With m the mean of the train split, V its first components and L their variances, an untrained autoencoder has

        code = V^T (x - m) / c + encoder(x)        reconstruction = m + c V z + decoder(z)

    with one number c, so that distances of codes are those of principal components and the code has about unit
    variance. An untrained VAE is probabilistic PCA (Tipping and Bishop, 1999, equation 7), the optimum of a linear
    one (Lucas et al., 2019), with S the noise variance: decoder weights V (L - S)^1/2, posterior means
    (L - S)^1/2 L^-1 V^T (x - m) and posterior variances S / L. All of it is trained. On a few hundred examples networks
    alone often end behind principal components.

    It is for vectors of real numbers, and for data whose values have a mean: not for a discrete code, a grid, a
    hierarchy, text, a decoder that predicts step by step, or more than 20 million weights. There a model goes without.

    Args:
        spec: of the data.
        latent_dim: D, numbers of a code.
        examples: of train that components are found in.
        pace: factor of the learning rate of a model that has one, since it begins near a good place.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int,
        examples: Annotated[int, Gt(0)],
        pace: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        super().__init__()
        size = plain_size(spec)
        self.spec, self.pace, self.examples = spec, pace, max(2, min(examples, VALUES // size))
        self.mean: Tensor
        self.log_variance: Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("log_variance", torch.zeros(latent_dim))
        # In units of SLOW, so that a step of Adam, whose size does not depend on the gradient, is smaller.
        self.down = nn.Parameter(torch.zeros(latent_dim, size))
        self.up = nn.Parameter(torch.zeros(size, latent_dim))

    @classmethod
    def fits(cls, latent: LatentSpec, posterior: Posterior, likelihood: Likelihood, autoregressive: bool) -> bool:
        """Whether a model of these can have one."""
        return (
            len(latent.groups) == 1
            and len(latent.finest.shape) == 1
            and posterior.begins_with_mean
            and posterior.code_shape(latent.finest.shape)[0] in (latent.size, 2 * latent.size)
            and likelihood.has_raw_around
            and not autoregressive
            and 2 * latent.size * plain_size(likelihood.spec) <= MOST_WEIGHTS
        )

    def encoded(self, x: Tensor, features: Tensor) -> Tensor:
        """What the encoder gives for `x: (B, *shape)`, `(B, D)` or `(B, 2 D)`, with the linear code added."""
        size = len(self.down)
        code = (self._rows(x).to(self.down.dtype) - self.mean).nan_to_num() @ self.down.T * SLOW
        parts = [features[:, :size] + code]
        if features.shape[1] > size:
            parts.append(features[:, size:] + self.log_variance)
        return torch.cat(parts, dim=1)

    def raw(self, z: Tensor, likelihood: Likelihood) -> Tensor:
        """Raw parameters whose mean is the linear reconstruction of `z: (N, D or more)`, `(N, *raw_shape)`."""
        mean = self.mean + z[:, : len(self.down)] @ self.up.T * SLOW
        shape = () if self.spec.columns else self.spec.shape
        return likelihood.raw_around(mean.unflatten(1, shape) if shape else mean)

    @torch.no_grad()
    def start(self, examples: Tensor, point: bool) -> Tensor:
        """Begin at the principal components of `examples: (N, *shape)`.

        Args:
            examples: of the train split.
            point: whether a code is a point, as that of an autoencoder.

        Returns:
            What they leave unexplained, `(N, *shape)` or `(N, R)` of a table, larger by what components explain of the
            examples that they are found in and not of others.
        """
        rows = self._rows(examples).float().cpu().numpy()
        rows = rows.astype(np.float64) if rows.size <= EXACT else rows
        observed = ~np.isnan(rows)
        seen = observed.sum(0)
        mean = np.divide(np.nansum(rows, 0), seen, out=np.zeros(rows.shape[1]), where=seen > 0)
        rows = np.where(observed, rows, mean)
        # A likelihood needs examples that are not wholly explained, as all are by as many components.
        count = min(len(self.down), rows.shape[1], len(rows) if point else max(1, (len(rows) - 1) // 2))
        with np.errstate(invalid="ignore"):  # rows that are all the same
            found = PCA(count, random_state=0).fit(rows)
        scale = np.sqrt(found.explained_variance_)
        used = scale > 1e-6 * max(1.0, float(scale.max(initial=0.0)))
        components, scale = found.components_[used], scale[used]
        size = len(scale)
        left = max(float(rows.var(0, ddof=1).sum() - (scale**2).sum()), 0.0) / max(1, rows.shape[1] - size)  # S
        noise = np.clip(left / scale**2, LEAST, 1.0)  # S / L
        signal = np.sqrt(np.maximum(1 - noise, LEAST))  # ((L - S) / L)^1/2
        up, down = scale * signal, signal / scale
        if point and size:
            up = np.full(size, np.sqrt(np.mean(scale**2)))
            down = 1 / up
        self.mean.copy_(torch.from_numpy(found.mean_))
        self.down[:size] = torch.from_numpy(components * down[:, None] / SLOW).to(self.down)
        self.up[:, :size] = torch.from_numpy(components.T * up / SLOW).to(self.up)
        self.log_variance[:size] = torch.from_numpy(np.log(noise)).to(self.log_variance)
        rest = (rows - found.inverse_transform(found.transform(rows))) * observed
        rest *= np.sqrt((len(rows) - 1) / max(1, len(rows) - 1 - size)) * np.sqrt(len(rows) / np.maximum(seen, 1))
        unexplained = torch.from_numpy(rest).to(self.mean)
        return unexplained if self.spec.columns else unexplained.unflatten(1, self.spec.shape)

    def _rows(self, x: Tensor) -> Tensor:
        """`x: (B, *shape)` to `(B, R)`: values in a row, a category as a 0 or 1 for each; NaN where one is missing."""
        return features(x, self.spec.columns) if self.spec.columns else x.flatten(1)


@torch.no_grad()
def shrink_last_layer(network: nn.Module) -> None:
    """Let a network that has just been built say little."""
    matrices = [weight for weight in network.parameters() if weight.dim() > 1]
    if matrices:
        matrices[-1].mul_(SMALL)
