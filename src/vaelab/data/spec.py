"""What one example of a data set is."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

Kind = Literal["image", "table", "series", "tokens", "roll"]
Support = Literal["binary", "unit", "real"]


@dataclass(frozen=True)
class DataSpec:
    """Everything with a size in a model is derived from this and from `latent_dim`.

    Attributes:
        name: of the data set.
        kind: what backbones and figures ask for.
        shape: of one example; `(C, H, W)` for images.
        support: of the values that a likelihood explains: `{0, 1}`, `[0, 1]` or the real line.
        levels: how many equally spaced values the support has, both ends included (256 for 8-bit
            images); None for continuous data.
        classes: names of the labels, empty where there are none.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    support: Support
    levels: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Values in one example."""
        return prod(self.shape)

    @property
    def bounded(self) -> bool:
        """Whether values lie in [0, 1]."""
        return self.support != "real"

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `model.json` and checkpoints keep it."""
        return asdict(self) | {"shape": list(self.shape), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "DataSpec":
        """The inverse of `to_json`."""
        return cls(**{**data, "shape": tuple(data["shape"]), "classes": tuple(data["classes"])})
