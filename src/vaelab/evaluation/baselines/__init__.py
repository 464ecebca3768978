"""Classical methods on the same split, by well-kept libraries: what a sceptic would try first."""

from vaelab.evaluation.baselines.cache import BaselineCache
from vaelab.evaluation.baselines.pca import PCA, fit_pca

__all__ = ["PCA", "BaselineCache", "fit_pca"]
