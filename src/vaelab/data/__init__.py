"""Data sets as whole batches of tensors, with a `DataSpec` that says what one example is.

Data sets are named by their module (`vaelab.data.images.digits.Digits`), so that importing what a batch is
does not import what reads images.
"""

from vaelab.data.batch import Batch, RawBatch
from vaelab.data.noise import ExampleNoise, Noise, StepNoise
from vaelab.data.spec import DataSpec

__all__ = ["Batch", "DataSpec", "ExampleNoise", "Noise", "RawBatch", "StepNoise"]
