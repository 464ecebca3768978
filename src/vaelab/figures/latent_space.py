"""The latent space: the decoded plane, and the share of variance of each principal component."""

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vaelab.figures.images import tile


def decoded_plane(decode: Callable[[Tensor], Tensor], codes: Tensor) -> Figure:
    """Images decoded from a grid over the plane in which most codes lie.

    Args:
        decode: `(B, 2)` to `(B, C, H, W)` in [0, 1].
        codes: `(N, 2)`, of training examples; the grid spans their 1st to 99th percentiles.
    """
    low, high = torch.quantile(codes[:100_000], torch.tensor([0.01, 0.99]), dim=0)
    side = max(decode(codes[:1]).shape[-2:])
    count = min(20, max(8, 640 // side))
    across, up = (torch.linspace(float(low[d]), float(high[d]), count) for d in (0, 1))
    rows = [decode(torch.stack([across, height.expand(count)], dim=1)) for height in up.flip(0)]
    picture = tile(torch.cat(rows), count, gap=0)
    figure = Figure(figsize=(6, 6 * picture.shape[0] / picture.shape[1] + 0.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    steps = [float((end - start) / (count - 1)) or 1.0 for start, end in zip(low, high, strict=True)]
    left, bottom = float(low[0]) - steps[0] / 2, float(low[1]) - steps[1] / 2  # the code is at the middle of its image
    extent = (left, left + count * steps[0], bottom, bottom + count * steps[1])
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="nearest")
    axes.set_xlabel("z[0]", fontsize=8)
    axes.set_ylabel("z[1]", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_title("Decoded from a grid over the latent plane", fontsize=10)
    return figure


def spectrum(codes: np.ndarray, most: int = 64) -> Figure:
    """Shares of the latents' variance along their principal components, the largest first.

    Args:
        codes: `(N, latent_dim)`.
        most: maximum number of components.
    """
    variances = np.linalg.eigvalsh(np.cov(codes.astype(np.float64), rowvar=False, ddof=0))[::-1].clip(0)
    shares = variances / max(variances.sum(), 1e-30)
    place = np.arange(1, len(shares) + 1)[:most]
    figure = Figure(figsize=(5.5, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.bar(place, shares[:most], color="tab:blue", label="each")
    axes.plot(place, shares.cumsum()[:most], color="tab:orange", marker=".", linewidth=1.2, label="cumulative")
    axes.set_xlim(0.4, len(place) + 0.6)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("principal component of the latents", fontsize=8)
    axes.set_ylabel("share of variance", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
