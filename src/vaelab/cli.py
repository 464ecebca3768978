"""The command line: `python train.py ...`, and the same as `vaelab train ...`.

Nothing here imports torch, lightning or wandb, so that help, printed configs and shell completion
answer at once.
"""

import gc
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from vaelab import __version__
from vaelab.command_line.explain import COMPOSITION_ERRORS, explain
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import decoder_instead
from vaelab.compare.command import compare
from vaelab.config.command_line import config_folders, parts, typed_words
from vaelab.config.continuation import Continuation, compose_again
from vaelab.config.help import help_page
from vaelab.config.location import config_dir, find_trusted
from vaelab.config.nearest import nearest
from vaelab.config.quoting import quoted
from vaelab.config.redacted_output import redacted_output
from vaelab.config.usual import usual_for
from vaelab.dashboard.command import dashboard
from vaelab.errors import ConfigError, DivergenceError, UserError, own_error
from vaelab.missing_package import missing
from vaelab.record.sweep import FILE as SWEEP
from vaelab.record.sweep import Sweep, in_one_process, mark_done, print_sweep
from vaelab.run_folder import (
    can_go_on,
    claim_run_dir,
    claim_sweep_dir,
    discard_unstarted,
    redact_subfolder,
    redact_sweep,
)
from vaelab.runs.command import runs
from vaelab.search.words import search_words
from vaelab.signals import NOT_BEGUN, end_with_parent, ending_at_once, exit_code, raising_when_told_to_end, say
from vaelab.sweep import errors_are_collected

OmegaConf.register_new_resolver("vaelab.run_dir", claim_run_dir, use_cache=True, replace=True)
OmegaConf.register_new_resolver("vaelab.sweep_dir", claim_sweep_dir, use_cache=True, replace=True)

_FULL = "HYDRA_FULL_ERROR"
_MULTIRUN = ("-m", "--multirun")
_COMPLETION = ("-sc", "--shell-completion")
_COMMANDS = ("train", "runs", "compare", "dashboard")
_USAGE = """\
usage: vaelab train [overrides]       train or evaluate; vaelab train --help says more
       vaelab runs [<folder>]         what runs there are, filtered and sorted; the best one, and how to do it again
       vaelab compare <folder> ...    one table and one figure of finished runs
       vaelab dashboard [<folder> ... or <project>]
                                      W&B workspaces, and a report that compares runs
       vaelab --version               which version this is"""


@redacted_output()
def main() -> None:
    """The `vaelab` command."""
    command, *arguments = sys.argv[1:] or [""]
    if command in _COMPLETION:
        _complete(sys.argv[1:])
    elif command == "--version":
        print(_version())
    elif command == "train":
        train(arguments)
    elif command in ("runs", "compare", "dashboard"):
        try:
            {"runs": runs, "compare": compare, "dashboard": dashboard}[command](arguments)
        except UserError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt as stop:
            _fail("interrupted", exit_code(stop))
    elif command in ("-h", "--help"):
        print(_USAGE)
    elif command:
        _fail(f"vaelab {command}: there is no such command; {_command_meant(command)}", 2)
    else:
        print(_USAGE, file=sys.stderr)
        sys.exit(2)


def _command_meant(command: str) -> str:
    if "=" in command or command.startswith("-"):
        return f"did you mean vaelab train {command}?"
    near = nearest(command, _COMMANDS)
    return f"did you mean vaelab {near}?" if near else f"there are {', '.join(_COMMANDS[:-1])} and {_COMMANDS[-1]}"


def _version() -> str:
    return f"vaelab {__version__}"


def _complete(arguments: list[str]) -> None:
    """What Hydra's script for a shell asks for, of the whole command: a TAB may come before or after `train`."""
    if not _asks_for_words(arguments):
        train(arguments)
        return
    line = os.environ.get("COMP_LINE", "")
    program, *words = line.split() or [""]
    if not words or (len(words) == 1 and not line.endswith(" ")):
        print(" ".join(command for command in _COMMANDS if command.startswith("".join(words))))
    elif words[0] == "train":
        os.environ["COMP_LINE"] = program + line.partition(" train")[2]
        train(arguments)


def _asks_for_words(arguments: list[str]) -> bool:
    return bool(set(_COMPLETION) & set(arguments)) and any(a.startswith("query=") for a in arguments)


