"""`python train.py sweep=optuna ...` and `resume=<folder of a search>`."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vaelab.command_line.explain import COMPOSITION_ERRORS, explain
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import decoder_instead
from vaelab.config.location import config_dir, find_trusted
from vaelab.config.quoting import quoted
from vaelab.config.recorded import parse_word, refuse_links_out, written
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.config.usual import usual_for
from vaelab.errors import ConfigError, UserError
from vaelab.record.command_line import command_line
from vaelab.run_folder import claim_run_dir
from vaelab.search.words import FILE, GROUP, SearchWords, without
from vaelab.signals import Terminated, ending_at_once, say
from vaelab.terminal import console

if TYPE_CHECKING:
    from vaelab.search.settings import Node, Objective, Search
    from vaelab.search.space import Space
    from vaelab.search.storage import Storage


def search(words: SearchWords, folders: list[Path], program: Sequence[str]) -> int:
    """Begin a search, or join one that was begun, until it is over; returns the exit code.

    Args:
        words: of the command line.
        folders: of config groups, vaelab's own first.
        program: the beginning of a command line that starts a run, as `sys.argv` has it.

    Returns:
        0 where no trial failed, 1 where one did, 128 + the signal after an interruption.

    Raises:
        UserError: something does not fit, before any trial runs.
    """
    _require_optuna()
    with ending_at_once():
        from vaelab.search.settings import Search
        from vaelab.search.storage import Storage, address_of
        from vaelab.search.worker import Launching, Worker
    if words.folder is None:
        made, storage = _begin(words, folders)
        trial_words = typed = words.trials
    else:
        refuse_links_out(words.folder)
        changes = _changes(words.search)
        made = Search.read(words.folder, changes, address_of(changes.get("storage")))
        taken, typed = recorded_overrides(made.words, words.trials, words.folder / FILE, folders)
        trial_words = taken + typed
        for key, entry in made.space.items():
            recorded_overrides(entry.ends(key), [], words.folder / FILE, folders)
        storage = Storage(made.node.storage, made.folder, made.study)
    with closing(storage), storage.answering():
        from vaelab.search.study import SharedStudy

        study = SharedStudy(made, storage)
        if words.folder is not None and (again := study.run_failed_again()):
            _print(f"trials that failed run again, as new ones: {', '.join(map(str, again))}")
        worker = Worker(made, study, Launching(_launched(program), words.flags, trial_words, typed), _print)
        worker.record()
        _print(f"search folder: {made.folder}")
        worker.run()
        return _finish(made, study, worker.told, words.flags)


def _finish(made: "Search", study: Any, told: int | None, flags: Sequence[str]) -> int:
    from vaelab.search.results import CSV, PAGE, Results

    program = ["python", "train.py"] if os.path.isfile("train.py") else ["vaelab", "train"]
    results = Results(made, study, program, flags)
    results.write()
    results.show()
    _print(f"search folder: {made.folder} ({CSV}, {PAGE})")
    if results.missing or results.failed:
        what = "what is not done" if results.missing else "what failed again"
        _print(f"run {what} with resume={quoted(str(made.folder))}")
    if told is not None:
        return Terminated(told).exit_code
    return int(bool(results.failed or results.missing))


def _begin(words: SearchWords, folders: list[Path]) -> "tuple[Search, Storage]":
    """A new search, checked, with its folder made, and where its study will be kept."""
    from vaelab.search.settings import Search, read_node
    from vaelab.search.space import TYPED, read_space, with_typed
    from vaelab.search.storage import Storage, address_of

    of_space = [word for word in words.search if word.lstrip("+~").startswith(TYPED)]
    others = [word for word in words.search if word not in of_space]
    config = _composed([*_with_usual(words.trials), *others], folders)
    hydra = config.hydra
    if hydra.sweeper.get("params") or hydra.sweeper.get("axes"):
        raise ConfigError("the experiment is a sweep by itself; a search needs one run: choose another experiment")
    if not isinstance(config.get(GROUP), DictConfig):
        raise ConfigError(f"sweep={config.get(GROUP)}: choose an option of the group, such as sweep=optuna")
    plain: dict[str, Any] = OmegaConf.to_container(config[GROUP], resolve=True)  # type: ignore[assignment]
    node = read_node({**plain, "storage": address_of(plain.get("storage"))})
    node = replace(node, space=with_typed(node.space, of_space))
    space = read_space(node.space)
    fixed = [key for key in space if without(words.trials, [key]) != words.trials]
    if fixed:
        say(f"note: {', '.join(fixed)}: typed, so it is not searched")
        space = {key: entry for key, entry in space.items() if key not in fixed}
    if not space:
        raise ConfigError("sweep.space: is empty; say what to search, such as sweep.space.latent_dim=[2,8,32]")
    check_space(words.trials, space, folders)
    found = _objectives(words.trials, node, space, folders)
    log_dir, task = str(config.paths.log_dir), str(hydra.runtime.choices.task)
    folder = Path(claim_run_dir(None, str(Path(log_dir, task, "search"))))
    study = f"vaelab {task} {folder.name} {uuid4().hex[:8]}"
    node = replace(node, space={key: value for key, value in node.space.items() if key in space})
    made = Search(folder, command_line(), words.trials, study, found, node, space)
    storage = Storage(node.storage, folder, study)  # which may be refused
    made.write()
    return made, storage


def check_space(words: list[str], space: "Space", folders: list[Path]) -> None:
    """Refuse a space with a value that no trial could run with: an unknown key or option, a wrong type or range.

    Args:
        words: of every trial.
        space: of which each key is tried at both ends of its range, or at all of its values.
        folders: of config groups, vaelab's own first.

    Raises:
        UserError: names the key, the value and what is wrong with it.
    """
    with ending_at_once():
        from vaelab.check import check

    for key, entry in space.items():
        for word in entry.ends(key):
            arguments = [*words, *_first(space, without=key), word]
            try:
                plain = _as_if_running(_composed(_with_usual(arguments), folders))
                with local_settings(plain):
                    check(plain)
            except UserError as error:
                raise type(error)(f"sweep.space.{key}: {word}: {error}") from error
            except COMPOSITION_ERRORS as error:
                raise ConfigError(f"sweep.space.{key}: {explain(error, arguments)}") from error


def _first(space: "Space", without: str = "") -> list[str]:
    """A word for each key."""
    return [entry.ends(key)[0] for key, entry in space.items() if key != without]


def _objectives(words: list[str], node: "Node", space: "Space", folders: list[Path]) -> "list[Objective]":
    """What is searched for. Builds a model: what it measures, and what the task watches, it alone says."""
    from vaelab.check import check
    from vaelab.run import build, draw_seed
    from vaelab.search.settings import wanted

    plain = _as_if_running(_composed(_with_usual([*words, *_first(space)]), folders))
    draw_seed(plain)
    with local_settings(plain):
        cfg, builder = check(plain)
    if not cfg["train"]:
        raise ConfigError("train=false beside a search, which trains; leave it out")
    if cfg["data"].get("seed", 0) is None:
        cfg["data"]["seed"] = cfg["seed"]
    data, module, task, _ = build(cfg, builder)
    return wanted(node, task.watched(module.model), task.validation_names(module.model, data), space)


def _composed(words: list[str], folders: list[Path]) -> DictConfig:
    """The config that some words compose, with Hydra's own under `hydra`."""
    searched = [f"file://{folder.absolute()}" for folder in folders[1:]]
    places = [written("hydra.searchpath", searched)] if searched else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            return compose("train", [*words, *places], return_hydra_config=True)
        except COMPOSITION_ERRORS as error:
            decoder = decoder_instead(error, words, folders)
            if decoder is None:
                raise
            return compose("train", [*words, decoder, *places], return_hydra_config=True)


