"""Anomaly scores of a trained model, and what is made of them: a ranking, a threshold, a detector."""

from vaelab.scores.conformal import Threshold, conformal_threshold, examples_needed
from vaelab.scores.detector import Detector
from vaelab.scores.elbo import Elbo
from vaelab.scores.latent import Latent
from vaelab.scores.nll import NegativeLogLikelihood
from vaelab.scores.ranking import Interval, estimates, intervals
from vaelab.scores.reconstruction import Reconstruction
from vaelab.scores.relative import Relative
from vaelab.scores.score import Score

__all__ = [
    "Detector",
    "Elbo",
    "Interval",
    "Latent",
    "NegativeLogLikelihood",
    "Reconstruction",
    "Relative",
    "Score",
    "Threshold",
    "conformal_threshold",
    "estimates",
    "examples_needed",
    "intervals",
]
