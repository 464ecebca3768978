"""A linear path parallel to encoder and decoder, initialised with the principal components of the data."""

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

VALUES, EXACT = 2**26, 2**24  # values at most that components are computed from, and in double precision
MOST_WEIGHTS = 20_000_000
LEAST = 1e-4  # smallest initial variance of a posterior, for a code of variance 1
SLOW = 0.1  # factor of the learning rate of the linear path, since its initialisation is good
SMALL = 0.1  # factor of the initial last layers of encoder and decoder, so that the components dominate at first


class Shortcut(nn.Module):
    """Adds a linear code and a linear reconstruction to those of the networks, which learn the residual.

    With m the mean of the train split, V its first components and L their variances, an untrained autoencoder has

        code = V^T (x - m) / c + encoder(x)        reconstruction = m + c V z + decoder(z)

    with one number c, so that distances of codes are those of principal components and the code has about unit
    variance. An untrained VAE is probabilistic PCA (Tipping and Bishop, 1999, equation 7), the optimum of a linear
    VAE (Lucas et al., 2019), with S the noise variance: decoder weights V (L - S)^1/2, posterior means
    (L - S)^1/2 L^-1 V^T (x - m) and posterior variances S / L. All of it is trained. On a few hundred examples,
    networks without it often end worse than PCA.

    It needs codes that are vectors of real numbers, and data whose values have a mean. It is not used for a discrete
    code, a grid, a hierarchy, text, an autoregressive decoder, or more than 20 million weights.

    Args:
        spec: the data.
        latent_dim: D, dimensions of a code.
        examples: number of train examples that components are computed from.
        pace: factor of the learning rate of a model with a shortcut, since its initialisation is good.
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
        # The weights are divided by SLOW. A step of Adam does not depend on the gradient's size, so it is smaller here.
        self.down = nn.Parameter(torch.zeros(latent_dim, size))
        self.up = nn.Parameter(torch.zeros(size, latent_dim))

    @classmethod
    def fits(cls, latent: LatentSpec, posterior: Posterior, likelihood: Likelihood, autoregressive: bool) -> bool:
        """Whether a model of these parts can have a shortcut."""
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
        """The encoder's output for `x: (B, *shape)`, `(B, D)` or `(B, 2 D)`, with the linear code added."""
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
        """Initialise with the principal components of `examples: (N, *shape)`.

        Args:
            examples: of the train split.
            point: whether the code is deterministic, as in an autoencoder.

        Returns:
            The residuals, `(N, *shape)` or `(N, R)` for a table, scaled up to the size expected for other examples,
            which the components explain less well than the examples they were computed from.
        """
        rows = self._rows(examples).float().cpu().numpy()
        rows = rows.astype(np.float64) if rows.size <= EXACT else rows
        observed = ~np.isnan(rows)
        seen = observed.sum(0)
        mean = np.divide(np.nansum(rows, 0), seen, out=np.zeros(rows.shape[1]), where=seen > 0)
        rows = np.where(observed, rows, mean)
        # With as many components as examples there would be no residual, which a likelihood needs for its scale.
        count = min(len(self.down), rows.shape[1], len(rows) if point else max(1, (len(rows) - 1) // 2))
        with np.errstate(invalid="ignore"):  # in case all rows are equal
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
        """`x: (B, *shape)` to `(B, R)`: flattened values, categories one-hot; NaN for missing values."""
        return features(x, self.spec.columns) if self.spec.columns else x.flatten(1)


@torch.no_grad()
def shrink_last_layer(network: nn.Module) -> None:
    """Scale down the last layer of a newly built network, so that its output is small."""
    matrices = [weight for weight in network.parameters() if weight.dim() > 1]
    if matrices:
        matrices[-1].mul_(SMALL)
