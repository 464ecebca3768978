"""Training in phases: several updates of different weights on each batch."""

from dataclasses import dataclass

MAIN, ADVERSARY = "model", "discriminator"


@dataclass(frozen=True)
class Phase:
    """One update on a batch: of some weights, by an optimizer of their own.

    The first phase of a model is what its steps count: schedules, logs, `max_steps` and checkpoints follow it alone.

    Attributes:
        name: of the phase; `model` for the first.
        modules: names of the modules whose weights it moves, such as `("critic",)`. The first phase moves all weights
            that no other phase names.
        start: the first step that it takes part in. Its learning-rate schedule begins there.
    """

    name: str
    modules: tuple[str, ...] = ()
    start: int = 0
