"""The process of a trial in a sweep of W&B. The agent starts it: `python train.py sweep.folder=<folder> <words>`.

Its run folder is `<folder>/<id of the run at W&B>`. The id is unique on all machines, and a run that an agent starts
again continues in the same folder. The outcomes of trials are stored in `<folder>/trials`.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from vaelab.config.command_line import parts
from vaelab.config.recorded import lies_within
from vaelab.errors import CheckpointError, ConfigError
from vaelab.faults import FaultError
from vaelab.quoting import quoted
from vaelab.run_folder import RUN_DIR, can_go_on, put_aside
from vaelab.signals import ENDS_WITH

PLACE = "sweep.folder="
"""The word that makes a run a trial: the folder of the sweep, as it stands in `wandb_sweep.yaml`."""
OUTPUT = "VAELAB_TRIAL_OUTPUT"
"""Environment variable: the folder that takes what trials print, in a file for each."""
_ID = re.compile(r"[\w-]{1,128}", re.ASCII)


@contextmanager
def as_trial(arguments: list[str]) -> Iterator[list[str]]:
    """A context that prepares this process if its command line is that of a trial.

    It gives the words of the run: without `sweep.folder=` for a trial, unchanged for anything else. A trial that was
    started before is resumed from its checkpoint, with the same run of W&B.

    Raises:
        ConfigError: the command line is that of a trial, but no agent of W&B has started this process.
        FaultError: the folder of the sweep cannot be written.
    """
    places = [word for word in arguments if word.startswith(PLACE)]
    if not places:
        yield arguments
        return
    folder = Path(places[-1].removeprefix(PLACE))
    run_id = os.environ.get("WANDB_RUN_ID", "")
    if not _ID.fullmatch(run_id) or not os.environ.get("WANDB_SWEEP_ID"):
        raise ConfigError(
            f"{places[-1]}: is only for trials that an agent of W&B starts; start an agent with wandb agent <sweep> or "
            f"resume={folder}"
        )
    from vaelab.search.weights_and_biases.trials import TrialRecord, write_jobs

    words = _words(arguments, folder, run_id)
    try:
        overrides = parts([word for word in arguments if word not in places])[1]
        record = TrialRecord.begin(folder, run_id, overrides, _proposed())
    except OSError as error:
        raise FaultError(f"{folder}: cannot be written ({error.strerror})") from error
    write_jobs(folder)
    os.environ[RUN_DIR] = str(folder / run_id)
    os.environ[ENDS_WITH] = str(os.getppid())  # the agent: the trial ends when it ends
    if output := os.environ.pop(OUTPUT, ""):
        _print_to(Path(output), run_id)
    typed = sys.argv
    sys.argv = [typed[0], *(["train"] if typed[1:2] == ["train"] else []), *words]
    code = 1
    try:
        yield words
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    finally:
        sys.argv = typed
        record.end(folder, code)
        write_jobs(folder)


def _words(arguments: list[str], folder: Path, run_id: str) -> list[str]:
    """The command line of the run, without the words that concern the sweep.

    Raises:
        CheckpointError: the run folder is a link to another place.
    """
    flags, words = parts([word for word in arguments if not word.startswith(PLACE)])
    run = folder / run_id
    if not lies_within(run, folder):
        raise CheckpointError(f"{run}: is a link to a place outside the folder of the sweep; remove it")
    if can_go_on(run):
        return [*flags, f"resume={quoted(str(run))}", *words]
    put_aside(run)
    return [*flags, *words]


def _proposed() -> list[str]:
    """The keys whose values W&B proposed, from the file that its agent writes for each run; empty without a file."""
    try:
        found = yaml.safe_load(Path(os.environ["WANDB_SWEEP_PARAM_PATH"]).read_text(encoding="utf-8"))
    except (KeyError, OSError, ValueError, yaml.YAMLError):
        return []
    return [str(key) for key in found] if isinstance(found, dict) else []


def _print_to(folder: Path, run_id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / f"{run_id}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
