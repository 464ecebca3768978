"""Where new latents come from: the prior, or a distribution fitted to the latents of the train split."""

from vaelab.samplers.gaussian import FullGaussian
from vaelab.samplers.latents import train_latents
from vaelab.samplers.mixture import Mixture
from vaelab.samplers.paths import lerp, slerp
from vaelab.samplers.sampler import Sampler
from vaelab.samplers.saved import SAMPLERS, load_sampler
from vaelab.samplers.standard_normal import StandardNormal

__all__ = [
    "SAMPLERS",
    "FullGaussian",
    "Mixture",
    "Sampler",
    "StandardNormal",
    "lerp",
    "load_sampler",
    "slerp",
    "train_latents",
]
