"""Missing values of generated examples."""

import torch
from torch import Tensor

from vaelab.core.spec import observed_mask
from vaelab.data.module import DataModule


class MissingPatterns:
    """Where values are missing in train examples, drawn at random and laid over generated ones.

    A model gives every value of an example. So that generated data are missing what real data are missing, at the
    same rates and in the same columns together, each example takes the pattern of missing values of one train
    example, and of a series its length. The pattern is independent of the example's own values.

    Args:
        data: that patterns come from.
        seed: of the draws.
        split: of the data; later data have no train split.
    """

    about = "each generated example is missing what a train example drawn at random is missing"

    def __init__(self, data: DataModule, seed: int = 0, split: str = "train") -> None:
        self._data, self._split = data, split
        self._generator = torch.Generator().manual_seed(seed)
        self.about = self.about.replace("train", split)
        self.any = data.spec.has_missing and data.spec.support != "categories" and len(data.split[split]) > 0

    def over(self, values: Tensor) -> Tensor:
        """Generated examples, `(N, *shape)`, with NaN where they are missing; the same where data has no gaps."""
        if not self.any:
            return values
        places = torch.randint(len(self._data.split[self._split]), (len(values),), generator=self._generator)
        observed = observed_mask(self._data.clean(self._split, places)).to(values.device)
        return values.masked_fill(~observed, torch.nan)
