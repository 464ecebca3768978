"""Priors that are fitted to the codes of a trained model."""

from vaelab.latents.fitted.by_label import GaussianByLabel, MixtureByLabel
from vaelab.latents.fitted.counts import Counts
from vaelab.latents.fitted.fitted_prior import (
    Codes,
    FittedPrior,
    LabelledPrior,
    checked_label,
    drawn_for,
    log_prob_given,
)
from vaelab.latents.fitted.flow import FittedFlow
from vaelab.latents.fitted.gaussian import FullGaussian
from vaelab.latents.fitted.mixture import FullMixture

__all__ = [
    "Codes",
    "Counts",
    "FittedFlow",
    "FittedPrior",
    "FullGaussian",
    "FullMixture",
    "GaussianByLabel",
    "LabelledPrior",
    "MixtureByLabel",
    "checked_label",
    "drawn_for",
    "log_prob_given",
]
