"""What one example of a data set is."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Literal

from torch import Tensor

Kind = Literal["image", "table", "series", "tokens", "roll"]
Support = Literal["binary", "unit", "real", "categories", "mixed"]
PADDING, HIDDEN = -1, -2  # tokens that are none: after the end of a sequence, and withheld by a corruption


def present(values: Tensor) -> Tensor:
    """Which values are there: not NaN among numbers, not negative among tokens; bool of the same shape."""
    return ~values.isnan() if values.is_floating_point() else values >= 0


def present_steps(values: Tensor) -> Tensor:
    """Which steps of sequences `(B, *F, T)` hold anything, `(B, T)` bool; a withheld token is one, padding is none."""
    there = present(values) if values.is_floating_point() else values != PADDING
    return there.flatten(1, -2).any(1) if values.dim() > 2 else there


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the file.
        categories: their names, in the order of their numbers; empty for a column of numbers.
    """

    name: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """Everything with a size in a model is derived from this and from `latent_dim`.

    Attributes:
        name: of the data set.
        kind: what backbones and figures ask for.
        shape: of one example; `(C, H, W)` for images.
        support: of the values that a likelihood explains: `{0, 1}`, `[0, 1]`, the real line, one of
            `levels` categories, or real numbers in some columns and categories in others.
        levels: how many equally spaced values the support has, both ends included (256 for 8-bit
            images), or how many categories; None for continuous data.
        classes: names of the labels, empty where there are none.
        columns: of a table.
        gaps: whether values may be missing: NaN among numbers, -1 (also padding) among tokens. They enter
            neither a loss nor a metric.
        end: the token that ends a sequence.
        characters: of text, how many each of the `levels` tokens stands for; empty for data that is no text.
        vocabulary: a digest of what the tokens of text are: two texts may have as many tokens, but others.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    support: Support
    levels: int | None = None
    classes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    gaps: bool = False
    end: int | None = None
    characters: tuple[int, ...] = ()
    vocabulary: str = ""

    @property
    def size(self) -> int:
        """Values in one example."""
        return prod(self.shape)

    @property
    def sequential(self) -> bool:
        """Whether the last dimension is time, and examples may be shorter than `shape` says."""
        return self.kind in ("tokens", "roll", "series")

    @property
    def bounded(self) -> bool:
        """Whether values lie in [0, 1]."""
        return self.support in ("binary", "unit")

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `model.json` and checkpoints keep it."""
        columns = [{"name": column.name, "categories": list(column.categories)} for column in self.columns]
        plain = asdict(self) | {"shape": list(self.shape), "classes": list(self.classes), "columns": columns}
        text = {"characters": list(self.characters), "vocabulary": self.vocabulary}
        return {key: value for key, value in plain.items() if key not in text} | (text if self.characters else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "DataSpec":
        """The inverse of `to_json`."""
        columns = tuple(Column(column["name"], tuple(column["categories"])) for column in data["columns"])
        tuples = {key: tuple(data.get(key, ())) for key in ("shape", "classes", "characters")}
        return cls(**{**data, **tuples, "columns": columns})
