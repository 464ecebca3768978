"""The interface of a prior."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.latents.spec import LatentGroup


class Prior(nn.Module, ABC):
    """p(z), or p(z|c), of one latent variable, trained with the model.

    It is constructed from its settings alone. `bind` then passes the latent variable and the data, once; a prior with
    weights creates them there.

    Attributes:
        start_examples: number of train examples that `start` needs.
        discrete: whether it is a distribution of indices, for a discrete code.
        conditional: whether it is p(z|c), and needs a conditional model.
        standard: whether it is N(0, I).
        grids: whether z may be a grid.
        of_posteriors: whether it is a mixture of posteriors, which then must be normal.
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
        """Set the latent variable and the data.

        Args:
            group: the latent variable.
            spec: the data.
            encode: `(N, *shape)` examples to q(z|x), by the model's own encoder. A prior that needs it keeps this
                function, not the module: the encoder is saved once, with the model.
            condition_size: E, dimension of the embedded condition; 0 for an unconditional model.

        Raises:
            ConfigError: it does not support the variable or the data.
        """

    def start(self, examples: Tensor) -> None:
        """Initialise from `start_examples` train examples, `(N, *shape)`, before the first step of a new run."""

    @abstractmethod
    def distribution(self, condition: Tensor | None = None) -> Any:
        """The current p, computed once for a forward pass: a record with two methods.

        `log_prob(z)`: `(B, S, *shape)`, or indices `(B, S, *indices)` of a discrete code, to `(B, S)` nats.
        `kl(q)`: D_KL(q || p) of each dimension, `(B, N)` nats; None if there is no closed form.

        Args:
            condition: `(B, E)`, embedded; None for an unconditional model.
        """

    @abstractmethod
    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """`(count, *shape)` draws of z, or indices of a discrete code.

        The same seed gives the same directions at every temperature, which multiplies the distance of a draw from the
        mean (of its component, for a mixture).

        Args:
            count: number of draws.
            shape: of z, or of the indices.
            seed: of the draws, which are made on the CPU so that they are the same for every device.
            temperature: 1 draws from p itself.
            condition: `(count, E)`, embedded.
        """


def standard_normal_numbers(count: int, shape: Sequence[int], seed: int) -> Tensor:
    """`(count, *shape)` standard normal noise, drawn on the CPU so that it is the same for every device."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