@redacted_output()
def train(arguments: list[str] | None = None) -> None:
    """Compose a config from the command line and run it, or every job of a sweep.

    Exits after one message: with 1 or 2 on an error, with 1 where a job of a sweep failed, and with 128 + the signal
    after an interruption.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(help_page(_config_folders(arguments)))
    elif "--version" in arguments:
        print(_version())
    elif _asks_for_words(arguments):  # a line that is not finished is wrong in many ways, none of them worth a word
        with suppress(SystemExit), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            _train(arguments)
    else:
        _train(arguments)


def _train(arguments: list[str]) -> None:
    typed = list(sys.argv)
    wants_traceback = os.environ.get(_FULL) == "1"
    relaunch = typed if typed[1:] in (arguments, ["train", *arguments]) else [typed[0], *arguments]
    Sweep.current = None
    kept = ExitStack()
    end_with_parent()
    try:
        with raising_when_told_to_end():
            if (searched := search_words(arguments)) is not None:
                from vaelab.search.command import search

                sys.argv = relaunch
                program = typed[:2] if typed[1:2] == ["train"] else typed[:1]
                sys.exit(search(searched, _config_folders(searched.flags), program))
            whole = _sweep_that_goes_on(arguments, kept)
            continued = compose_again(arguments) if whole is None else None
            flags, overrides = parts(whole or (continued.arguments if continued else arguments))
            if continued is None and (usual := usual_for(overrides)) is not None:
                say(str(usual))
                overrides = [*usual.words, *overrides]
            arguments = [*flags, *overrides]  # Hydra's parser refuses `model=ae --multirun seed=1,2`
            sys.argv = [sys.argv[0], *arguments]
            os.environ[_FULL] = "1"  # so that Hydra hands its errors over; `job` takes it back
            program = typed[:2] if typed[1:2] == ["train"] else typed[:1]
            alone = [*program, *(flag for flag in flags if flag not in _MULTIRUN)]
            try:
                _compose_and_run(wants_traceback, relaunch, alone, continued)
            except COMPOSITION_ERRORS as error:
                decoder = decoder_instead(error, overrides, _config_folders(flags))
                if decoder is None:
                    raise
                sys.argv.append(decoder)
                _compose_and_run(wants_traceback, relaunch, alone, continued)
            _end_sweep()
    except UserError as error:
        if wants_traceback:
            raise
        _refuse(error)
    except COMPOSITION_ERRORS as error:
        if wants_traceback:
            raise
        _refuse(own_error(error) or ConfigError(explain(error, arguments)))
    except KeyboardInterrupt as stop:
        _stop(exit_code(stop))
    finally:
        kept.close()
        Sweep.current = None
        sys.argv = typed
        if not wants_traceback:
            os.environ.pop(_FULL, None)


def _sweep_that_goes_on(arguments: list[str], kept: ExitStack) -> list[str] | None:
    """The whole command line of the sweep that `resume=` names; None if it names none.

    Args:
        arguments: as they were typed.
        kept: holds the folder of the sweep for this process, from before its record is read: another process that goes
            on with the same sweep would change it.
    """
    named = next((a.partition("=")[2] for a in reversed(arguments) if a.startswith("resume=")), "")
    folder = Path(named.strip("'\""))  # as Hydra reads it
    if not named or not (folder / SWEEP).is_file():
        return None
    kept.enter_context(in_one_process(folder))
    sweep = Sweep.current = Sweep.read(folder)
    if lost := sweep.forget_lost():
        numbers = ", ".join(str(job.number) for job in lost)
        print(f"{folder}: the results of jobs that were done are gone, so they run again: {numbers}", flush=True)
    flags, overrides = parts(arguments)
    of_hydra = [o for o in overrides if o.lstrip("+~").startswith(("hydra.", "hydra/"))]
    sweep.typed = [o for o in overrides if o not in of_hydra and not o.startswith("resume=")]
    sweep.config_folders = _config_folders(flags)
    if not sweep.missing():
        print(f"{folder}: all {len(sweep.jobs)} jobs are done")
        sys.exit(0)
    flags = [flag for flag in flags if flag not in (*_MULTIRUN, "-r", "--run")]
    return [*flags, "--multirun", *of_hydra, f"hydra.sweep.dir={quoted(str(folder))}"]


def _compose_and_run(
    wants_traceback: bool, relaunch: list[str], alone: list[str], continued: Continuation | None
) -> None:
    """Hand over to Hydra.

    Args:
        wants_traceback: whether errors are shown with one.
        relaunch: the command line of a run's other processes.
        alone: the beginning of a command line that runs one job of a sweep by itself, to which its overrides are added.
        continued: the run that goes on or is evaluated; a job of a sweep that goes on has its own.
    """

    @hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
    def job(config: DictConfig) -> float | None:
        if not wants_traceback:
            os.environ.pop(_FULL, None)
        # Lightning starts the other ranks of a node with this very command line, in this folder.
        sys.argv = relaunch
        current: Any = HydraConfig.instance().cfg
        with read_write(current.hydra):
            current.hydra.run.dir = current.hydra.runtime.output_dir
        in_sweep = current.hydra.mode == RunMode.MULTIRUN
        if in_sweep:
            redact_sweep(Path(current.hydra.sweep.dir))
            overrides = typed_words(current.hydra)
            by_itself_a_sweep = any(override.startswith("experiment=") for override in overrides)
            sys.argv = [*alone, *overrides, *(["hydra.mode=RUN"] if by_itself_a_sweep else [])]
        if current.hydra.output_subdir is not None:
            redact_subfolder(Path(current.hydra.runtime.output_dir) / current.hydra.output_subdir)
        try:
            goes_on = continued
            if in_sweep and Sweep.current is not None:
                goes_on = Sweep.current.continued.get(int(current.hydra.job.num), continued)
            run = _import_run()
            find_trusted(config)
            with local_settings(config):
                watched = run(config, goes_on)
            if config.resume and not in_sweep:
                mark_done(Path(config.resume))
            return watched
        except KeyboardInterrupt as stop:
            if errors_are_collected():
                raise
            _stop(exit_code(stop), Path(current.hydra.runtime.output_dir))
        except Exception as error:
            told = _for_people(error)
            if told is None or wants_traceback:
                raise
            if errors_are_collected():
                raise told from error
            _refuse(told)
        finally:
            gc.enable()

    job()


def _end_sweep() -> None:
    """Say what became of the jobs of a sweep, if there was one, and exit with 1 unless all of them are done."""
    sweep = Sweep.current
    if sweep is None:
        return
    discard_unstarted()
    if sweep.stopped is not None and not sweep.folder.is_dir():
        _fail(NOT_BEGUN, sweep.stopped)
    print_sweep(sweep)
    if sweep.exit_code:
        sys.exit(sweep.exit_code)


def _import_run() -> Callable[[DictConfig, Continuation | None], float | None]:
    """`vaelab.run.run`, and with it all that is slow to import."""
    gc.disable()  # a quarter of the time of imports: nothing in them is garbage. `run` enables it again
    try:
        with ending_at_once():
            from vaelab.run import run
    except ModuleNotFoundError as error:
        raise UserError(missing(error)) from error
    if not gc.get_freeze_count():
        gc.freeze()  # modules stay
    return run


def _for_people(error: Exception) -> UserError | None:
    """An error of a run as one message; None where it is a fault of the program, which needs its traceback."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OmegaConfBaseException):
        return ConfigError(f"{str(error).splitlines()[0]} (key {error.full_key})")
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    return ConfigError(str(error).splitlines()[0]) if isinstance(error, MisconfigurationException) else None


def _stop(code: int, run: Path | None = None) -> NoReturn:
    """End as a process does that a signal ends, after one line, or after the table of a sweep."""
    sweep = Sweep.current
    if sweep is not None and sweep.begun:
        sweep.stop(code)
        _end_sweep()
    discard_unstarted()
    message = NOT_BEGUN
    if run is not None and run.is_dir():
        how = f"go on with resume={run}" if can_go_on(run) else "no checkpoint had been written yet"
        message = f"interrupted; {how}"
    say(f"error: {message}")
    sys.exit(code)


def _refuse(error: UserError) -> NoReturn:
    """Say what is wrong, and leave no run folder behind where nothing ran."""
    if not isinstance(error, DivergenceError):
        discard_unstarted()
    _fail(str(error), error.exit_code)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _config_folders(arguments: list[str]) -> list[Path]:
    folders = config_folders(arguments)
    for folder in folders:
        if not folder.is_dir():
            _fail(f"--config-dir: {folder} is not a folder", 2)
    return [config_dir(), *folders]
