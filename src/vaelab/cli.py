"""The command line: `python train.py ...`, which is the same as `vaelab train ...`, and the other commands.

Nothing here imports torch, lightning or wandb, so that help, printed configs and shell completion
respond immediately.
"""

import gc
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from vaelab import __version__
from vaelab.command_line.evaluation import USAGE as EVAL_USAGE
from vaelab.command_line.evaluation import behind_run, evaluation_words
from vaelab.command_line.explain import COMPOSITION_ERRORS, explain, wrong_kind_of_option
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import decoder_instead
from vaelab.command_line.same_words import own_words
from vaelab.command_line.tags import ask_for_tags, lacks_tags, tags_word
from vaelab.commands.between import interpolate, traverse
from vaelab.commands.classify import classify
from vaelab.commands.codes import decode, encode
from vaelab.commands.export import export
from vaelab.commands.hub import pull, push
from vaelab.commands.info import info
from vaelab.commands.restore import denoise, reconstruct
from vaelab.commands.sample import sample
from vaelab.commands.score import score
from vaelab.compare.command import compare
from vaelab.completion.command import completion
from vaelab.config.command_line import config_folders, parts, typed_words
from vaelab.config.continuation import Continuation, compose_again
from vaelab.config.help import help_page
from vaelab.config.location import config_dir, find_trusted, refuse_same_options
from vaelab.config.nearest import nearest
from vaelab.config.redacted_output import flush_or_forget, redacted_output
from vaelab.config.usual import usual_for
from vaelab.dashboard.command import dashboard
from vaelab.doctor.command import doctor
from vaelab.errors import ConfigError, DivergenceError, UserError, own_error
from vaelab.explore.command import explore
from vaelab.external import from_launcher, launched
from vaelab.job_folder import OUTPUT_DIR, JobFolder, chosen_folder, run_dir
from vaelab.launch.words import is_about_launcher, refuse_launcher
from vaelab.missing_package import missing
from vaelab.new_project.command import init
from vaelab.quoting import quoted, typed_path
from vaelab.record.sweep import FILE as SWEEP
from vaelab.record.sweep import Sweep, mark_done
from vaelab.reproduce.command import reproduce
from vaelab.rerun.command import Repetition, rerun
from vaelab.run_folder import (
    RUN_DIR,
    can_go_on,
    claim_sweep_dir,
    discard_unstarted,
    in_one_process,
    redact_subfolder,
    redact_sweep,
)
from vaelab.runs.command import runs
from vaelab.search.weights_and_biases.trial import as_trial
from vaelab.search.words import search_words
from vaelab.signals import (
    NOT_BEGUN,
    end_with_parent,
    ending_at_once,
    exit_code,
    is_first,
    is_first_of_node,
    raising_when_told_to_end,
    say,
)
from vaelab.sweep import errors_are_collected

OmegaConf.register_new_resolver("vaelab.run_dir", run_dir, use_cache=True, replace=True)
OmegaConf.register_new_resolver("vaelab.launched", from_launcher, replace=True)
OmegaConf.register_new_resolver("vaelab.sweep_dir", claim_sweep_dir, use_cache=True, replace=True)

_FULL = "HYDRA_FULL_ERROR"
_FOR_THE_FIRST = 5.0  # seconds
_MULTIRUN = ("-m", "--multirun")
_COMPLETION = ("-sc", "--shell-completion")
_ONE_RUN = "sets how the jobs of a sweep run, but this is one run; add -m, or leave it out"


@redacted_output()
def main() -> None:
    """The `vaelab` command."""
    command, *arguments = sys.argv[1:] or [""]
    if command in _COMPLETION:
        _complete(sys.argv[1:])
    elif command == "--version":
        print(_version())
    elif command in COMMANDS:
        try:
            COMMANDS[command].run(arguments)
            _show()
        except UserError as error:
            if os.environ.get(_FULL) == "1":
                raise
            _fail(str(error), error.exit_code)
        except BrokenPipeError:  # the reader of the output has ended
            flush_or_forget(sys.stdout)
        except OSError as error:
            if not COMMANDS[command].of_model or os.environ.get(_FULL) == "1":
                raise
            place = f"{error.filename}: " if error.filename else ""
            _fail(f"{place}{error.strerror or error}", 1)
        except KeyboardInterrupt as stop:
            _fail("interrupted", exit_code(stop))
    elif command in ("-h", "--help"):
        try:
            print(_usage())
            flush_or_forget(sys.stdout)
        except BrokenPipeError:  # as of `vaelab --help | head`
            flush_or_forget(sys.stdout)
    elif command:
        _fail(f"vaelab {command}: there is no such command; {_command_meant(command)}", 2)
    else:
        print(_usage(), file=sys.stderr)
        sys.exit(2)


