"""The command line: `python train.py ...`, and the same as `vaelab train ...`.

Nothing here imports torch, lightning or wandb, so that help, printed configs and shell completion
answer at once.
"""

import gc
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vaelab.compare.command import compare
from vaelab.config.explain import explain
from vaelab.config.help import help_page
from vaelab.config.location import config_dir
from vaelab.config.redacted_output import redacted_output
from vaelab.config.resume import expand_resume
from vaelab.errors import ConfigError, DivergenceError, InterruptionError, UserError
from vaelab.record.folder import claim_run_dir, discard_unstarted, redact_subfolder, redact_sweep

OmegaConf.register_new_resolver("vaelab.run_dir", claim_run_dir, use_cache=True, replace=True)

_FULL = "HYDRA_FULL_ERROR"
_WITH_VALUE = {"-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
               "-i", "--info", "--experimental-rerun"}  # fmt: skip
_COMMANDS = """\
usage: vaelab train [overrides]       train or evaluate; vaelab train --help says more
       vaelab compare <folder> ...    one table and one figure of finished runs"""


@redacted_output()
def main() -> None:
    """The `vaelab` command."""
    command, *arguments = sys.argv[1:] or [""]
    if command == "train":
        train(arguments)
    elif command == "compare":
        try:
            compare(arguments)
        except UserError as error:
            _fail(str(error), error.exit_code)
    else:
        print(_COMMANDS, file=sys.stdout if command in ("-h", "--help") else sys.stderr)
        sys.exit(0 if command in ("-h", "--help") else 2)


@redacted_output()
def train(arguments: list[str] | None = None) -> None:
    """Compose a config from the command line and run it; exits with 1 or 2 after one message on an error."""
    typed = list(sys.argv)
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(help_page(_config_folders(arguments)))
        return
    wants_traceback = os.environ.get(_FULL) == "1"
    try:
        arguments = _flags_first(expand_resume(arguments))
        sys.argv = [sys.argv[0], *arguments]
        os.environ[_FULL] = "1"  # so that Hydra hands its errors over; `_job` takes it back
        _compose_and_run(wants_traceback, typed if typed[1:2] == ["train"] else sys.argv)
    except UserError as error:
        if wants_traceback:
            raise
        _refuse(error)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        if wants_traceback:
            raise
        _refuse(ConfigError(explain(error, arguments)))
    finally:
        sys.argv = typed
        if not wants_traceback:
            os.environ.pop(_FULL, None)


def _compose_and_run(wants_traceback: bool, relaunch: list[str]) -> None:
    @hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
    def job(config: DictConfig) -> float | None:
        if not wants_traceback:
            os.environ.pop(_FULL, None)
        # Lightning starts the other ranks of a node with this very command line, in this folder.
        sys.argv = relaunch
        current: Any = HydraConfig.instance().cfg
        with read_write(current.hydra):
            current.hydra.run.dir = current.hydra.runtime.output_dir
        if current.hydra.mode == RunMode.MULTIRUN:
            redact_sweep(Path(current.hydra.sweep.dir))
        if current.hydra.output_subdir is not None:
            redact_subfolder(Path(current.hydra.runtime.output_dir) / current.hydra.output_subdir)
        gc.disable()  # a quarter of the time of imports: nothing in them is garbage. `run` enables it again
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        from vaelab.run import run

        if not gc.get_freeze_count():
            gc.freeze()  # modules stay
        try:
            return run(config)
        except (UserError, MisconfigurationException) as error:
            if wants_traceback:
                raise
            _refuse(error if isinstance(error, UserError) else ConfigError(str(error).splitlines()[0]))
        finally:
            gc.enable()

    job()


def _refuse(error: UserError) -> NoReturn:
    """Say what is wrong, and leave no run folder behind where nothing ran."""
    if not isinstance(error, DivergenceError | InterruptionError):
        discard_unstarted()
    _fail(str(error), error.exit_code)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _flags_first(arguments: list[str]) -> list[str]:
    """Flags and their values before overrides: Hydra's parser refuses `model=ae --multirun seed=1,2`."""
    flags: list[str] = []
    overrides: list[str] = []
    takes_value = False
    for argument in arguments:
        is_override = not argument.startswith("-") and not takes_value
        (overrides if is_override else flags).append(argument)
        takes_value = argument in _WITH_VALUE
    return [*flags, *overrides]


def _config_folders(arguments: list[str]) -> list[Path]:
    folders = [config_dir()]
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, inline = flag.partition("=")
        if name in ("-cd", "--config-dir"):
            folder = Path(inline if equals else value)
            if not folder.is_dir():
                _fail(f"{flag}: {folder} is not a folder", 2)
            folders.append(folder)
    return folders
