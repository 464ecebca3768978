"""What everything else speaks of: what data is, a batch of it, noise, and metrics."""

from vaelab.core.batch import Batch, RawBatch
from vaelab.core.noise import ExampleNoise, Noise, StepNoise
from vaelab.core.spec import Column, DataSpec

__all__ = ["Batch", "Column", "DataSpec", "ExampleNoise", "Noise", "RawBatch", "StepNoise"]
