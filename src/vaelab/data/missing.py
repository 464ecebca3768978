"""Missing values of generated examples."""

import torch
from torch import Tensor

from vaelab.core.spec import observed_mask
from vaelab.data.module import DataModule


class MissingPatterns:
    """Patterns of missing values of train examples, drawn at random and applied to generated examples.

    A model generates every value of an example. So that generated data have missing values at the same rates and in the
    same combinations as real data, each example gets the pattern of missing values of a random train example, and a
    series also its length. The pattern is independent of the example's own values.

    Args:
        data: the data that patterns come from.
        seed: the random seed.
        split: the split of the data; later data have no train split.
    """

    about = "each generated example has the missing values of a randomly drawn train example"

    def __init__(self, data: DataModule, seed: int = 0, split: str = "train") -> None:
        self._data, self._split = data, split
        self._generator = torch.Generator().manual_seed(seed)
        self.about = self.about.replace("train", split)
        self.any = data.spec.has_missing and data.spec.support != "categories" and len(data.split[split]) > 0

    def over(self, values: Tensor) -> Tensor:
        """Set missing values of generated examples `(N, *shape)` to NaN; unchanged if data have no missing values."""
        if not self.any:
            return values
        places = torch.randint(len(self._data.split[self._split]), (len(values),), generator=self._generator)
        observed = observed_mask(self._data.clean(self._split, places)).to(values.device)
        return values.masked_fill(~observed, torch.nan)
