"""A Hydra sweeper over sets of overrides, such as an AE beside VAEs of several betas.

Hydra finds plugins in the namespace package `hydra_plugins` alone, and loads each anew when it looks.
"""

import shlex
from collections.abc import Mapping, Sequence
from itertools import product

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override


class JobList(BasicSweeper):
    """Runs every combination of one entry of each axis and of what the command line sweeps over.

    Hydra's own sweeper combines values of single keys: `model=ae,vae model.beta=1,4` has no meaning
    for the AE. An entry here is any number of overrides.

    Args:
        axes: name to entries, each as on a command line: `model=vae model.beta=4`.
        params: as in Hydra's basic sweeper.
        max_batch_size: as in Hydra's basic sweeper.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[str]],
        params: dict[str, str] | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.axes = [[shlex.split(entry) for entry in entries] for entries in axes.values()]

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Batches of jobs, each a list of overrides; those of the axes come last and win."""
        (typed,) = BasicSweeper.split_arguments(overrides, None)
        jobs = [sum(entries, start) for start in typed for entries in product(*self.axes)]
        return [list(chunk) for chunk in self.split_overrides_to_chunks(jobs, max_batch_size)]
