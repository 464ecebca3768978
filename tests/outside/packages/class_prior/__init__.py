"""A class-conditional VAE whose prior p(z|c) is learned (Sohn et al., 2015)."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Gt
from torch import Tensor, nn

from vaelab.core import DataSpec
from vaelab.latents import DiagonalGaussian, LatentGroup, Prior, standard_normal_numbers


class ClassPrior(Prior):
    """A small network of the embedded label gives mean and log-variance.

    Args:
        hidden: its width.
    """

    conditional: ClassVar[bool] = True

    def __init__(self, hidden: Annotated[int, Gt(0)]) -> None:
        super().__init__()
        self.hidden = hidden

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Make the network, which begins at N(0, I)."""
        self.shape = group.shape
        last = nn.Linear(self.hidden, 2 * group.size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(condition_size, self.hidden), nn.SiLU(), last)

    def distribution(self, condition: Tensor | None = None) -> DiagonalGaussian:
        """See `Prior.distribution`."""
        return DiagonalGaussian.bounded(self.net(condition).unflatten(1, (2 * self.shape[0], *self.shape[1:])), dim=1)

    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Prior.sample`."""
        p = self.distribution(condition)
        noise = standard_normal_numbers(count, shape, seed)
        return p.mean.cpu() + temperature * (0.5 * p.log_variance.cpu()).exp() * noise
