"""A description of the examples of a data set."""

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
MOST_CLASSES, MOST_TOKENS, MOST_VALUES, MOST_LEVELS = 100_000, 2**20, 2**40, 2**31  # far above any real data set
PADDING, MASKED = -1, -2  # special tokens: after the end of a sequence, and masked by a corruption


def observed_mask(values: Tensor) -> Tensor:
    """A mask of observed values: not NaN for numbers, not negative for tokens; bool of the same shape."""
    return ~values.isnan() if values.is_floating_point() else values >= 0


def observed_steps(values: Tensor) -> Tensor:
    """A mask of observed steps of sequences `(B, *F, T)`, `(B, T)` bool; masked tokens count, padding does not."""
    observed = observed_mask(values) if values.is_floating_point() else values != PADDING
    return observed.flatten(1, -2).any(1) if values.dim() > 2 else observed


def modern(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec as plain data with current names; version 0.1 called `has_missing` `gaps`."""
    return {"has_missing" if key == "gaps" else key: value for key, value in spec.items()}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the file.
        categories: names of the categories, in the order of their indices; empty for a numeric column.
    """

    name: str
    categories: tuple[str, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class DataSpec:
    """A description of the data, from which all sizes of a model are derived, together with `latent_dim`.

    Attributes:
        name: of the data set.
        kind: kind of data, which backbones and figures depend on.
        shape: of one example; `(C, H, W)` for images.
        support: the values that a likelihood models: `{0, 1}`, `[0, 1]`, the real line, one of `levels` categories, or
            real numbers in some columns and categories in others.
        levels: number of equally spaced values in the support, both ends included (256 for 8-bit images), or number of
            categories; None for continuous data.
        classes: names of the labels, empty without labels.
        columns: of a table.
        has_missing: whether values may be missing: NaN for numbers, -1 (also padding) for tokens. They do not enter
            losses or metrics.
        end: the token that ends a sequence.
        characters: for text, the number of characters of each of the `levels` tokens; empty for other data.
        vocabulary: a digest of the tokens of text, since two vocabularies may have the same size.
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
        """Number of values of one example."""
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
        """Plain data, as saved in `model.json` and checkpoints."""
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
