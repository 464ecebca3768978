"""What a model is given beside x: the label of an example."""

import torch
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError


class LabelCondition(nn.Module):
    """One learned vector for each class, and one, the null, for an example without a label.

    Args:
        spec: of the data; names the classes.
        size: E, numbers of a vector.

    Raises:
        ConfigError: the data has no classes.
    """

    def __init__(self, spec: DataSpec, size: int) -> None:
        super().__init__()
        if not spec.classes:
            raise ConfigError(f"condition=label: {spec.name} has no labels; leave condition out")
        self.classes = len(spec.classes)
        self.embedding = nn.Embedding(self.classes + 1, size)

    def forward(self, label: Tensor) -> Tensor:
        """`(B,)` int64, negative where there is none, to `(B, E)`."""
        return self.embedding(torch.where(label < 0, self.classes, label))


def appended(z: Tensor, condition: Tensor | None) -> Tensor:
    """`z: (N, C, ...)` with `condition: (N, E)` as more channels, the same in every place; `(N, C + E, ...)`."""
    if condition is None:
        return z
    places = condition.view(*condition.shape, *[1] * (z.dim() - 2)).expand(-1, -1, *z.shape[2:])
    return torch.cat([z, places.to(z.dtype)], dim=1)