def _as_if_running(config: DictConfig) -> DictConfig:
    """The config that a run would be given."""
    with read_write(config), open_dict(config):
        config.hydra.job.id = config.hydra.job.num = 0
        config.hydra.runtime.output_dir = os.curdir  # what it is, no check asks
    HydraConfig.instance().set_config(config)
    plain = config.copy()
    with read_write(plain), open_dict(plain):
        del plain["hydra"]
        plain.pop(GROUP, None)
    find_trusted(plain)
    return plain


def _with_usual(words: list[str]) -> list[str]:
    usual = usual_for(words)
    return list(words) if usual is None else [*usual.words, *words]


def _changes(words: Sequence[str]) -> dict[str, Any]:
    """Keys of `sweep` that are typed for a search that goes on."""
    found: dict[str, Any] = {}
    for text in words:
        word = parse_word(text)
        if word is None or word.is_sweep_override() or word.is_delete():
            raise ConfigError(f"{text}: is no setting of a search that goes on")
        found[word.key_or_group.removeprefix(f"{GROUP}.")] = word.value()
    return found


def _launched(program: Sequence[str]) -> list[str]:
    """The program of a trial, for the same Python."""
    return list(program) if os.path.isfile(program[0]) else ["-m", "vaelab", "train"]


def _require_optuna() -> None:
    with ending_at_once():
        try:
            import optuna  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError(f"sweep needs optuna ({error.name} is missing): pip install 'vaelab[search]'") from error


def _print(line: str) -> None:
    if line.startswith("error: "):
        say(line)
    else:
        console(width=None).print(line, soft_wrap=True)
