"""Anomaly scores of a trained model, their ranking, thresholds and detectors."""

from vaelab.evaluation.scores.column_parts import column_parts
from vaelab.evaluation.scores.combined import Combined
from vaelab.evaluation.scores.conformal import Threshold, alarms_by_chance, conformal_threshold, examples_needed
from vaelab.evaluation.scores.detector import Detector, has_detector, read_threshold, same_weights
from vaelab.evaluation.scores.local import Local
from vaelab.evaluation.scores.neighbours import Neighbours
from vaelab.evaluation.scores.ranking import Interval, estimates, intervals
from vaelab.evaluation.scores.score import Score
from vaelab.evaluation.scores.scores import Elbo, Latent, NegativeLogLikelihood, Reconstruction, Relative

__all__ = [
    "Combined",
    "Detector",
    "Elbo",
    "Interval",
    "Latent",
    "Local",
    "NegativeLogLikelihood",
    "Neighbours",
    "Reconstruction",
    "Relative",
    "Score",
    "Threshold",
    "alarms_by_chance",
    "column_parts",
    "conformal_threshold",
    "estimates",
    "examples_needed",
    "has_detector",
    "intervals",
    "read_threshold",
    "same_weights",
]
