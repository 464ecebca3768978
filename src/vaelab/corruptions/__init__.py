"""Corruptions of the model's input, for denoising (Vincent et al., 2008)."""

from vaelab.corruptions.blur import Blur
from vaelab.corruptions.chain import Chain
from vaelab.corruptions.corruption import Corruption, Identity
from vaelab.corruptions.gaussian import Gaussian
from vaelab.corruptions.mask import Mask
from vaelab.corruptions.salt_pepper import SaltPepper

__all__ = ["Blur", "Chain", "Corruption", "Gaussian", "Identity", "Mask", "SaltPepper"]
