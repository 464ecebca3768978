"""Anomaly scores of a trained model, and what is made of them: a ranking, a threshold, a detector."""

from vaelab.evaluation.scores.conformal import Threshold, alarms_by_chance, conformal_threshold, examples_needed
from vaelab.evaluation.scores.detector import Detector, has_detector, read_threshold, same_weights
from vaelab.evaluation.scores.elbo import Elbo
from vaelab.evaluation.scores.latent import Latent
from vaelab.evaluation.scores.nll import NegativeLogLikelihood
from vaelab.evaluation.scores.ranking import Interval, estimates, intervals
from vaelab.evaluation.scores.reconstruction import Reconstruction
from vaelab.evaluation.scores.relative import Relative
from vaelab.evaluation.scores.score import Score

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