def _show() -> None:
    """Flush the output now, so that a full disk is an error of the command."""
    try:
        flush_or_forget(sys.stdout)
    except OSError as error:
        _fail(f"the output cannot be written ({error.strerror})", 1)


def _usage() -> str:
    """Return the usage with all commands in two groups: training and inspecting runs, and using trained models."""
    rows = {name: f"{name} {command.arguments}" for name, command in COMMANDS.items()}
    width = max(map(len, rows.values()))

    def lines(of_model: bool) -> list[str]:
        return [f"  {rows[n]:{width}}  {c.what}" for n, c in COMMANDS.items() if c.of_model == of_model]

    return "\n".join([
        "usage: vaelab <command> ...", "", "Train models and inspect runs:", "", *lines(of_model=False), "",
        "Use a trained model. RUN is a run folder, its folder model, or owner/name on the Hugging Face hub:", "",
        *lines(of_model=True), "", "vaelab <command> --help describes a command; vaelab --version prints the version.",
    ])  # fmt: skip


def _command_meant(command: str) -> str:
    if "=" in command or command.startswith("-"):
        return f"did you mean vaelab train {command}?"
    names = list(COMMANDS)
    near = nearest(command, names)
    return f"did you mean vaelab {near}?" if near else f"there are {', '.join(names[:-1])} and {names[-1]}"


def _version() -> str:
    return f"vaelab {__version__}"


def _complete(arguments: list[str]) -> None:
    """Answer a request of Hydra's completion script, for the whole command: before and after the word `train`."""
    if not _asks_for_words(arguments):
        train(arguments)
        return
    line = os.environ.get("COMP_LINE", "")
    program, *words = line.split() or [""]
    if not words or (len(words) == 1 and not line.endswith(" ")):
        print(" ".join(command for command in COMMANDS if command.startswith("".join(words))))
    elif words[0] == "train":
        os.environ["COMP_LINE"] = program + line.partition(" train")[2]
        train(arguments)
    elif words[0] == "eval" and (behind := behind_run(line.partition(" eval")[2])) is not None:
        os.environ["COMP_LINE"] = f"{program} {behind}"
        train(arguments)


def evaluate(arguments: list[str]) -> None:
    """`vaelab eval`: what `vaelab train` does with `train=false` and a checkpoint.

    Raises:
        ConfigError: no checkpoint or several are named.
    """
    if {"-h", "--help"} & set(arguments):
        print(EVAL_USAGE)
        return
    words = evaluation_words(arguments)
    typed, sys.argv = sys.argv, [sys.argv[0], "train", *words]
    try:
        train(words)
    finally:
        sys.argv = typed


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
    elif _asks_for_words(arguments):  # an unfinished line has errors that are not worth reporting
        with suppress(SystemExit), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            _train(arguments)
    else:
        with ExitStack() as prepared:
            try:
                words = prepared.enter_context(as_trial(arguments))
            except UserError as error:
                _refuse(error)
            _train(words)


def _rerun(arguments: list[str]) -> None:
    if code := rerun(arguments, _code_of_training):
        sys.exit(code)


def _reproduce(arguments: list[str]) -> None:
    if code := reproduce(arguments, _code_of_training):
        sys.exit(code)


def _doctor(arguments: list[str]) -> None:
    if code := doctor(arguments):
        sys.exit(code)


def _completion(arguments: list[str]) -> None:
    completion(arguments, {name: command.run for name, command in COMMANDS.items()})


def _code_of_training(words: list[str], again: Repetition | None = None) -> int:
    """Run a command line, and return its exit code."""
    try:
        _train(words, again)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _train(arguments: list[str], again: Repetition | None = None) -> None:
    """Run a command line; if the job of this process was started before, resume its run.

    Args:
        arguments: flags and overrides.
        again: the run to repeat, whose words are added to the arguments.
    """
    arguments = own_words(arguments)
    job = JobFolder.current = _job_folder(arguments, again)
    with ExitStack() as kept:
        if job is not None:
            kept.callback(job.leave)
        try:
            _train_once(arguments, again)
        finally:
            JobFolder.current = None
        if job is not None and job.goes_on is not None:
            _go_on(job, arguments, again)


