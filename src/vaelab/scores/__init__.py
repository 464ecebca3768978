"""Anomaly scores of a trained model, and what is made of them: a ranking, a threshold, a detector."""

from vaelab.scores.conformal import Threshold, alarms_by_chance, conformal_threshold, examples_needed
from vaelab.scores.detector import Detector, has_detector, read_threshold, same_weights
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
    "alarms_by_chance",
    "conformal_threshold",
    "estimates",
    "examples_needed",
    "has_detector",
    "intervals",
    "read_threshold",
    "same_weights",
]
