"""A prior for each label."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents.fitted.fitted_prior import Codes, LabelledPrior
from vaelab.latents.fitted.gaussian import FullGaussian
from vaelab.latents.fitted.mixture import FullMixture
from vaelab.latents.spec import LatentSpec

EACH: dict[str, type[FullGaussian | FullMixture]] = {kind.name: kind for kind in (FullGaussian, FullMixture)}


class ByLabel(LabelledPrior):
    """p(z|label): the same kind of distribution, fitted to the train codes of each label alone.

    A decoder that is given the label is trained on the codes of examples of that label. N(0, I) covers more than
    these, and codes of nowhere are decoded to what looks like no label. Without a label z is drawn from the mixture of
    all, weighed by how often train has each: p(z) = sum p(label) p(z|label).

        prior = ByLabel(FullGaussian()).fit(codes)
        prior.sample(2, seed=3, label=torch.tensor([0, 7]))  # (2, size)

    Args:
        each: what is fitted to each label.

    Attributes:
        shares: `(classes,)` float64, how often each label comes in train; their sum is 1.
        parts: a fitted prior for each label; None for a label that train has no example of.
    """

    name: ClassVar[str] = "by_label"
    needs_label: ClassVar[bool] = True

    def __init__(self, each: FullGaussian | FullMixture) -> None:
        self.each = each
        self.shares = torch.zeros(0, dtype=torch.float64)
        self.parts: list[FullGaussian | FullMixture | None] = []

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`."""
        return {"each": self.each.name, **self.each.settings}

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return next((part.dimensions for part in self.parts if part is not None), 0)

    def fit(self, codes: Codes) -> Self:
        """Fit one to the train codes of each label; codes without a label are left out.

        Raises:
            ConfigError: the codes have no labels, or a label has too few.
        """
        if codes.train_label is None or not (codes.train_label >= 0).any():
            raise ConfigError("fitted_prior=by_label: no train example has a label")
        counts = codes.train_label[codes.train_label >= 0].bincount(minlength=codes.classes)
        self.shares = counts.double() / counts.sum()
        self.parts = []
        for label, count in enumerate(counts.tolist()):
            rows = codes.train[codes.train_label == label]
            if 0 < count < (fewest := rows.shape[1] + 1):
                raise ConfigError(
                    f"fitted_prior=by_label: label {label} has {count} train examples, and a covariance of "
                    f"{rows.shape[1]} numbers needs {fewest}; fitted_prior=gaussian takes all labels together"
                )
            part = deepcopy(self.each)
            self.parts.append(part.fit(replace(codes, train=rows)) if count else None)
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0, label: Tensor | None = None) -> Tensor:
        """See `LabelledPrior.sample`.

        Raises:
            ConfigError: train has no example of a label.
        """
        label = torch.full((count,), -1) if label is None else label.cpu()
        generator = torch.Generator().manual_seed(mix(seed, "label of a code"))
        label = label.where(label >= 0, torch.multinomial(self.shares, count, replacement=True, generator=generator))
        drawn = torch.empty(count, self.dimensions)
        for number in label.unique().tolist():
            places = label == number
            part = self._part(number)
            drawn[places] = part.sample(int(places.sum()), mix(seed, f"label {number}"), temperature)
        return drawn

    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """See `LabelledPrior.log_prob`.

        Raises:
            ConfigError: train has no example of a label.
        """
        label = torch.full((len(codes),), -1, device=codes.device) if label is None else label
        found = torch.empty(len(codes), device=codes.device)
        for number in label.unique().tolist():
            places = label == number
            found[places] = self._log_prob(codes[places], number)
        return found

    def _log_prob(self, codes: Tensor, label: int) -> Tensor:
        if label >= 0:
            return self._part(label).log_prob(codes)
        known = [
            (share, part) for share, part in zip(self.shares.tolist(), self.parts, strict=True) if part is not None
        ]
        each = torch.stack([part.log_prob(codes) for _, part in known], dim=1)
        return torch.logsumexp(each + torch.tensor([share for share, _ in known]).log().to(each), dim=1)

    def _part(self, label: int) -> FullGaussian | FullMixture:
        part = self.parts[label] if label < len(self.parts) else None
        if part is None:
            raise ConfigError(f"fitted_prior=by_label: train has no example of label {label}")
        return part

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        return {
            "fitted_prior": self.name,
            "each": self.each.name,
            "shares": self.shares.tolist(),
            "labels": [None if part is None else part.to_json() for part in self.parts],
        }

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        kind = EACH[about["each"]]
        parts = [None if part is None else kind.from_json(part, latent) for part in about["labels"]]
        known = [part for part in parts if part is not None]
        if not known or len({part.dimensions for part in known}) > 1:
            raise ValueError("labels do not fit each other")
        made = cls(known[0])
        made.parts, made.shares = parts, torch.tensor(about["shares"], dtype=torch.float64)
        shown = torch.tensor([part is not None for part in parts])
        if made.shares.shape != shown.shape or not torch.equal(made.shares > 0, shown):
            raise ValueError("should have a share, above 0, for each label that has a prior")
        return made
