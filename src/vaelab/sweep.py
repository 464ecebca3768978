"""Run the jobs of a sweep. A failed job does not end the sweep; an interruption does."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vaelab.atomic_write import write_file
from vaelab.command_line.as_if_running import as_if_running
from vaelab.command_line.explain import COMPOSITION_ERRORS, explain
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import with_decoder
from vaelab.command_line.tags import refuse_untagged
from vaelab.config.command_line import parts
from vaelab.config.continuation import compose_again
from vaelab.config.location import find_trusted
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.config.usual import Usual, with_usual
from vaelab.errors import ConfigError, InterruptionError, UserError
from vaelab.job_folder import OUTPUT_DIR
from vaelab.launch.jobs import Launching, settled
from vaelab.launch.outcome import Outcome
from vaelab.launch.words import DEFAULT, GROUP, refuse_launcher
from vaelab.quoting import quoted, typed_path
from vaelab.record.state import one_line
from vaelab.record.sweep import FILE, Job, Status, Sweep
from vaelab.run_folder import discard, in_one_process
from vaelab.secrets import redact
from vaelab.signals import ending_at_once, exit_code, say

if TYPE_CHECKING:
    from vaelab.launch.settings import Launcher

MANY = 20  # jobs above which checking all configs takes more than a few seconds
_OF_SWEEPS = ("hydra.mode", "hydra.run.", "hydra.sweep", "hydra/sweeper", "hydra.launcher", "hydra/launcher")
_collecting = False  # whether `outcome` is running the function of a job


Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Outcome]]


def outcome(job: TaskFunction, config: DictConfig) -> Outcome:
    """Run a job and return its outcome; only Ctrl-C and similar signals raise."""
    global _collecting
    _collecting = True
    try:
        return Outcome(Status.DONE, value=job(config))
    except InterruptionError as error:
        return Outcome(Status.INTERRUPTED, exit_code=error.exit_code)
    except UserError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        return Outcome(Status.FAILED, str(error))
    except SystemExit as error:
        return Outcome(Status.FAILED, f"ended with exit code {error.code}")
    except Exception as error:  # of any kind: the other jobs can still run
        traceback.print_exc()
        return Outcome(Status.FAILED, f"{type(error).__name__}: {error}")
    finally:
        _collecting = False


def errors_are_collected() -> bool:
    """Whether the sweep reports an error in this job, instead of ending the process."""
    return _collecting


class SweepRunner:
    """Composes, checks and launches the unfinished jobs of a sweep.

    Args:
        sweep: the sweep; a new folder is claimed here, an existing one is already locked by this process.
        master: the composed config of the sweep as a whole; only `hydra` and `launcher` are used.
        loader: Hydra's config loader, which composes the config of a job.
        launch: runs jobs in this process, each a list of overrides, numbered from the given number; returns their
            outcomes.
        at_once: the largest number of jobs to launch together.
    """

    def __init__(self, sweep: Sweep, master: DictConfig, loader: ConfigLoader, launch: Launch, at_once: int) -> None:
        self.sweep = sweep
        self._master = master
        self._loader = loader
        self._launch = launch
        self._at_once = at_once
        self._is_of_hydra = master.hydra.runtime.choices.get("hydra/launcher") not in (None, "basic")
        self._folders = [Path(s.path) for s in master.hydra.runtime.config_sources if s.schema == "file"]
        self._arguments: dict[int, list[str]] = {}
        self._alone: dict[int, list[str]] = {}  # arguments for jobs that run as a process of their own
        self._devices: dict[int, tuple[int, int]] = {}
        self._tasks: dict[str, None] = {}
        self._said: list[Usual] = []

    def run(self) -> list[float | None]:
        """Run the jobs and record them; return the metrics that their tasks watch.

        Raises:
            UserError: no job can be composed, or the launcher or the folder of the sweep cannot be used.
        """
        sweep = self.sweep
        for job in sweep.jobs:
            if any(word.lstrip("+").partition("=")[0] == OUTPUT_DIR for word in [*job.overrides, *sweep.typed]):
                raise ConfigError(
                    f"{OUTPUT_DIR}: sets the folder of a single run, but each job of a sweep has its own; "
                    "hydra.sweep.dir=<folder> sets the folder of the sweep"
                )
        queued = settled(sweep) if sweep.resumed else []
        missing = [job for job in sweep.missing() if job not in queued]
        launcher = self._launcher() if missing else None
        refused = self._check(missing)
        if missing and len(refused) == len(missing) and not queued:
            raise _refusal(list(refused.values()))
        self._claim_folder()
        with nullcontext() if sweep.resumed else in_one_process(sweep.folder, "sweep"):
            for job in missing:
                if job.number in refused:
                    self._note(job, Outcome(Status.FAILED, str(refused[job.number])))
            ready = [job for job in missing if job.number not in refused]
            launching = Launching(sweep, ready, self._alone, self._devices, self._note)
            if launcher is not None and launcher.kind == "slurm" and launcher.dry_run:
                launching.show(launcher)
                return []
            sweep.write()
            if launcher is None or launcher.kind == "slurm":
                launching.run_slurm(launcher, queued)
                return []
            values: list[float | None] = []
            if launcher.kind == "joblib":
                launching.run_processes(launcher)
            else:
                values = self._run_all(ready, launching)
            if queued and sweep.stopped is None:
                launching.run_slurm(None, queued)
            return values

    def _launcher(self) -> "Launcher":
        """Return the launcher that the command line or the user's own settings choose."""
        with ending_at_once():
            from vaelab.launch.settings import read_launcher
        hydra, before = self._master.hydra, HydraConfig.instance().cfg
        plain = self._master.copy()
        try:
            HydraConfig.instance().set_config(self._master)
            with read_write(plain), open_dict(plain):
                del plain["hydra"]
                with local_settings(plain):
                    launcher = read_launcher(_plain(plain.get(GROUP)))
        finally:
            HydraConfig.instance().cfg = before
        if launcher.kind != DEFAULT and self._is_of_hydra:
            chosen, other = (hydra.runtime.choices.get(group) for group in (GROUP, "hydra/launcher"))
            raise ConfigError(
                f"launcher={chosen} and hydra/launcher={other}: a sweep has one launcher; leave one of them out"
            )
        return launcher

    def _check(self, jobs: list[Job]) -> dict[int, UserError]:
        """Check the configs of jobs before any job runs; return the errors by number."""
        if not jobs:
            return {}
        with ending_at_once():
            from vaelab.check import check
            from vaelab.run import devices_of, refuse_several_devices

        if len(jobs) > MANY:
            print(f"checking the configs of {len(jobs)} jobs", flush=True)
        refused: dict[int, UserError] = {}
        before = HydraConfig.instance().cfg
        for job in jobs:
            arguments = job.overrides
            try:
                if not self.sweep.resumed:
                    refuse_launcher(job.overrides, "a sweep has one launcher for all jobs; choose it beside -m")
                self._arguments[job.number] = arguments = self._typed(job)
                config = self._composed(arguments)
                self._tasks[str(config.hydra.runtime.choices.get("task"))] = None
                plain = self._as_if_running(job, config)
                find_trusted(plain)
                with local_settings(plain):
                    if not self.sweep.resumed:
                        refuse_untagged(plain, config.hydra.runtime.choices.get("debug"))
                    cfg, _ = check(plain)
                if self._is_of_hydra:
                    refuse_several_devices(cfg)
                self._devices[job.number] = devices_of(cfg)
            except UserError as error:
                refused[job.number] = error
            except COMPOSITION_ERRORS as error:
                refused[job.number] = ConfigError(explain(error, arguments))
            finally:
                HydraConfig.instance().cfg = before
        return refused

    def _composed(self, arguments: list[str]) -> DictConfig:
        """Compose the config of a job; add a decoder to its arguments if an encoder of the user's own has none."""
        return with_decoder(lambda words: self._loader.load_sweep_config(self._master, words), arguments, self._folders)

    def _typed(self, job: Job) -> list[str]:
        """Return the overrides of a job; from a recorded sweep, only those that a file may set."""
        sweep, of_hydra = self.sweep, self._of_hydra()
        if not sweep.resumed:
            self._alone[job.number] = [*of_hydra, *job.overrides, *_once(job.overrides)]
            return with_usual(job.overrides, self._say_once)
        place = [f"hydra.sweep.subdir={quoted(job.folder)}"]
        recorded, typed = recorded_overrides(job.overrides, sweep.typed, sweep.folder / FILE, sweep.config_folders)
        if sweep.can_go_on(job):
            self._alone[job.number] = [*of_hydra, f"resume={quoted(str(sweep.path(job)))}", *typed]
            flags = [f"--config-dir={folder}" for folder in sweep.config_folders[1:]]
            continued = compose_again([*flags, f"resume={quoted(str(sweep.path(job)))}", *typed])
            assert continued is not None
            sweep.continued[job.number] = continued
            return [word for word in parts(continued.arguments)[1] if word != "hydra.mode=RUN"] + place
        self._alone[job.number] = [*of_hydra, *recorded, *typed, *_once(recorded + typed)]
        return with_usual(recorded + typed, self._say_once) + place

    def _of_hydra(self) -> list[str]:
        """Return the arguments for Hydra itself that do not concern sweeps, such as search paths of options."""
        words = [str(word) for word in self._master.hydra.overrides.hydra]
        return [word for word in words if not word.lstrip("+~").startswith(_OF_SWEEPS)]

    def _say_once(self, usual: Usual) -> None:
        if usual not in self._said:
            self._said.append(usual)
            say(str(usual))

    def _as_if_running(self, job: Job, config: DictConfig) -> DictConfig:
        """Return the config that the job will receive; record the folder of the job."""
        plain = as_if_running(config, job.number)
        if not self.sweep.resumed:
            job.folder = str(config.hydra.sweep.subdir)
            if other := next((j for j in self.sweep.jobs if j.folder == job.folder and j.number < job.number), None):
                raise ConfigError(f"hydra.sweep.subdir: jobs {other.number} and {job.number} would share {job.folder}")
        return plain

    def _claim_folder(self) -> None:
        sweep, hydra = self.sweep, self._master.hydra
        if not sweep.resumed:
            with read_write(hydra), open_dict(hydra):
                hydra.runtime.choices.task = ",".join(self._tasks)  # the name of the folder contains it
            sweep.folder = Path(str(hydra.sweep.dir))
            if (sweep.folder / FILE).exists():
                on = typed_path("resume", sweep.folder)
                raise ConfigError(f"hydra.sweep.dir={sweep.folder}: contains a sweep; {on} resumes it")
            sweep.folder.mkdir(parents=True, exist_ok=True)
            whole = redact(yaml.safe_load(OmegaConf.to_yaml(self._master)))
            write_file(sweep.folder / "multirun.yaml", yaml.safe_dump(whole, sort_keys=False))
        for arguments in self._arguments.values():
            arguments.append(f"hydra.sweep.dir={quoted(str(sweep.folder))}")

    def _run_all(self, jobs: list[Job], launching: Launching) -> list[float | None]:
        values: list[float | None] = []
        for part in successive(jobs, self._at_once):
            self.sweep.begun = True
            if self._needs_process(part[0]):
                launching.run_alone(part[0])
            else:
                for job in part:
                    launching.prepare(job)
                    print(f"\n{launching.title(job)}", flush=True)
                self.sweep.write()
                for job, found in zip(part, self._outcomes(part), strict=True):
                    self._note(job, found)
                    values.append(found.value)
                self.sweep.write()
            if self.sweep.stopped is not None:
                break
        return values

    def _needs_process(self, job: Job) -> bool:
        """Whether a job runs on several devices."""
        return not self._is_of_hydra and self._devices.get(job.number, (1, 1)) != (1, 1)

    def _outcomes(self, jobs: list[Job]) -> Sequence[Outcome]:
        arguments = [self._arguments[job.number] for job in jobs]
        try:
            return self._launch(arguments, jobs[0].number)
        except KeyboardInterrupt as stop:
            found = Outcome(Status.INTERRUPTED, exit_code=exit_code(stop))
        except UserError as error:
            found = Outcome(Status.FAILED, str(error))
        except COMPOSITION_ERRORS as error:
            found = Outcome(Status.FAILED, explain(error, arguments[0]))
        return [found] * len(jobs)

    def _note(self, job: Job, found: Outcome) -> None:
        job.status, job.error = found.status, one_line(found.error)
        discard(self.sweep.path(job))
        if found.status == Status.FAILED:
            print(f"error: job {job.number}: {job.error}", file=sys.stderr, flush=True)
        if found.exit_code:
            self.sweep.stopped = found.exit_code


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _once(words: list[str]) -> list[str]:
    """Return words that force a single run, also if an experiment among them defines a sweep."""
    return ["hydra.mode=RUN"] if any(word.startswith("experiment=") for word in words) else []


def successive(jobs: list[Job], at_once: int) -> Iterator[list[Job]]:
    """Yield groups of at most `at_once` jobs with consecutive numbers."""
    part: list[Job] = []
    for job in jobs:
        if part and (len(part) == at_once or job.number != part[-1].number + 1):
            yield part
            part = []
        part.append(job)
    if part:
        yield part


def _refusal(errors: list[UserError]) -> UserError:
    """Return one error for a sweep of which no job can run."""
    messages = list(dict.fromkeys(map(str, errors)))
    more = f"; and {len(messages) - 3} more" if len(messages) > 3 else ""
    refusal = type(errors[0]) if len({type(error) for error in errors}) == 1 else ConfigError
    return refusal("; ".join(messages[:3]) + more)
