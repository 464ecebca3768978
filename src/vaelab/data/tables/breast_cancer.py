"""Scikit-learn's breast cancer table: 569 tumours, 30 measurements of cell nuclei each; embedded."""

from collections.abc import Sequence
from typing import Unpack

import pyarrow as pa

from vaelab.data.module import DataSettings
from vaelab.data.scaling import Method
from vaelab.data.tables.table import Table


class BreastCancer(Table):
    """Wisconsin diagnostic breast cancer (Street et al., 1993): 357 benign and 212 malignant."""

    def __init__(
        self,
        drop: Sequence[str],
        scaling: Method,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(
            "breast_cancer", "", label="diagnosis", label_as_column=False, drop=drop, numeric=(), categorical=(),
            keep=(), header=None, scaling=scaling, max_categories=100, encoding="utf-8", delimiter=None,
            decimal=None, thousands=None, na_values=(), dayfirst=None, name=None, normal=normal, **settings,
        )  # fmt: skip

    def tables(self) -> dict[str, pa.Table]:
        """The rows that scikit-learn carries."""
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        columns = dict(zip(bunch.feature_names.tolist(), bunch.data.T, strict=True))
        return {"train": pa.table(columns | {"diagnosis": bunch.target_names[bunch.target].astype(str)})}
