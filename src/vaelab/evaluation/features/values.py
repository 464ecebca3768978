"""The values of an example as its features."""

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.data.plain import plain
from vaelab.evaluation.features.extractor import Extractor
from vaelab.evaluation.features.moments import MOST, Moments


class Values(Extractor):
    """Every value minus its mean, divided by its standard deviation in train; constant values are only centred."""

    def __init__(self, data: DataModule, device: torch.device) -> None:
        super().__init__(device)
        self._spec, rows = data.spec, data.rows("train", MOST)
        self._moments = Moments.from_rows(rows.float().to(device))
        self.about = {
            "extractor": "values",
            "features": rows.shape[1],
            "resize": "none",
            "standardised_over": f"{len(rows)} train examples",
        }

    def features(self, examples: Tensor) -> Tensor:
        """See `Extractor.features`."""
        return self._moments.standardise(plain(examples, self._spec))
