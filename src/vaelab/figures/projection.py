"""Projections of latents to two dimensions."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from vaelab.errors import ConfigError

Method = Literal["auto", "latent", "pca", "tsne", "umap"]
FEWEST = 5  # minimum number of points for t-SNE and UMAP


@dataclass(frozen=True)
class Projection:
    """Points on a plane, or on a line if latents have one dimension.

    Attributes:
        points: `(N, 2)` or `(N, 1)` float.
        axes: name of each column.
        name: of the method, in words.
    """

    points: np.ndarray
    axes: tuple[str, ...]
    name: str


def require(method: Method) -> None:
    """Refuse a method whose library is missing, before anything is trained.

    Raises:
        ConfigError: says what to install.
    """
    if method == "umap" and find_spec("umap") is None:
        raise ConfigError("task.projection=umap: needs UMAP: pip install umap-learn; or use tsne or pca")


def project(method: Method, train: np.ndarray, shown: np.ndarray) -> Projection:
    """Project latents to two dimensions; the same latents give the same points.

    `latent` uses the two latent dimensions with the largest variance. `pca` is fitted to the training latents, and the
    axes give its shares of variance. `tsne` (van der Maaten and Hinton, 2008) and `umap` (McInnes et al., 2018) use
    only the shown latents; distances between their groups have little meaning.

    Args:
        method: `auto` is `latent` for at most two dimensions, else `pca`.
        train: `(M, latent_dim)`.
        shown: `(N, latent_dim)`.
    """
    require(method)
    size = shown.shape[1]
    if method == "auto":
        method = "latent" if size <= 2 else "pca"
    if method in ("tsne", "umap") and len(shown) < FEWEST:
        method = "pca"
    if not (train.std(0).any() and shown.std(0).any()):
        method = "latent"  # constant codes have no principal components
    if method == "latent":
        widest = np.sort(np.argsort(-train.std(0), kind="stable")[:2])
        return Projection(shown[:, widest], tuple(f"z[{d}]" for d in widest), "latents")
    if method == "pca":
        with np.errstate(invalid="ignore"):  # in case all codes are equal
            fitted = PCA(min(2, size, len(train)), svd_solver="full").fit(train)
        shares = enumerate(fitted.explained_variance_ratio_, 1)
        axes = tuple(f"principal component {number} ({share:.0%} of variance)" for number, share in shares)
        return Projection(fitted.transform(shown), axes, "PCA of latents")
    return _tsne(shown) if method == "tsne" else _umap(shown)


def _tsne(shown: np.ndarray) -> Projection:
    perplexity = min(30.0, (len(shown) - 1) / 3)
    start: Literal["pca", "random"] = "pca" if shown.shape[1] >= 2 else "random"
    points = TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(shown)
    return Projection(points, ("t-SNE 1", "t-SNE 2"), f"t-SNE of latents, perplexity {perplexity:g}")


def _umap(shown: np.ndarray) -> Projection:
    from umap import UMAP

    neighbours = min(15, len(shown) - 1)
    points = UMAP(n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(shown)
    return Projection(points, ("UMAP 1", "UMAP 2"), f"UMAP of latents, {neighbours} neighbours")
