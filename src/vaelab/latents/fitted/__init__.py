"""Priors that are fitted to the codes of a trained model."""

from vaelab.latents.fitted.counts import Counts
from vaelab.latents.fitted.fitted_prior import Codes, FittedPrior
from vaelab.latents.fitted.gaussian import FullGaussian
from vaelab.latents.fitted.mixture import FullMixture

__all__ = ["Codes", "Counts", "FittedPrior", "FullGaussian", "FullMixture"]
