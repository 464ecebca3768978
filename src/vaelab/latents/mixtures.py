"""Priors that are mixtures of normal distributions, trained with the model."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from math import log, pi
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor, nn

from vaelab.core.noise import mix
from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.latents.gaussian import LOG_VARIANCE, DiagonalGaussian
from vaelab.latents.prior import Prior, standard_normal_numbers
from vaelab.latents.spec import LatentGroup
from vaelab.likelihoods.likelihood import soft_bound


class MixtureOfGaussians(NamedTuple):
    """K normal distributions with diagonal covariances.

    Attributes:
        log_weight: `(K,)`, logarithms of component weights that sum to 1.
        mean, log_variance: `(K, *shape)`.
    """

    log_weight: Tensor
    mean: Tensor
    log_variance: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """`z: (B, S, *shape)` to `(B, S)` nats."""
        mean, log_variance = self.mean.flatten(1), self.log_variance.flatten(1)
        squares = squared_distances(z.flatten(0, 1).flatten(1), mean, (-log_variance).exp())  # (B S, K)
        each = -0.5 * (squares + log_variance.sum(1) + mean.shape[1] * log(2 * pi))
        return torch.logsumexp(each + self.log_weight, dim=1).view(z.shape[:2])

    def kl(self, q: DiagonalGaussian) -> None:
        """None: there is no closed form."""
        return None


def squared_distances(z: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """The sum over D of precision * (z - mean)^2, for `z: (N, D)` and each of K means `(K, D)`: `(N, K)`.

    Computed by matrix products, which takes a fiftieth of the time of N K D differences. The products are much larger
    than the result, so they are in double precision; a device without it computes the differences.
    """
    if z.device.type == "mps":
        return ((z.unsqueeze(1) - mean).square() * precision).sum(2)
    exact, centre, weight = z.double(), mean.double(), precision.double()
    weighted = centre * weight
    found = exact.square() @ weight.T - 2 * exact @ weighted.T + (weighted * centre).sum(1)
    return found.to(z.dtype)


class MixturePrior(Prior):
    """p(z) is a mixture of K normal distributions, defined by a subclass."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Refuse discrete codes."""
        if group.discrete:
            raise ConfigError(
                "prior: a mixture of normal distributions does not support discrete codes; use prior=uniform"
            )

    @abstractmethod
    def distribution(self, condition: Tensor | None = None) -> MixtureOfGaussians:
        """See `Prior.distribution`."""

    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Prior.sample`; the temperature does not change the choice of the component."""
        p = self.distribution(condition)
        generator = torch.Generator().manual_seed(mix(seed, "component"))
        chosen = torch.multinomial(p.log_weight.exp().cpu(), count, replacement=True, generator=generator)
        noise = standard_normal_numbers(count, shape, seed)
        mean, deviation = p.mean.cpu()[chosen], (0.5 * p.log_variance.cpu()[chosen]).exp()
        return mean + temperature * deviation * noise


class Mixture(MixturePrior):
    """A mixture whose weights, means and variances are trained with the model.

    Args:
        components: K.
    """

    def __init__(self, components: Annotated[int, Ge(1)]) -> None:
        super().__init__(components)
        self.weight = nn.Parameter(torch.zeros(components))

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Initialise the components as draws of N(0, I), with a variance of 1."""
        super().bind(group, spec, encode, condition_size)
        self.mean = nn.Parameter(torch.randn(self.components, *group.shape))
        self.log_variance = nn.Parameter(torch.zeros(self.components, *group.shape))

    def distribution(self, condition: Tensor | None = None) -> MixtureOfGaussians:
        """See `Prior.distribution`."""
        exact = torch.promote_types(self.mean.dtype, torch.float32)  # so that the weights of p(z) sum to 1
        weight, mean, log_variance = (values.to(exact) for values in (self.weight, self.mean, self.log_variance))
        return MixtureOfGaussians(weight.log_softmax(0), mean, soft_bound(log_variance, *LOG_VARIANCE))


class WithinRange(torch.autograd.Function):
    """Clamp values to [0, 1], with a gradient of 0 only if a step would move the value further out of the range.

    The gradient of `clamp` is 0 outside the range. A value that one step moves out of the range would never return, and
    many values of images are at its ends.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Clamp."""
        ctx.save_for_backward(values)
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Stop gradients that would move a value further out; an optimizer step goes against the gradient."""
        (values,), (gradient,) = ctx.saved_tensors, gradients
        outward = ((values <= 0) & (gradient > 0)) | ((values >= 1) & (gradient < 0))
        return gradient.masked_fill(outward, 0)


class VampPrior(MixturePrior):
    """The mixture of the posteriors of K pseudo-inputs (Tomczak and Welling, 2018, equation 9).

    The pseudo-inputs are trained with the model. They are initialised with train examples, and stay in the data's range
    if the data are bounded. All components have the same weight.

    Args:
        components: K, number of pseudo-inputs.
    """

    of_posteriors = True

    def __init__(self, components: Annotated[int, Ge(1)]) -> None:
        super().__init__(components)
        self.start_examples = components
        self.bounded = False

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Create the pseudo-inputs, which `start` initialises."""
        super().bind(group, spec, encode, condition_size)
        if spec.support in ("categories", "mixed") or spec.has_missing:
            raise ConfigError(
                f"prior=vampprior: its pseudo-inputs are numeric without missing values, and {spec.name} has "
                "categories or missing values; use prior=mixture"
            )
        self.inputs = nn.Parameter(0.05 + 0.01 * torch.randn(self.components, *spec.shape))
        self.bounded = spec.bounded
        self._encode = [encode]  # in a list, so that the encoder is not registered as a submodule and saved twice

    def start(self, examples: Tensor) -> None:
        """Initialise with train examples, repeated if there are too few."""
        chosen = torch.arange(self.components) % len(examples)
        with torch.no_grad():
            self.inputs.copy_(examples[chosen])

    def distribution(self, condition: Tensor | None = None) -> MixtureOfGaussians:
        """See `Prior.distribution`."""
        inputs = WithinRange.apply(self.inputs) if self.bounded else self.inputs
        q = self._encode[0](inputs)
        if not isinstance(q, DiagonalGaussian):
            raise ConfigError("prior=vampprior: is a mixture of normal posteriors; use posterior=gaussian")
        weight = q.mean.new_full((self.components,), 1 / self.components)
        return MixtureOfGaussians(weight.log(), q.mean, q.log_variance)
