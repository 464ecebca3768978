"""The objectives: an autoencoder and a variational autoencoder."""

from vaelab.models.ae import AE
from vaelab.models.loss import LossTerms, Prediction
from vaelab.models.model import Model
from vaelab.models.vae import VAE

__all__ = ["AE", "VAE", "LossTerms", "Model", "Prediction"]
