"""The Hydra sweeper of every sweep: `-m latent_dim=2,8`, or sets of overrides, such as an AE beside several VAEs.

Hydra finds plugins only in the namespace package `hydra_plugins`, and reloads each of them on every search.
"""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from vaelab.errors import ConfigError
from vaelab.launch.outcome import Outcome
from vaelab.launch.words import is_about_launcher
from vaelab.record.sweep import Sweep
from vaelab.sweep import SweepRunner, outcome


class JobList(BasicSweeper):
    """Runs every combination of one entry of each axis and the values that the command line sweeps over.

    Hydra's own sweeper combines values of single keys: `model=ae,vae model.beta=1,4` has no meaning
    for the AE. An entry here is any number of overrides. Hydra's own also ends at the first job that fails.

    Args:
        axes: name to entries, each written as on a command line: `model=vae model.beta=4`.
        params: as in Hydra's basic sweeper.
        max_batch_size: largest number of jobs passed together to a launcher that runs several at once; null: all.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[str]],
        params: dict[str, str] | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.axes = [[shlex.split(entry) for entry in entries] for entries in axes.values()]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """As in every sweeper; the launcher is given a function that returns what became of a job, and never raises."""
        super().setup(hydra_context=hydra_context, task_function=partial(outcome, task_function), config=config)

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Batches of jobs, each a list of overrides; those of the axes come last and win."""
        (typed,) = BasicSweeper.split_arguments(overrides, None)
        jobs = [sum(entries, start) for start in typed for entries in product(*self.axes)]
        return [list(chunk) for chunk in self.split_overrides_to_chunks(jobs, max_batch_size)]

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs; or, where an earlier sweep goes on, those of it that are missing."""
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        if Sweep.current is None:
            of_launcher = [word for word in arguments if is_about_launcher(word)]
            words = [*self._parse_config(), *(word for word in arguments if word not in of_launcher)]
            parser = OverridesParser.create(config_loader=loader)
            if several := [word for word in of_launcher if parser.parse_override(word).is_sweep_override()]:
                raise ConfigError(f"{several[0]}: several values; a sweep has one launcher for all jobs")
            (jobs,) = self.split_arguments(parser.parse_overrides(words), None)
            Sweep.current = Sweep.from_jobs(jobs)
            Sweep.current.launcher = of_launcher
        one_by_one = isinstance(self.launcher, BasicLauncher)
        at_once = 1 if one_by_one else self.max_batch_size or len(Sweep.current.jobs)
        return SweepRunner(Sweep.current, self.config, loader, self._launch, at_once).run()

    def _launch(self, jobs: Sequence[Sequence[str]], first: int) -> list[Outcome]:
        assert self.launcher is not None
        return [job.return_value for job in self.launcher.launch(jobs, initial_job_idx=first)]
