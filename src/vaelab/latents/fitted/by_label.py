"""A separate fitted prior for each label."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import torch
from annotated_types import Ge
from torch import Tensor

from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents.fitted.fitted_prior import Codes, LabelledPrior, checked_label
from vaelab.latents.fitted.gaussian import FullGaussian
from vaelab.latents.fitted.mixture import ENOUGH, FullMixture, components_for
from vaelab.latents.spec import LatentSpec
from vaelab.notes import note, some

MOST_LABELS, MOST_COMPONENTS = 1_000_000, 10_000  # upper bounds for a saved file


class ByLabel(LabelledPrior):
    """p(z|label): a mixture of normal distributions for each label, fitted to the train codes of that label.

    A conditional decoder is trained on codes of examples with the given label. N(0, I) covers a larger region; codes
    outside the trained region are decoded to examples that do not look like the label. Without a label, z is drawn from
    the mixture over labels, weighted by their frequencies in train: p(z) = sum p(label) p(z|label).

    The number of components of a label depends on its number of codes: each component needs four codes for each row of
    a covariance. A label with too few codes for one component uses the distribution that is fitted to all codes, and a
    note names it.

    Attributes:
        shares: `(classes,)` float64, frequency of each label in train; they sum to 1.
        shared: fitted to the codes of all labels.
        own: a fitted prior for each label with enough codes; None for a label that uses `shared`.
    """

    needs_label: ClassVar[bool] = True
    keeps_weights: ClassVar[bool] = True

    def __init__(self) -> None:
        self.shares = torch.zeros(0, dtype=torch.float64)
        self.shared = FullMixture(1)
        self.own: list[FullMixture | None] = []

    @property
    @abstractmethod
    def most(self) -> int:
        """Maximum number of components for a label."""

    @property
    def classes(self) -> int:
        """See `LabelledPrior.classes`."""
        return len(self.own)

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return self.shared.dimensions

    @property
    def facts(self) -> dict[str, Any]:
        """See `LabelledPrior.facts`."""
        own = [part for part in self.own if part is not None]
        return {
            "labels with a distribution of their own": f"{len(own)} of {len(self.own)}",
            "of these converged": sum(part.converged for part in own),
        }

    def fit(self, codes: Codes) -> Self:
        """Fit one mixture to the train codes of each label. Codes without a label are used only for `shared`.

        Raises:
            ConfigError: no train example has a label.
        """
        label = codes.train_label
        if label is None or not bool((label >= 0).any()):
            raise ConfigError(f"fitted_prior={self.name}: no train example has a label; leave fitted_prior out")
        counts = label[label >= 0].bincount(minlength=len(codes.classes))
        self.shares = counts.double() / counts.sum()
        self.shared = self._fitted(codes) or FullMixture(1).fit(codes)
        self.own = [self._fitted(replace(codes, train=codes.train[label == one])) for one in range(len(codes.classes))]
        few = [
            f"{name} ({count})"
            for name, count, part in zip(codes.classes, counts.tolist(), self.own, strict=True)
            if part is None
        ]
        if few:
            needed = ENOUGH * (codes.train.shape[1] + 1)
            note(
                f"fitted_prior={self.name}: labels with fewer than {needed} train examples use the distribution of "
                f"all labels: {some(few)}"
            )
        return self

    def _fitted(self, codes: Codes) -> FullMixture | None:
        """A mixture of as many components as the codes suffice for; None if they are too few for one."""
        count, size = codes.train.shape
        components = components_for(count, size, self.most)
        return FullMixture(components).fit(codes) if components else None

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0, label: Tensor | None = None) -> Tensor:
        """See `LabelledPrior.sample`."""
        label = checked_label(label, count, self.classes)
        generator = torch.Generator().manual_seed(mix(seed, "label of a code"))
        label = label.where(label >= 0, torch.multinomial(self.shares, count, replacement=True, generator=generator))
        drawn = torch.empty(count, self.dimensions)
        for number in label.unique().tolist():
            places = label == number
            part = self.own[number] or self.shared
            drawn[places] = part.sample(int(places.sum()), mix(seed, f"label {number}"), temperature)
        return drawn

    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """See `LabelledPrior.log_prob`."""
        label = checked_label(label, len(codes), self.classes)
        found = torch.empty(len(codes), device=codes.device)
        for number in label.unique().tolist():
            places = (label == number).to(codes.device)
            found[places] = self._log_prob(codes[places], number)
        return found

    def _log_prob(self, codes: Tensor, label: int) -> Tensor:
        if label >= 0:
            return (self.own[label] or self.shared).log_prob(codes)
        known = [
            (share, part or self.shared) for share, part in zip(self.shares.tolist(), self.own, strict=True) if share
        ]
        each = torch.stack([part.log_prob(codes) for _, part in known], dim=1)
        return torch.logsumexp(each + torch.tensor([share for share, _ in known]).log().to(each), dim=1)

    # Saving and loading

    @property
    def _all(self) -> dict[str, FullMixture]:
        """Each mixture, by the prefix of its weights' names."""
        own = {f"label_{number}": part for number, part in enumerate(self.own) if part is not None}
        return {"shared": self.shared, **own}

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        return {
            "fitted_prior": self.name,
            "dimensions": self.dimensions,
            "most": self.most,
            "shared": self.shared.components,
            "labels": [0 if part is None else part.components for part in self.own],
            "converged": {name: part.converged for name, part in self._all.items()},
        }

    def weights(self) -> dict[str, Tensor]:
        """Frequencies of the labels; and of each mixture its component weights, means and covariances."""
        found = {"shares": self.shares}
        for name, part in self._all.items():
            found[f"{name}.shares"] = part.shares
            found[f"{name}.means"] = torch.stack([one.mean for one in part.parts])
            found[f"{name}.covariances"] = torch.stack([one.covariance for one in part.parts])
        return found

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        counts, shared, size, most = about["labels"], about["shared"], about["dimensions"], about["most"]
        if not isinstance(counts, list) or not 0 < len(counts) <= MOST_LABELS:
            raise ValueError("labels should be the number of components of each")
        if type(most) is not int or not 0 < most <= MOST_COMPONENTS:
            raise ValueError(f"most should be a whole number from 1 to {MOST_COMPONENTS}")
        if any(type(count) is not int or not 0 <= count <= most for count in (*counts, shared)) or not shared:
            raise ValueError(f"components should be whole numbers up to {most}")
        if size != latent.size:
            raise ValueError(f"is for codes of {size} dimensions, and the model has {latent.size}")
        made = cls._of(most)
        made.shares = torch.zeros(len(counts), dtype=torch.float64)
        made.shared = _empty(shared, size)
        made.own = [_empty(count, size) if count else None for count in counts]
        for name, part in made._all.items():
            part.converged = bool(about["converged"][name])
        return made

    @classmethod
    @abstractmethod
    def _of(cls, most: int) -> Self:
        """An unfitted instance with its settings, for `from_json`."""

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `FittedPrior.load_weights`.

        Raises:
            RuntimeError: they are not valid distributions.
        """
        outline = self.weights()
        if weights.keys() != outline.keys() or any(weights[name].shape != outline[name].shape for name in outline):
            raise RuntimeError("the weights do not match these labels")
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise RuntimeError("a weight is not finite")
        for name in weights:
            if name.rpartition(".")[2] == "shares" and not _is_distribution(weights[name]):
                raise RuntimeError("shares should be nonnegative and sum to 1")
        self.shares = weights["shares"].double()
        for name, part in self._all.items():
            part.shares = weights[f"{name}.shares"].double()
            moments = zip(weights[f"{name}.means"], weights[f"{name}.covariances"], strict=True)
            part.parts = [FullGaussian.of_moments(mean, covariance) for mean, covariance in moments]


def _empty(components: int, size: int) -> FullMixture:
    made = FullMixture(components)
    made.shares = torch.zeros(components, dtype=torch.float64)
    moments = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    made.parts = [FullGaussian.of_moments(*moments) for _ in range(components)]
    return made


def _is_distribution(shares: Tensor) -> bool:
    return bool((shares >= 0).all()) and abs(float(shares.sum()) - 1) < 1e-6


class GaussianByLabel(ByLabel):
    """One normal distribution with a full covariance for each label; see `ByLabel`.

    prior = GaussianByLabel().fit(codes)
    prior.sample(2, seed=3, label=torch.tensor([0, 7]))  # (2, size)
    """

    name: ClassVar[str] = "gaussian_by_label"

    @property
    def most(self) -> int:
        """See `ByLabel.most`."""
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`; there are none."""
        return {}

    @classmethod
    def _of(cls, most: int) -> Self:
        if most > 1:
            raise ValueError("has one component for each label")
        return cls()


class MixtureByLabel(ByLabel):
    """A mixture of normal distributions for each label; see `ByLabel`.

    Args:
        components: number of components of each label at most.
    """

    name: ClassVar[str] = "mixture_by_label"

    def __init__(self, components: Annotated[int, Ge(1)]) -> None:
        super().__init__()
        self.components = components

    @property
    def most(self) -> int:
        """See `ByLabel.most`."""
        return self.components

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`."""
        return {"components": self.components}

    @classmethod
    def _of(cls, most: int) -> Self:
        return cls(most)
