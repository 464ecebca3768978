"""Many runs: the jobs of a sweep one by one. A job that fails does not end the sweep; an interruption does."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vaelab.atomic_write import write_file
from vaelab.command_line.explain import COMPOSITION_ERRORS, explain
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import decoder_instead
from vaelab.config.command_line import parts
from vaelab.config.continuation import compose_again
from vaelab.config.location import find_trusted
from vaelab.config.quoting import quoted
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.config.usual import Usual, usual_for
from vaelab.errors import ConfigError, InterruptionError, UserError
from vaelab.record.sweep import FILE, Job, Status, Sweep, in_one_process
from vaelab.run_folder import discard, put_aside
from vaelab.secrets import redact, redact_text
from vaelab.signals import ending_at_once, exit_code, say

MANY = 20  # jobs whose configs take more than a few seconds to check
LONGEST_ERROR = 600  # characters of one that is kept and shown in a table
_collecting = False  # whether the function of a job is called by `outcome`


@dataclass(frozen=True)
class Outcome:
    """What became of a job: plain data, which a launcher may send between processes.

    Attributes:
        status: done, failed or interrupted.
        error: one line on why it was not done.
        exit_code: of an interruption.
        value: what the task watches, where the job is done.
    """

    status: Status
    error: str = ""
    exit_code: int = 0
    value: float | None = None


Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Outcome]]


def outcome(job: TaskFunction, config: DictConfig) -> Outcome:
    """Run a job and say what became of it; nothing but Ctrl-C and its like is raised."""
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
    except Exception as error:  # of any kind: the other jobs may well run
        traceback.print_exc()
        return Outcome(Status.FAILED, f"{type(error).__name__}: {error}")
    finally:
        _collecting = False


def errors_are_collected() -> bool:
    """Whether an error in this job is for the sweep to tell, and not for the process to end with."""
    return _collecting


class SweepRunner:
    """Composes, checks and launches the jobs of a sweep that are missing.

    Args:
        sweep: its folder is claimed here if it is a new one, and is kept to this process already if it is not.
        master: the composed config of the sweep as a whole, of which `hydra` matters.
        loader: composes the config of a job.
        launch: runs jobs, each a list of overrides, of successive numbers from the given one; returns what became of
            each.
        at_once: how many jobs to launch together, at most.
    """

    def __init__(self, sweep: Sweep, master: DictConfig, loader: ConfigLoader, launch: Launch, at_once: int) -> None:
        self.sweep = sweep
        self._master = master
        self._loader = loader
        self._launch = launch
        self._at_once = at_once
        self._folders = [Path(s.path) for s in master.hydra.runtime.config_sources if s.schema == "file"]
        self._arguments: dict[int, list[str]] = {}
        self._tasks: dict[str, None] = {}
        self._said: list[Usual] = []

    def run(self) -> list[float | None]:
        """Run the jobs and keep the record of them; returns the numbers that the tasks of those that ran watch.

        Raises:
            UserError: not one of the jobs can be composed, or the folder of the sweep cannot be used.
        """
        missing = self.sweep.missing()
        refused = self._check(missing)
        if len(refused) == len(missing):
            raise _refusal(list(refused.values()))
        self._claim_folder()
        with nullcontext() if self.sweep.resumed else in_one_process(self.sweep.folder):
            for job in missing:
                if job.number in refused:
                    self._note(job, Outcome(Status.FAILED, str(refused[job.number])))
            self.sweep.write()
            ready = [job for job in missing if job.number not in refused]
            return self._run_all(ready)

    def _check(self, jobs: list[Job]) -> dict[int, UserError]:
        """What is wrong with the configs of jobs, by number: said before any of them runs."""
        with ending_at_once():
            from vaelab.check import check
            from vaelab.run import refuse_sweep_over_devices

        if len(jobs) > MANY:
            print(f"checking the configs of {len(jobs)} jobs", flush=True)
        refused: dict[int, UserError] = {}
        before = HydraConfig.instance().cfg
        for job in jobs:
            arguments = job.overrides
            try:
                self._arguments[job.number] = arguments = self._typed(job)
                config = self._composed(arguments)
                self._tasks[str(config.hydra.runtime.choices.get("task"))] = None
                plain = self._as_if_running(job, config)
                find_trusted(plain)
                with local_settings(plain):
                    refuse_sweep_over_devices(check(plain)[0])
            except UserError as error:
                refused[job.number] = error
            except COMPOSITION_ERRORS as error:
                refused[job.number] = ConfigError(explain(error, arguments))
            finally:
                HydraConfig.instance().cfg = before
        return refused

    def _composed(self, arguments: list[str]) -> DictConfig:
        """The config of a job; adds to its arguments a decoder that an encoder of the user's own lacks."""
        try:
            return self._loader.load_sweep_config(self._master, arguments)
        except COMPOSITION_ERRORS as error:
            decoder = decoder_instead(error, arguments, self._folders)
            if decoder is None:
                raise
            arguments.append(decoder)
            return self._loader.load_sweep_config(self._master, arguments)

    def _typed(self, job: Job) -> list[str]:
        """The overrides of a job; from the record of an earlier sweep, only what a file may decide."""
        sweep = self.sweep
        if not sweep.resumed:
            return self._with_usual(job.overrides)
        place = [f"hydra.sweep.subdir={quoted(job.folder)}"]
        recorded, typed = recorded_overrides(job.overrides, sweep.typed, sweep.folder / FILE, sweep.config_folders)
        if sweep.can_go_on(job):
            flags = [f"--config-dir={folder}" for folder in sweep.config_folders[1:]]
            continued = compose_again([*flags, f"resume={quoted(str(sweep.path(job)))}", *typed])
            assert continued is not None
            sweep.continued[job.number] = continued
            return [word for word in parts(continued.arguments)[1] if word != "hydra.mode=RUN"] + place
        return self._with_usual(recorded + typed) + place

    def _with_usual(self, words: list[str]) -> list[str]:
        """The overrides of a job behind what is usual for its data and task, which is said once."""
        usual = usual_for(words)
        if usual is None:
            return list(words)
        if usual not in self._said:
            self._said.append(usual)
            say(str(usual))
        return [*usual.words, *words]

    def _as_if_running(self, job: Job, config: DictConfig) -> DictConfig:
        """The config that the job's function will be given; notes the job's folder."""
        with read_write(config), open_dict(config):
            config.hydra.job.id = config.hydra.job.num = job.number
            config.hydra.runtime.output_dir = os.curdir  # what it is, no check asks
        HydraConfig.instance().set_config(config)
        if not self.sweep.resumed:
            job.folder = str(config.hydra.sweep.subdir)
            if other := next((j for j in self.sweep.jobs if j.folder == job.folder and j.number < job.number), None):
                raise ConfigError(f"hydra.sweep.subdir: jobs {other.number} and {job.number} would share {job.folder}")
        plain = config.copy()
        with read_write(plain), open_dict(plain):
            del plain["hydra"]
        return plain

    def _claim_folder(self) -> None:
        sweep, hydra = self.sweep, self._master.hydra
        if not sweep.resumed:
            with read_write(hydra), open_dict(hydra):
                hydra.runtime.choices.task = ",".join(self._tasks)  # the folder is named after it
            sweep.folder = Path(str(hydra.sweep.dir))
            if (sweep.folder / FILE).exists():
                raise ConfigError(
                    f"hydra.sweep.dir={sweep.folder}: holds a sweep; resume={sweep.folder} goes on with it"
                )
            sweep.folder.mkdir(parents=True, exist_ok=True)
            whole = redact(yaml.safe_load(OmegaConf.to_yaml(self._master)))
            write_file(sweep.folder / "multirun.yaml", yaml.safe_dump(whole, sort_keys=False))
        for arguments in self._arguments.values():
            arguments.append(f"hydra.sweep.dir={quoted(str(sweep.folder))}")

    def _run_all(self, jobs: list[Job]) -> list[float | None]:
        values: list[float | None] = []
        for part in successive(jobs, self._at_once):
            self.sweep.begun = True
            for job in part:
                self._prepare(job)
                shown = " ".join(self.sweep.varying(job))
                print(f"\njob {job.number} ({jobs.index(job) + 1} of {len(jobs)}): {redact_text(shown)}", flush=True)
            self.sweep.write()
            for job, found in zip(part, self._outcomes(part), strict=True):
                self._note(job, found)
                values.append(found.value)
            self.sweep.write()
            if self.sweep.stopped is not None:
                break
        return values

    def _prepare(self, job: Job) -> None:
        """Put aside what a job left that has no checkpoint to go on from: it begins anew in a folder of its own."""
        if self.sweep.resumed:
            put_aside(self.sweep.path(job))
        job.status, job.error = Status.RUNNING, ""

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
        job.status, job.error = found.status, redact_text(" ".join(found.error.split()))[:LONGEST_ERROR]
        discard(self.sweep.path(job))
        if found.status == Status.FAILED:
            print(f"error: job {job.number}: {job.error}", file=sys.stderr, flush=True)
        if found.status == Status.INTERRUPTED:
            self.sweep.stopped = found.exit_code


def successive(jobs: list[Job], at_once: int) -> Iterator[list[Job]]:
    """Parts of at most `at_once` jobs whose numbers follow one another."""
    part: list[Job] = []
    for job in jobs:
        if part and (len(part) == at_once or job.number != part[-1].number + 1):
            yield part
            part = []
        part.append(job)
    if part:
        yield part


def _refusal(errors: list[UserError]) -> UserError:
    """One error for a sweep of which no job can run."""
    messages = list(dict.fromkeys(map(str, errors)))
    more = f"; and {len(messages) - 3} more" if len(messages) > 3 else ""
    refusal = type(errors[0]) if len({type(error) for error in errors}) == 1 else ConfigError
    return refusal("; ".join(messages[:3]) + more)
