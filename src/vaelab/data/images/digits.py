"""Scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels in 17 grey levels, embedded."""

from typing import Unpack

import torch

from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.module import Binarize, DataModule, DataSettings


class Digits(DataModule):
    """The test set of UCI's optical recognition of handwritten digits (Alpaydin and Kaynak, 1998)."""

    def __init__(
        self, binarize: Binarize | None, normal: list[str | int] | None, **settings: Unpack[DataSettings]
    ) -> None:
        super().__init__(binarize, normal, **settings)

    def load(self) -> Examples:
        """Read the set that scikit-learn carries."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        values = torch.from_numpy(bunch.images).to(torch.uint8).unsqueeze(1)  # 0..16
        spec = DataSpec("digits", "image", (1, 8, 8), "unit", 17, tuple("0123456789"))
        return Examples(values, torch.from_numpy(bunch.target).long(), spec, {"train": range(len(values))})
