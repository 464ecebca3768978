"""The condition of a model: the label of an example."""

import torch
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError


class LabelCondition(nn.Module):
    """A learned embedding for each class, and one (the null label) for examples without a label.

    Args:
        spec: the data, with the names of the classes.
        size: E, dimension of an embedding.

    Raises:
        ConfigError: the data have no classes.
    """

    def __init__(self, spec: DataSpec, size: int) -> None:
        super().__init__()
        if not spec.classes:
            raise ConfigError(f"condition=label: {spec.name} has no labels; leave condition out")
        self.classes = len(spec.classes)
        self.embedding = nn.Embedding(self.classes + 1, size)

    def forward(self, label: Tensor) -> Tensor:
        """`(B,)` int64 labels, negative for no label, to `(B, E)`."""
        return self.embedding(torch.where(label < 0, self.classes, label))


def appended(z: Tensor, condition: Tensor | None) -> Tensor:
    """Append `condition: (N, E)` to `z: (N, C, ...)` as channels, constant over positions; `(N, C + E, ...)`."""
    if condition is None:
        return z
    places = condition.view(*condition.shape, *[1] * (z.dim() - 2)).expand(-1, -1, *z.shape[2:])
    return torch.cat([z, places.to(z.dtype)], dim=1)
