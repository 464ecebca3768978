"""The interface of a prior that is fitted to codes after training."""

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
    """The data that a prior is fitted to.

    Attributes:
        train, val: `(N, size)` flat codes, one draw of each posterior; for a discrete code `(N, T)` int64 indices.
        latent: the layout of a code.
        train_label, val_label: `(N,)` int64, -1 for no label; None if the model is not conditional.
        classes: names of the labels; empty without labels.
        device: the device on which a network is trained.
        seed: of the run.
        folder: for checkpoints of a network, from which an interrupted fit is resumed; None keeps none.
        say: reports the progress of the fit.
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
    """A distribution of codes that is fitted to the train codes, can be sampled, and is saved with the model.

    Attributes:
        name: of the option in the group `fitted_prior`.
        discrete: whether it is a distribution of indices, for a discrete code, or else of flat codes.
        keeps_weights: whether it has `weights` in addition to its plain data.
    """

    name: ClassVar[str]
    discrete: ClassVar[bool] = False
    keeps_weights: ClassVar[bool] = False

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings of its config, as plain data. A saved prior with the same settings is not fitted again."""

    def refuse_misfit(self, latent: LatentSpec) -> None:
        """Refuse a code that it does not support.

        Raises:
            ConfigError: names the priors that do.
        """
        if self.discrete != latent.discrete:
            fit = "counts or autoregressive" if latent.discrete else "gaussian, mixture or flow"
            kind = "discrete" if latent.discrete else "continuous"
            raise ConfigError(f"fitted_prior={self.name}: the code is {kind}; use fitted_prior={fit}")

    @abstractmethod
    def fit(self, codes: Codes) -> Self:
        """Fit to the train codes and return itself."""

    @abstractmethod
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """`(count, size)` flat codes, float32, or `(count, T)` indices, on the CPU.

        The same seed gives the same directions at every temperature. For flat codes the temperature multiplies the
        distance of a draw from the mean (of its component, for a mixture); for indices, a lower one sharpens the
        distribution.
        """

    @abstractmethod
    def log_prob(self, codes: Tensor) -> Tensor:
        """log p of `(N, size)` flat codes, or of `(N, T)` indices, in nats, `(N,)`, on their device."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Dimensions, or indices, of the codes that it was fitted to."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All that was fitted except for `weights`, as plain data; `fitted_prior` is its name."""

    def weights(self) -> dict[str, Tensor]:
        """Weights of a network, by name; empty for other priors."""
        return {}

    @classmethod
    @abstractmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """The inverse of `to_json`; a network is built without its weights.

        Raises:
            KeyError, TypeError, ValueError: it is not valid output of `to_json`.
        """

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of a network.

        Raises:
            RuntimeError: they do not fit.
        """
        if weights:
            raise RuntimeError(f"{self.name} has no weights")


class LabelledPrior(FittedPrior):
    """A fitted prior for a conditional model: p(z|label), or p(z) if no label is given.

    `Codes.train_label` is None for an unconditional model. The prior is then p(z), or refuses it (`needs_label`).

    Attributes:
        needs_label: whether it requires labels, so that an unconditional model is refused.
    """

    needs_label: ClassVar[bool] = False

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of labels that it was fitted to; 0 for p(z) alone."""

    @property
    def facts(self) -> dict[str, Any]:
        """Facts that a reader of its numbers should know, as plain data."""
        return {}

    @abstractmethod
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0, label: Tensor | None = None) -> Tensor:
        """See `FittedPrior.sample`; `label: (count,)` int64, negative for no label.

        Raises:
            ValueError: `label` has another shape, or contains an unknown label.
        """

    @abstractmethod
    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """See `FittedPrior.log_prob`; `label: (N,)` int64, negative for no label.

        Raises:
            ValueError: `label` has another shape, or contains an unknown label.
        """


def checked_label(label: Tensor | None, count: int, classes: int) -> Tensor:
    """Labels for `count` draws or codes, on the CPU; all -1 if `label` is None.

    Raises:
        ValueError: their number is not `count`, or one is not below `classes`.
    """
    if label is None:
        return torch.full((count,), -1)
    if label.shape != (count,):
        raise ValueError(f"label has the shape {list(label.shape)}: should be [{count}], one for each")
    if count and int(label.max()) >= classes:
        raise ValueError(f"label has {int(label.max())}: should be below {classes}")
    return label.cpu()


def drawn_for(prior: FittedPrior, count: int, seed: int, temperature: float, label: Tensor | None) -> Tensor:
    """Draws of a prior, given the labels `(count,)` if the prior uses labels; see `FittedPrior.sample`."""
    if isinstance(prior, LabelledPrior):
        return prior.sample(count, seed, temperature, label)
    return prior.sample(count, seed, temperature)


def log_prob_given(prior: FittedPrior, codes: Tensor, label: Tensor | None) -> Tensor:
    """log p of codes in nats, given the labels `(N,)` if the prior uses labels; see `FittedPrior.log_prob`."""
    return prior.log_prob(codes, label) if isinstance(prior, LabelledPrior) else prior.log_prob(codes)
