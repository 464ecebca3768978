"""What one example of a data set is."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, FailFast
from torch import Tensor

from vaelab.config.builder import check_arguments
from vaelab.errors import ConfigError

Kind = Literal["image", "table", "series", "tokens", "roll"]
Support = Literal["binary", "unit", "real", "categories", "mixed"]
MOST_CLASSES, MOST_TOKENS, MOST_VALUES, MOST_LEVELS = 100_000, 2**20, 2**40, 2**31  # far more than any data has
PADDING, MASKED = -1, -2  # tokens that are none: after the end of a sequence, and masked by a corruption


def observed_mask(values: Tensor) -> Tensor:
    """Which values are observed: not NaN among numbers, not negative among tokens; bool of the same shape."""
    return ~values.isnan() if values.is_floating_point() else values >= 0


def observed_steps(values: Tensor) -> Tensor:
    """Which steps of sequences `(B, *F, T)` hold anything, `(B, T)` bool; a masked token is one, padding is none."""
    observed = observed_mask(values) if values.is_floating_point() else values != PADDING
    return observed.flatten(1, -2).any(1) if values.dim() > 2 else observed


def modern(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec as plain data under the names of today; version 0.1 called `has_missing` `gaps`."""
    return {"has_missing" if key == "gaps" else key: value for key, value in spec.items()}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the file.
        categories: their names, in the order of their numbers; empty for a column of numbers.
    """

    name: str
    categories: tuple[str, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


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
        has_missing: whether values may be missing: NaN among numbers, -1 (also padding) among tokens. They enter
            neither a loss nor a metric.
        end: the token that ends a sequence.
        characters: of text, how many each of the `levels` tokens stands for; empty for data that is no text.
        vocabulary: a digest of what the tokens of text are: two texts may have as many tokens, but others.
    """

    name: str
    kind: Kind
    shape: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1), MaxLen(8)]
    support: Support
    levels: Annotated[int, Ge(1), Le(MOST_LEVELS)] | None = None
    classes: Annotated[tuple[str, ...], FailFast(), MaxLen(MOST_CLASSES)] = ()
    columns: Annotated[tuple[Column, ...], FailFast()] = ()
    has_missing: bool = False
    end: Annotated[int, Ge(0)] | None = None
    characters: Annotated[tuple[Annotated[int, Ge(0)], ...], FailFast(), MaxLen(MOST_TOKENS)] = ()
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
    def from_json(cls, data: Any) -> "DataSpec":
        """The inverse of `to_json`.

        Raises:
            ConfigError: it does not describe data; names the first key that is unknown, missing or does not fit.
        """
        if not isinstance(data, dict):
            raise ConfigError(f"spec={data if data is None else type(data).__name__}: should be an object")
        if lacking := [key for key in ("name", "kind", "shape", "support") if key not in data]:
            raise ConfigError(f"spec.{lacking[0]}: needs a value")
        spec = cls(**check_arguments(cls, modern(data), "spec"))
        spec._refuse_contradictions()
        return spec

    def _refuse_contradictions(self) -> None:
        shape, dimensions = list(self.shape), {"image": 3, "table": 1}.get(self.kind)
        if dimensions is not None and len(shape) != dimensions:
            raise ConfigError(f"spec.shape={shape}: should have {dimensions} dimensions, since spec.kind={self.kind}")
        if self.size > MOST_VALUES:
            raise ConfigError(f"spec.shape={shape}: is more than {MOST_VALUES:,} values for one example")
        if self.support == "categories" and self.levels is None:
            raise ConfigError("spec.levels: needs a value, since spec.support=categories")
        if len(self.columns) != self.size and (self.columns or self.support == "mixed"):
            raise ConfigError(f"spec.columns: has {len(self.columns)} columns, spec.shape={shape} has {self.size}")