def _go_on(job: JobFolder, arguments: list[str], again: Repetition | None) -> None:
    """Resume the run of an earlier start of a job, unless it has finished."""
    assert job.goes_on is not None
    if again is not None:
        on = typed_path("resume", job.goes_on)
        _refuse(
            ConfigError(
                f"{job.goes_on}: contains an earlier start of this rerun; resume it with {on}, and "
                "compare the results with vaelab rerun <run> --compare <folder>"
            )
        )
    if job.finished:
        say(f"{job.goes_on}: the run of this command line has finished")
        return
    say(f"resuming {job.goes_on}")
    words = [word for word in arguments if word.lstrip("+").partition("=")[0] != OUTPUT_DIR]
    _train_once([*words, f"resume={quoted(str(job.goes_on))}"])


def _job_folder(arguments: list[str], again: Repetition | None) -> JobFolder | None:
    """Return the folder that this run shares with other processes or an earlier start; None for a new folder."""
    flags, words = parts(arguments)
    only_shown = {"-c", "--cfg", "-i", "--info"} & {flag.partition("=")[0] for flag in flags}
    if only_shown or set(_MULTIRUN) & set(flags):
        return None
    try:
        chosen = chosen_folder(words)
        if any(word.startswith("resume=") for word in words):
            if chosen is not None:
                raise ConfigError(f"{OUTPUT_DIR}={chosen}: resume= uses the folder of the run; leave it out")
            return None
        kind = [] if again is None else [f"rerun {again.run.absolute()}"]
        return JobFolder.of(launched(), [*kind, *flags, *words], chosen)
    except UserError as error:
        _refuse(error)


def _train_once(arguments: list[str], again: Repetition | None = None) -> None:
    typed = list(sys.argv)
    wants_traceback = os.environ.get(_FULL) == "1"
    program = typed[:2] if typed[1:2] == ["train"] else typed[:1]
    relaunch = [*program, *arguments] if again is None else typed
    Sweep.current = None
    kept = ExitStack()
    end_with_parent()
    try:
        with raising_when_told_to_end():
            if again is None and (searched := search_words(arguments)) is not None:
                from vaelab.search.engine import search

                sys.argv = relaunch
                sys.exit(search(searched, _config_folders(searched.flags), program))
            whole = _sweep_that_goes_on(arguments, kept) if again is None else None
            if again is not None:
                continued: Continuation | None = again.compose(arguments)
            else:
                continued = compose_again(arguments) if whole is None else None
            flags, overrides = parts(whole or (continued.arguments if continued else arguments))
            refuse_same_options(config_folders(flags))
            if continued is None and (usual := usual_for(overrides)) is not None:
                say(str(usual))
                overrides = [*usual.words, *overrides]
            arguments = [*flags, *overrides]  # Hydra's parser refuses `model=ae --multirun seed=1,2`
            sys.argv = [sys.argv[0], *arguments]
            os.environ[_FULL] = "1"  # so that Hydra raises its errors; `job` resets it
            alone = [*program, *(flag for flag in flags if flag not in _MULTIRUN)]
            Sweep.program, Sweep.start = program, alone
            try:
                _compose_and_run(wants_traceback, relaunch, alone, continued, again)
            except COMPOSITION_ERRORS as error:
                decoder = decoder_instead(error, overrides, _config_folders(flags))
                if decoder is None:
                    raise
                sys.argv.append(decoder)
                _compose_and_run(wants_traceback, relaunch, alone, continued, again)
            _end_sweep()
    except UserError as error:
        if wants_traceback:
            raise
        _refuse(error)
    except COMPOSITION_ERRORS as error:
        if wants_traceback:
            raise
        _refuse(own_error(error) or ConfigError(explain(error, arguments)))
    except TypeError:  # of Hydra, for a number in a list of options
        message = wrong_kind_of_option(arguments)
        if wants_traceback or message is None:
            raise
        _refuse(ConfigError(message))
    except KeyboardInterrupt as stop:
        _stop(exit_code(stop))
    finally:
        kept.close()
        Sweep.current = None
        sys.argv = typed
        if not wants_traceback:
            os.environ.pop(_FULL, None)


