"""Scikit-learn's breast cancer table: 569 tumours, 30 measurements of cell nuclei each; embedded."""

from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
from annotated_types import Ge, Gt

from vaelab.corruptions import Corruption
from vaelab.data.module import Fraction
from vaelab.data.scaling import Method
from vaelab.data.table import Table


class BreastCancer(Table):
    """Wisconsin diagnostic breast cancer (Street et al., 1993): 357 benign and 212 malignant."""

    def __init__(
        self,
        corruption: Corruption,
        batch_size: Annotated[int, Gt(0)],
        val_fraction: Fraction,
        test_fraction: Fraction,
        split_seed: Annotated[int, Ge(0)],
        seed: Annotated[int, Ge(0)],
        drop: Sequence[str] = (),
        scaling: Method = "standard",
        normal: list[str | int] | None = None,
    ) -> None:
        super().__init__(
            corruption, "breast_cancer", "", batch_size, val_fraction, test_fraction, split_seed, seed,
            label="diagnosis", drop=drop, scaling=scaling, normal=normal,
        )  # fmt: skip

    def tables(self) -> dict[str, pa.Table]:
        """The rows that scikit-learn carries."""
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        columns = dict(zip(bunch.feature_names.tolist(), bunch.data.T, strict=True))
        return {"train": pa.table(columns | {"diagnosis": bunch.target_names[bunch.target].astype(str)})}
