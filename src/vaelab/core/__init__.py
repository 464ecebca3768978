"""Basic types that all other packages use: the description of data, batches, noise, and devices."""

from vaelab.core.batch import Batch, RawBatch
from vaelab.core.noise import ExampleNoise, Noise, StepNoise
from vaelab.core.spec import Column, DataSpec

__all__ = ["Batch", "Column", "DataSpec", "ExampleNoise", "Noise", "RawBatch", "StepNoise"]