def _sweep_that_goes_on(arguments: list[str], kept: ExitStack) -> list[str] | None:
    """Return the whole command line of the sweep that `resume=` names; None if it does not name a sweep.

    Args:
        arguments: the arguments as typed.
        kept: keeps the lock of the sweep's folder, which is taken before its record is read: another process that
            resumes the same sweep would change the record.
    """
    named = next((a.partition("=")[2] for a in reversed(arguments) if a.startswith("resume=")), "")
    folder = Path(named.strip("'\""))  # as Hydra reads it
    if not named or not (folder / SWEEP).is_file():
        return None
    kept.enter_context(in_one_process(folder, "sweep"))
    sweep = Sweep.current = Sweep.read(folder)
    if lost := sweep.forget_lost():
        numbers = ", ".join(str(job.number) for job in lost)
        print(f"{folder}: the results of finished jobs are missing, so these jobs run again: {numbers}", flush=True)
    flags, overrides = parts(arguments)
    of_hydra = [o for o in overrides if o.lstrip("+~").startswith(("hydra.", "hydra/"))]
    sweep.launcher = [o for o in overrides if is_about_launcher(o)]
    apart = (*of_hydra, *sweep.launcher)
    sweep.typed = [o for o in overrides if o not in apart and not o.startswith("resume=")]
    sweep.config_folders = _config_folders(flags)
    if not sweep.missing():
        print(f"{folder}: all {len(sweep.jobs)} jobs are done")
        _end_sweep()
        sys.exit(0)
    flags = [flag for flag in flags if flag not in (*_MULTIRUN, "-r", "--run")]
    return [*flags, "--multirun", *of_hydra, *sweep.launcher, f"hydra.sweep.dir={quoted(str(folder))}"]


def _compose_and_run(
    wants_traceback: bool,
    relaunch: list[str],
    alone: list[str],
    continued: Continuation | None,
    again: Repetition | None = None,
) -> None:
    """Call Hydra to compose the config and run it.

    Args:
        wants_traceback: whether errors are shown with a traceback.
        relaunch: the command line for the other processes of a run.
        alone: the start of a command line that runs one job of a sweep; the overrides of the job are appended.
        continued: the run to resume, evaluate or repeat; a job of a resumed sweep has its own.
        again: receives the folder of the new run, if a run is repeated.
    """

    @hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
    def job(config: DictConfig) -> float | None:
        if JobFolder.current is not None and JobFolder.current.goes_on is not None:
            return None  # composed again below, with the record of the run
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
            if again is not None:
                again.begin(Path(current.hydra.runtime.output_dir))
            if not in_sweep and lacks_tags(config, current.hydra.runtime.choices.get("debug")):
                config.tags = ask_for_tags()
                word = tags_word(list(config.tags))
                sys.argv = [*relaunch, word]  # the other processes of the run must not ask for tags again
                with read_write(current.hydra):
                    current.hydra.overrides.task.append(word)
            goes_on = continued
            if not in_sweep:
                refuse_launcher(typed_words(current.hydra), _ONE_RUN)
            if in_sweep and Sweep.current is not None:
                goes_on = Sweep.current.continued.get(int(current.hydra.job.num), continued)
            run = _import_run()
            find_trusted(config)
            with _kept_to_this_process(Path(current.hydra.runtime.output_dir)), local_settings(config):
                watched = run(config, goes_on)
            if config.resume and not in_sweep and RUN_DIR not in os.environ:  # else the starter of this run does
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


def _kept_to_this_process(folder: Path) -> AbstractContextManager[None]:
    """Lock a run for this process, or refuse it if another process runs it; only the first process locks."""
    return in_one_process(folder, "run") if is_first() and folder.is_dir() else nullcontext()


def _end_sweep() -> None:
    """Print the outcomes of a sweep's jobs, if there was a sweep, and exit with 1 unless all are done."""
    sweep = Sweep.current
    if sweep is None:
        return
    discard_unstarted()
    if sweep.stopped is not None and not sweep.folder.is_dir():
        _fail(NOT_BEGUN, sweep.stopped)
    from vaelab.sweep_page.end import end_sweep

    end_sweep(sweep)
    if sweep.exit_code:
        sys.exit(sweep.exit_code)


def _import_run() -> Callable[[DictConfig, Continuation | None], float | None]:
    """Import `vaelab.run.run`, with all modules that are slow to import."""
    gc.disable()  # garbage collection would take a quarter of the import time. `run` enables it again
    try:
        with ending_at_once():
            from vaelab.run import run
    except ModuleNotFoundError as error:
        raise UserError(missing(error)) from error
    if not gc.get_freeze_count():
        gc.freeze()  # modules are never freed
    return run


