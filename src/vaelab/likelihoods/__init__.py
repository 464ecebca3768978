"""p(x given z): the map from raw decoder outputs to a distribution over an example."""

from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.likelihoods.categorical import Categorical
from vaelab.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vaelab.likelihoods.discretized_logistic import DiscretizedLogistic
from vaelab.likelihoods.likelihood import Likelihood
from vaelab.likelihoods.location_scale import Gaussian, Laplace
from vaelab.likelihoods.mixed import Mixed
from vaelab.likelihoods.squared_error import squared_error

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "Mixed",
    "squared_error",
]
