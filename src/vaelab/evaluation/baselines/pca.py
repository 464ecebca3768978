"""Principal components: the best linear code of a given size."""

import numpy as np
from sklearn import decomposition
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.module import DataModule
from vaelab.data.plain import enough, from_plain, plain
from vaelab.errors import ConfigError


class PCA:
    """Scikit-learn's PCA (Hotelling, 1933) of examples as plain rows; see `vaelab.data.plain`.

    `rows: (N, R)` are overwritten by the fit, since a copy of them may take a gigabyte.
    """

    def __init__(self, components: int, rows: Tensor, spec: DataSpec) -> None:
        if components > min(rows.shape):
            raise ConfigError(f"PCA has at most {min(rows.shape)} components here, not {components}")
        self._spec = spec
        with np.errstate(invalid="ignore"):  # equal rows have no variance to divide by
            self._fitted = decomposition.PCA(components, copy=False, random_state=0).fit(rows.numpy())

    def encode(self, examples: Tensor) -> Tensor:
        """`(N, *shape)` to scores, `(N, components)`."""
        rows = plain(examples, self._spec)
        return rows.new_tensor(self._fitted.transform(rows.numpy()))

    def decode(self, scores: Tensor) -> Tensor:
        """`(N, components)` to `(N, *shape)`; values can lie outside the data's range."""
        return from_plain(self.decode_rows(scores), self._spec)

    def decode_rows(self, scores: Tensor) -> Tensor:
        """`(N, components)` to plain rows."""
        return scores.new_tensor(self._fitted.inverse_transform(scores.numpy()))


def fit_pca(data: DataModule, components: int) -> PCA:
    """PCA of the clean train split, or `enough` of it; with fewer components if the data do not have as many."""
    rows = data.rows("train", enough(data.spec))
    return PCA(min(components, *rows.shape), rows, data.spec)