def _for_people(error: Exception) -> UserError | None:
    """Convert an error of a run to one message; None for a bug in the program, which needs its traceback."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OmegaConfBaseException):
        return ConfigError(f"{str(error).splitlines()[0]} (key {error.full_key})")
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    return ConfigError(str(error).splitlines()[0]) if isinstance(error, MisconfigurationException) else None


def _stop(code: int, run: Path | None = None) -> NoReturn:
    """End with the exit code of a signal, after one line, or after the table of a sweep."""
    sweep = Sweep.current
    if sweep is not None and sweep.begun:
        sweep.stop(code)
        _end_sweep()
    discard_unstarted()
    message = NOT_BEGUN
    if run is not None and run.is_dir():
        how = f"resume it with {typed_path('resume', run)}" if can_go_on(run) else "no checkpoint had been written yet"
        message = f"interrupted; {how}"
    say(f"error: {message}")
    sys.exit(code)


def _refuse(error: UserError) -> NoReturn:
    """Print an error, and remove the run folder if no run began."""
    if not isinstance(error, DivergenceError):
        discard_unstarted()
    _fail(str(error), error.exit_code, everywhere=isinstance(error, ConfigError))


def _fail(message: str, code: int, everywhere: bool = False) -> NoReturn:
    """Print an error, and exit.

    Args:
        message: the line to print.
        code: the exit code.
        everywhere: whether all processes of a run on one machine have the same error.
    """
    if not is_first():  # the first process prints the same, and its end ends this one, except under srun
        with ending_at_once():
            sleep(_FOR_THE_FIRST)
    if not everywhere or is_first_of_node():
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _config_folders(arguments: list[str]) -> list[Path]:
    folders = config_folders(arguments)
    for folder in folders:
        if not folder.is_dir():
            _fail(f"--config-dir: {folder} is not a folder", 2)
    return [config_dir(), *folders]


@dataclass(frozen=True)
class Command:
    """One command of `vaelab`.

    Attributes:
        arguments: the arguments as shown in the usage.
        what: a description in one line.
        run: a function that takes the rest of the command line.
        of_model: whether the command uses a trained model.
    """

    arguments: str
    what: str
    run: Callable[[list[str]], None]
    of_model: bool = False


COMMANDS = {
    "train": Command("[overrides]", "train or evaluate; vaelab train --help lists every option", train),
    "eval": Command("RUN [overrides]", "evaluate a trained model, without training", evaluate),
    "runs": Command("[FOLDER]", "list, filter and sort runs; show the best one and how to repeat it", runs),
    "rerun": Command("RUN", "train again from the record of a run, and compare the results", _rerun),
    "reproduce": Command("NAME", "train an experiment again, and check its recorded result", _reproduce),
    "compare": Command("FOLDER ...", "compare finished runs in one table and one figure", compare),
    "dashboard": Command("[FOLDER ... or PROJECT]", "make W&B workspaces, and a report that compares runs", dashboard),
    "init": Command("NAME", "start a small project of your own: options, a backbone, a test", init),
    "completion": Command("bash|zsh|fish", "complete commands, options and keys when you press TAB", _completion),
    "doctor": Command("", "check this machine: versions, devices, trackers, folders, problems", _doctor),
    "info": Command("RUN", "describe a model, and list what can be done with it", info, True),
    "sample": Command("RUN -o DIR", "generate new examples: images, rows, music, text, series", sample, True),
    "reconstruct": Command("RUN FILES -o DIR", "encode and decode files", reconstruct, True),
    "denoise": Command("RUN FILES -o DIR", "restore corrupted files", denoise, True),
    "encode": Command("RUN FILES -o FILE", "encode files, and write their codes as a table", encode, True),
    "decode": Command("[RUN] CODES -o DIR", "decode codes into examples", decode, True),
    "interpolate": Command("RUN A B -o DIR", "decode the codes between two examples", interpolate, True),
    "traverse": Command("RUN A -o DIR", "change one latent dimension at a time, and decode", traverse, True),
    "score": Command("RUN FILES -o FILE", "score files for anomalies: scores, alarms, causes", score, True),
    "classify": Command("RUN FILES -o FILE", "classify files with a model that infers labels", classify, True),
    "export": Command("RUN -o DIR", "export encoder, decoder and score to ONNX and torch.export", export, True),
    "push": Command("RUN OWNER/NAME", "upload a model with its card to the hub, or write it as a folder", push, True),
    "pull": Command("OWNER/NAME -o DIR", "download a model from the hub", pull, True),
    "explore": Command(
        "RUN [FILES]", "explore a model in the browser: sliders, samples, your files, a map", explore, True
    ),
}
