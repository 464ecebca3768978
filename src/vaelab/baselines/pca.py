"""Principal components: the best linear code of a given size."""

from sklearn import decomposition
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.errors import ConfigError


class PCA:
    """Scikit-learn's PCA of flattened examples (Hotelling, 1933), with their shape put back."""

    def __init__(self, components: int, examples: Tensor) -> None:
        self._shape = examples.shape[1:]
        rows = examples.flatten(1).numpy()
        if components > min(rows.shape):
            raise ConfigError(f"PCA has at most {min(rows.shape)} components here, not {components}")
        self._fitted = decomposition.PCA(components, random_state=0).fit(rows)

    def encode(self, examples: Tensor) -> Tensor:
        """`(N, *shape)` to scores, `(N, components)`."""
        return examples.new_tensor(self._fitted.transform(examples.flatten(1).numpy()))

    def decode(self, scores: Tensor) -> Tensor:
        """`(N, components)` to `(N, *shape)`; values may leave the data's range."""
        return scores.new_tensor(self._fitted.inverse_transform(scores.numpy())).unflatten(1, self._shape)


def fit_pca(data: DataModule, components: int) -> PCA:
    """Fitted to the clean training split; as many components as there are, if fewer than asked for."""
    examples = data.clean("train")
    return PCA(min(components, len(examples), examples[0].numel()), examples)
