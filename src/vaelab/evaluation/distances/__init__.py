"""Distances between two sets of features, real ones and generated ones."""

from vaelab.evaluation.distances.frechet import frechet_distance
from vaelab.evaluation.distances.kernel import KernelDistance, kernel_distance
from vaelab.evaluation.distances.manifold import precision_recall

__all__ = ["KernelDistance", "frechet_distance", "kernel_distance", "precision_recall"]
