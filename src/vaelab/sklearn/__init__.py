"""A scikit-learn estimator: `from vaelab.sklearn import Autoencoder`."""

from vaelab.sklearn.autoencoder import Autoencoder

__all__ = ["Autoencoder"]
