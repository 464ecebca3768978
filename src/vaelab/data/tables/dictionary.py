"""Rows that are sparse sums of a dictionary that is known: what sparse autoencoders are tried on."""

from typing import Annotated, Unpack

import pyarrow as pa
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import normalize

from vaelab.data.module import DataSettings
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError


class Dictionary(Table):
    """Each row is the sum of a few of many directions, each times an amount from 1 to 2, and noise.

    The directions are drawn evenly from the unit sphere. With more of them than dimensions no two are orthogonal, as is
    supposed of the features of a network's activations (Elhage et al., 2022). All are as likely, and nothing is read or
    kept: the rows are drawn anew in each run, and are always the same for the same settings.

        python train.py data=dictionary model=topk_ae task=disentanglement

    Args:
        examples: rows.
        features: directions.
        dimensions: values of a row.
        active: directions in each row.
        noise: standard deviation of each value's noise.

    Raises:
        ConfigError: a row would have more directions than there are.
    """

    def __init__(
        self,
        examples: Annotated[int, Gt(0)],
        features: Annotated[int, Gt(0)],
        dimensions: Annotated[int, Gt(1)],
        active: Annotated[int, Gt(0)],
        noise: Annotated[float, Ge(0)],
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(
            "dictionary", "", label=None, label_as_column=False, drop=(), numeric=(), categorical=(), keep=(),
            header=None, scaling="standard", max_categories=100, encoding="utf-8", delimiter=None, decimal=None,
            thousands=None, na_values=(), dayfirst=None, name=None, normal=None, **settings,
        )  # fmt: skip
        if active > features:
            raise ConfigError(f"data.active={active}: should be at most data.features={features}")
        self.count, self.dimensions, self.active, self.noise = examples, dimensions, active, noise
        generator = torch.Generator().manual_seed(self.split_seed)
        self._directions = normalize(torch.randn(features, dimensions, generator=generator), dim=1)

    def tables(self) -> dict[str, pa.Table]:
        """Draw the rows."""
        generator = torch.Generator().manual_seed(self.split_seed + 1)
        rows = []
        for part in torch.arange(self.count).split(4_096):
            chosen = torch.rand(len(part), len(self._directions), generator=generator).topk(self.active).indices
            amounts = 1 + torch.rand(len(part), self.active, generator=generator)
            sparse = torch.zeros(len(part), len(self._directions)).scatter(1, chosen, amounts)
            noise = torch.randn(len(part), self.dimensions, generator=generator)
            rows.append(sparse @ self._directions + self.noise * noise)
        columns = torch.cat(rows).T.numpy()
        return {"train": pa.table({f"value_{place}": column for place, column in enumerate(columns)})}

    @property
    def directions(self) -> Tensor:
        """See `DataModule.directions`; as the model sees them, whose columns are scaled."""
        rows = self._directions.double().numpy()
        encoded = self.format.encode(rows) - self.format.encode(0 * rows)
        return normalize(torch.from_numpy(encoded), dim=1)
