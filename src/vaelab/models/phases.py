"""Training phases: several updates of different weights on each batch."""

from dataclasses import dataclass

MAIN, ADVERSARY = "model", "discriminator"


@dataclass(frozen=True)
class Phase:
    """One update on a batch: of some weights, with their own optimizer.

    The first phase of a model counts its steps: schedules, logs, `max_steps` and checkpoints follow it alone.

    Attributes:
        name: of the phase; `model` for the first.
        modules: names of the modules whose weights it updates, such as `("critic",)`. The first phase updates all
            weights that no other phase names.
        start: the first step at which it is used. Its learning-rate schedule begins there.
    """

    name: str
    modules: tuple[str, ...] = ()
    start: int = 0
