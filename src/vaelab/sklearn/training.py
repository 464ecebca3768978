"""Run a vaelab command line from Python code."""

import gc
import os
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

import vaelab.cli  # noqa: F401  # registers the resolvers that the config needs
from vaelab.command_line.explain import COMPOSITION_ERRORS, explain
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import with_decoder
from vaelab.config.location import config_dir, find_trusted
from vaelab.config.usual import with_usual
from vaelab.errors import ConfigError, InterruptionError, own_error
from vaelab.launch.words import GROUP as LAUNCHER
from vaelab.launch.words import refuse_launcher
from vaelab.quoting import quoted
from vaelab.run import run
from vaelab.run_folder import in_one_process

NOTE = "note: "  # as `vaelab.notes.note` begins a line
_ONE_AT_A_TIME = RLock()  # Hydra's config and the seeds belong to the process


@dataclass(frozen=True)
class Ended:
    """The result of a run, in addition to its folder.

    Attributes:
        trusted: packages that its config trusts.
        notes: the notes that it printed, if they were not shown.
    """

    trusted: tuple[str, ...]
    notes: tuple[str, ...]


def train(words: Sequence[str], folder: Path, verbose: bool = False) -> Ended:
    """Do the same as `vaelab train <words>` in this process, and restore the state of the process.

    Random states, warning filters, `sys.argv` and Hydra's config are restored. Concurrent threads wait for each other.

    Args:
        words: the words of a command line, without quotes for a shell.
        folder: the run folder; it exists and is empty.
        verbose: whether the output of the run is shown.

    Raises:
        vaelab.errors.UserError: the words are not valid, or the run fails; see `vaelab.run.run`.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    hidden = StringIO()
    with ExitStack() as kept:
        kept.enter_context(_ONE_AT_A_TIME)
        kept.enter_context(_as_before())
        kept.enter_context(warnings.catch_warnings())
        if not verbose:
            kept.enter_context(redirect_stdout(kept.enter_context(open(os.devnull, "w"))))
            kept.enter_context(redirect_stderr(hidden))
        sys.argv = ["vaelab", "train", *words, f"paths.output_dir={quoted(str(folder))}"]
        config = _composed(list(words), folder)
        find_trusted(config)
        try:
            with in_one_process(folder, "run"), local_settings(config):
                run(config)
        except InterruptionError as error:
            if error.exit_code != 130:
                raise
            raise KeyboardInterrupt from error
        notes = [line.removeprefix(NOTE) for line in hidden.getvalue().splitlines() if line.startswith(NOTE)]
        return Ended(tuple(map(str, config.trusted)), tuple(notes))


def _composed(words: list[str], folder: Path) -> DictConfig:
    """The config of a run in a folder; Hydra's part of it becomes the current one.

    Raises:
        ConfigError: the words compose none.
    """
    refuse_launcher(words, "sets how the jobs of a sweep run, but this is one run; leave it out")
    words = with_usual(words)
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = with_decoder(
                lambda found: compose("train", found, return_hydra_config=True), words, [config_dir()]
            )
        with read_write(config), open_dict(config):
            config.hydra.job.id = config.hydra.job.num = 0
            config.hydra.runtime.output_dir = config.hydra.run.dir = str(folder)
        HydraConfig.instance().set_config(config)
    except COMPOSITION_ERRORS as error:
        raise own_error(error) or ConfigError(explain(error, words)) from error
    plain = config.copy()
    with read_write(plain), open_dict(plain):
        del plain["hydra"]
        plain.pop(LAUNCHER, None)
    return plain


@contextmanager
def _as_before() -> Iterator[None]:
    """Restore what a run changes in the process."""
    hydra, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    typed, collects = sys.argv, gc.isenabled()
    seed = os.environ.get("PL_GLOBAL_SEED"), os.environ.get("PL_SEED_WORKERS")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, config
        sys.argv = typed
        (gc.enable if collects else gc.disable)()
        for name, value in zip(("PL_GLOBAL_SEED", "PL_SEED_WORKERS"), seed, strict=True):
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        if of_gpus:
            torch.cuda.set_rng_state_all(of_gpus)
