"""What a prior is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.latents.spec import LatentGroup


class Prior(nn.Module, ABC):
    """p(z), or p(z|c), of one latent variable, trained with the model.

    It is built from its settings alone. `bind` tells it, once, which variable and data it is for: a prior with weights
    makes them there.

    Attributes:
        start_examples: how many train examples `start` wants to see.
        discrete: whether it is a distribution of indices, for a discrete code.
        conditional: whether it is p(z|c), and needs a model with a condition.
        standard: whether it is N(0, I).
        grids: whether z may be a grid.
        of_posteriors: whether it is made of posteriors, which then have to be normal.
    """

    start_examples: int = 0
    discrete: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    standard: ClassVar[bool] = False
    grids: ClassVar[bool] = True
    of_posteriors: ClassVar[bool] = False

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Take what the prior is for.

        Args:
            group: the latent variable.
            spec: of the data.
            encode: `(N, *shape)` examples to q(z|x), by the model's own encoder. A prior that needs it keeps this
                function and no module: the encoder is saved once, with the model.
            condition_size: E, numbers of the embedded condition; 0 for a model without one.

        Raises:
            ConfigError: it fits no such variable or data.
        """

    def start(self, examples: Tensor) -> None:
        """Begin at `start_examples` train examples, `(N, *shape)`, before the first step of a new run."""

    @abstractmethod
    def distribution(self, condition: Tensor | None = None) -> Any:
        """p as it is now, once for a forward pass: a record with two methods.

        `log_prob(z)`: `(B, S, *shape)`, or indices `(B, S, *indices)` of a discrete code, to `(B, S)` nats.
        `kl(q)`: D_KL(q || p) of each dimension, `(B, N)` nats; None where it has no closed form.

        Args:
            condition: `(B, E)`, embedded; None where the model has none.
        """

    @abstractmethod
    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """`(count, *shape)` draws of z, or indices of a discrete code.

        The same seed gives the same directions at every temperature, which multiplies the distance of a draw from its
        mean (of its own component, for a mixture).

        Args:
            count: of draws.
            shape: of z, or of the indices.
            seed: of the draws, which are made on the CPU so that every device gets the same.
            temperature: 1 draws from p itself.
            condition: `(count, E)`, embedded.
        """


def standard_normal_numbers(count: int, shape: Sequence[int], seed: int) -> Tensor:
    """`(count, *shape)` standard normal numbers on the CPU, so that every device gets the same."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
