"""Classical methods on the same split, from established libraries, as baselines."""

from vaelab.evaluation.baselines.cache import BaselineCache
from vaelab.evaluation.baselines.pca import PCA, fit_pca

__all__ = ["PCA", "BaselineCache", "fit_pca"]
