"""What a prior is that is fitted to codes after training."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.latents.spec import LatentSpec


@dataclass(frozen=True)
class Codes:
    """What a prior is fitted to.

    Attributes:
        train, val: `(N, size)` flat codes, one draw of each posterior; of a discrete code `(N, T)` int64 indices.
        latent: what a code is.
        train_label, val_label: `(N,)` int64, -1 where there is none; None where the model is given no labels.
        classes: names of the labels; none without.
        device: where a network may be trained.
        seed: of the run.
        folder: for checkpoints of a network, in which an interrupted fit goes on; None keeps none.
        say: is told how far the fit is.
    """

    train: Tensor
    val: Tensor
    latent: LatentSpec
    device: torch.device
    seed: int = 0
    folder: Path | None = None
    say: Callable[[str], None] = lambda text: None
    train_label: Tensor | None = None
    val_label: Tensor | None = None
    classes: tuple[str, ...] = ()


class FittedPrior(ABC):
    """A distribution of codes that is fitted to those of the train split, drawn from, and kept beside the model.

    Attributes:
        name: of the option of the group `fitted_prior`.
        discrete: whether it is one of indices, for a discrete code; else one of flat codes.
        keeps_weights: whether it has `weights` beside its plain data.
    """

    name: ClassVar[str]
    discrete: ClassVar[bool] = False
    keeps_weights: ClassVar[bool] = False

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What its YAML says, as plain data: a saved prior with the same settings is taken in place of a new fit."""

    def refuse_misfit(self, latent: LatentSpec) -> None:
        """Refuse a code that it is no distribution of.

        Raises:
            ConfigError: says which priors fit.
        """
        if self.discrete != latent.discrete:
            fit = "counts or autoregressive" if latent.discrete else "gaussian, mixture or flow"
            kind = "discrete" if latent.discrete else "made of real numbers"
            raise ConfigError(f"fitted_prior={self.name}: the code is {kind}; use fitted_prior={fit}")

    @abstractmethod
    def fit(self, codes: Codes) -> Self:
        """Fit to the train codes and return itself."""

    @abstractmethod
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """`(count, size)` flat codes, float32, or `(count, T)` indices, on the CPU.

        The same seed gives the same directions at every temperature, which multiplies the distance of a draw from its
        mean (of its own component, for a mixture), or sharpens the choice of an index.
        """

    @abstractmethod
    def log_prob(self, codes: Tensor) -> Tensor:
        """`(N, size)` flat codes, or `(N, T)` indices, to nats, `(N,)`, on their device."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Numbers, or indices, of a code that it was fitted to."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that was fitted but for `weights`, as plain data; `fitted_prior` is its name."""

    def weights(self) -> dict[str, Tensor]:
        """Weights of a network, by name; none for the others."""
        return {}

    @classmethod
    @abstractmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """The inverse of `to_json`; a network is built without its weights.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` gives.
        """

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of a network.

        Raises:
            RuntimeError: they are not its own.
        """
        if weights:
            raise RuntimeError(f"{self.name} has no weights")


class LabelledPrior(FittedPrior):
    """A fitted prior of a model that is given labels: p(z|label), or p(z) where no label is given.

    `Codes.train_label` is None where the model is given none. It is then p(z), or refuses (`needs_label`).

    Attributes:
        needs_label: whether it is nothing without labels, so that a model without a condition is refused.
    """

    needs_label: ClassVar[bool] = False

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many labels it was fitted to; 0 for p(z) alone."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of its numbers should know, as plain data."""
        return {}

    @abstractmethod
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0, label: Tensor | None = None) -> Tensor:
        """See `FittedPrior.sample`; `label: (count,)` int64, negative where there is none.

        Raises:
            ValueError: `label` has another shape, or a label that there is not.
        """

    @abstractmethod
    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """See `FittedPrior.log_prob`; `label: (N,)` int64, negative where there is none.

        Raises:
            ValueError: `label` has another shape, or a label that there is not.
        """


def checked_label(label: Tensor | None, count: int, classes: int) -> Tensor:
    """Labels of `count` draws or codes, on the CPU; -1 for each where there are none.

    Raises:
        ValueError: they are not so many, or one is not below `classes`.
    """
    if label is None:
        return torch.full((count,), -1)
    if label.shape != (count,):
        raise ValueError(f"label has the shape {list(label.shape)}: should be [{count}], one for each")
    if count and int(label.max()) >= classes:
        raise ValueError(f"label has {int(label.max())}: should be below {classes}")
    return label.cpu()


def drawn_for(prior: FittedPrior, count: int, seed: int, temperature: float, label: Tensor | None) -> Tensor:
    """Draws of a prior, for the labels `(count,)` if it takes them; see `FittedPrior.sample`."""
    if isinstance(prior, LabelledPrior):
        return prior.sample(count, seed, temperature, label)
    return prior.sample(count, seed, temperature)


def log_prob_given(prior: FittedPrior, codes: Tensor, label: Tensor | None) -> Tensor:
    """Nats of codes, given the labels `(N,)` if the prior takes them; see `FittedPrior.log_prob`."""
    return prior.log_prob(codes, label) if isinstance(prior, LabelledPrior) else prior.log_prob(codes)
