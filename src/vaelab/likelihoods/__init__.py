"""p(x given z): the map from raw decoder outputs to a distribution over an example."""

from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vaelab.likelihoods.discretized_logistic import DiscretizedLogistic
from vaelab.likelihoods.likelihood import Likelihood
from vaelab.likelihoods.location_scale import Gaussian, Laplace

__all__ = ["Bernoulli", "ContinuousBernoulli", "DiscretizedLogistic", "Gaussian", "Laplace", "Likelihood"]
