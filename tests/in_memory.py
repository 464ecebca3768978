"""Small data sets for tests: any tensor, or the digits, split and ready."""

from typing import Any

import torch
from torch import Tensor

from options import stated
from vaelab.core import DataSpec
from vaelab.corruptions import Corruption, Identity
from vaelab.data.examples import Examples
from vaelab.data.images.digits import Digits
from vaelab.data.module import DataModule

SETTINGS: dict[str, Any] = {
    "batch_size": 64, "val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0, "seed": 0, "binarize": None,
}  # fmt: skip


class InMemory(DataModule):
    """Given values, with labels or without."""

    def __init__(
        self,
        values: Tensor,
        spec: DataSpec,
        label: Tensor | None = None,
        corruption: Corruption | None = None,
        **settings,
    ) -> None:
        super().__init__(corruption=corruption or Identity(), **SETTINGS | settings)
        label = torch.full((len(values),), -1) if label is None else label
        self._given = Examples(values, label, spec, {"train": range(len(values))})
        self.setup()

    def load(self) -> Examples:
        return self._given


def digits(corruption: Corruption | None = None, **settings: Any) -> Digits:
    """Scikit-learn's digits."""
    data = Digits(**stated("data/digits") | {"corruption": corruption or Identity()} | SETTINGS | settings)
    data.setup()
    return data
