"""The keys at the root of the config, with their types and ranges."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from vaelab.data.storage import Storage
from vaelab.training.budget import Effort


@dataclass(frozen=True)
class Settings:
    """Settings of a run outside the config groups; `conf/train.yaml` has the defaults."""

    latent_dim: Annotated[int, Gt(0)]
    seed: Annotated[int, Ge(0), Lt(2**32)] | None  # the range that NumPy accepts
    effort: Effort
    train: bool
    test: bool
    storage: Storage
    compile: bool | Literal["auto", "reduce-overhead", "max-autotune"]
    ckpt_path: str | None
    resume: str | None
    trusted: list[str] = field(default_factory=list)
    tags: list[str | int | float] = field(default_factory=list)
    notes: str | None = None


@dataclass(frozen=True)
class Extras:
    """Actions before a run; `conf/train.yaml` has the defaults.

    Attributes:
        print_config: whether the config is printed.
        enforce_tags: whether a run without tags is refused; see `vaelab.command_line.tags`.
        ignore_warnings: whether warnings of Python and of libraries are hidden.
    """

    print_config: bool
    enforce_tags: bool
    ignore_warnings: bool
