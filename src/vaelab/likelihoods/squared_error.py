"""The default likelihood of an autoencoder."""

from math import sqrt

from vaelab.config.targets import target
from vaelab.core.spec import DataSpec
from vaelab.likelihoods.categorical import Categorical
from vaelab.likelihoods.likelihood import Likelihood
from vaelab.likelihoods.location_scale import Gaussian
from vaelab.likelihoods.mixed import Mixed


@target
def squared_error(spec: DataSpec) -> Likelihood:
    """||x - x^||^2 plus a constant: a Gaussian with sigma 1 / sqrt(2). For categories it is the cross entropy."""
    if spec.support == "categories":
        return Categorical(spec)
    if spec.support == "mixed":
        return Mixed(spec, sigma=1 / sqrt(2), numbers="gaussian", degrees=4)
    return Gaussian(spec, sigma=1 / sqrt(2))
