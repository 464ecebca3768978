"""The frequency of each index at each position."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vaelab.latents.fitted.fitted_prior import Codes, FittedPrior
from vaelab.latents.spec import LatentSpec

MOST_VALUES = 2**26  # entries of a table at most: positions times levels


class Counts(FittedPrior):
    """Independent indices: at each position a table of how often each index occurs in train codes.

    Half an occurrence is added to each index (Krichevsky and Trofimov, 1981), so that unseen indices have a positive
    probability. Its nats are the code length of an arithmetic coder with these tables.

    Attributes:
        table: `(T, levels)` float64, number of occurrences of each index.
    """

    name: ClassVar[str] = "counts"
    discrete: ClassVar[bool] = True
    keeps_weights: ClassVar[bool] = True

    def __init__(self) -> None:
        self.table = torch.zeros(0, 0, dtype=torch.float64)

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return len(self.table)

    @property
    def _log_share(self) -> Tensor:
        smoothed = self.table + 0.5
        return (smoothed / smoothed.sum(1, keepdim=True)).log()

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`; there are none."""
        return {}

    def fit(self, codes: Codes) -> Self:
        """Count."""
        self.table = occurrences(codes.train, codes.latent.finest.levels or 0)
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `FittedPrior.sample`."""
        share = (self._log_share / temperature).softmax(1)
        generator = torch.Generator().manual_seed(seed)
        return torch.multinomial(share, count, replacement=True, generator=generator).T.contiguous()

    def log_prob(self, codes: Tensor) -> Tensor:
        """See `FittedPrior.log_prob`."""
        places = torch.arange(self.dimensions)
        return self._log_share[places, codes.cpu()].sum(1).float().to(codes.device)

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        return {"fitted_prior": self.name, "places": self.dimensions, "levels": self.table.shape[1]}

    def weights(self) -> dict[str, Tensor]:
        """The table."""
        return {"table": self.table}

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        places, levels = about["places"], about["levels"]
        if type(places) is not int or type(levels) is not int or not 0 < places * levels <= MOST_VALUES:
            raise ValueError("places and levels should be integers of at least 1")
        if (places, levels) != (latent.finest.tokens, latent.finest.levels):
            raise ValueError(f"is for {places} indices of {levels} levels")
        made = cls()
        made.table = torch.zeros(places, levels, dtype=torch.float64)
        return made

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `FittedPrior.load_weights`."""
        table = weights.get("table")
        if table is None or table.shape != self.table.shape or not bool((table >= 0).all()):
            raise RuntimeError("the table has another shape, or a negative count")
        self.table = table.double()


def occurrences(indices: Tensor, levels: int) -> Tensor:
    """Number of occurrences of each index at each position: `(N, T)` to `(T, levels)` float64."""
    flat = indices.flatten(1).cpu()
    numbered = flat + levels * torch.arange(flat.shape[1])
    return torch.bincount(numbered.flatten(), minlength=levels * flat.shape[1]).double().view(flat.shape[1], levels)
