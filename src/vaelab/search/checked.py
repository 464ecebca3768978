"""Compose and check the command line of a search before any trial runs; the same for every engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from vaelab.command_line.as_if_running import as_if_running
from vaelab.command_line.explain import COMPOSITION_ERRORS, explain
from vaelab.command_line.local import local_settings
from vaelab.command_line.own_encoder import with_decoder
from vaelab.command_line.tags import refuse_untagged
from vaelab.config.location import config_dir, find_trusted
from vaelab.config.recorded import parse_word, written
from vaelab.config.usual import Usual, with_usual
from vaelab.errors import ConfigError, UserError
from vaelab.search.space import TYPED, Space, read_space, with_typed
from vaelab.search.words import GROUP, SearchWords, without
from vaelab.signals import ending_at_once, say

if TYPE_CHECKING:
    from vaelab.search.settings import Node, Objective


@dataclass(frozen=True)
class Chosen:
    """The option of `sweep` that a command line chooses.

    Attributes:
        config: the config of a trial, with Hydra's own part under `hydra`.
        node: the keys of the option, without typed keys of the space.
    """

    config: DictConfig
    node: dict[str, Any]


def chosen_option(words: SearchWords, folders: list[Path], note: Callable[[Usual], None] | None = None) -> Chosen:
    """Compose the option of a new search.

        Args:
    words: the words of the command line.
            folders: of config groups, vaelab's own first.
            note: called with the default overrides for data and task.

        Raises:
            ConfigError: the experiment defines a sweep, `sweep` names no option, or tags are missing.
    """
    others = [word for word in words.search if not _is_of_space(word)]
    config = composed([*with_usual(words.trials, note), *others], folders)
    if config.hydra.sweeper.get("params") or config.hydra.sweeper.get("axes"):
        raise ConfigError("the experiment defines a sweep, but a search needs a single run; choose another experiment")
    if not isinstance(config.get(GROUP), DictConfig):
        raise ConfigError(f"sweep={config.get(GROUP)}: choose an option of the group, such as sweep=optuna")
    refuse_untagged(config, config.hydra.runtime.choices.get("debug"))
    plain: dict[str, Any] = OmegaConf.to_container(config[GROUP], resolve=True)  # type: ignore[assignment]
    return Chosen(config, plain)


def searched(words: SearchWords, given: Mapping[str, Any]) -> tuple[dict[str, Any], Space]:
    """Return the search space: that of the option with typed changes, without keys whose value is typed.

        Args:
    words: the words of the command line.
            given: the space of the option.

        Returns:
            The space as written, with typed changes, and as parsed.

        Raises:
            ConfigError: a key is not valid, or nothing is left to search.
    """
    whole = with_typed(given, [word for word in words.search if _is_of_space(word)])
    space = read_space(whole)
    fixed = [key for key in space if without(words.trials, [key]) != words.trials]
    if fixed:
        say(f"note: {', '.join(fixed)}: not searched, since the value is typed")
        space = {key: entry for key, entry in space.items() if key not in fixed}
    if not space:
        raise ConfigError("sweep.space: is empty; set what to search, such as sweep.space.latent_dim=[2,8,32]")
    return whole, space


def _is_of_space(word: str) -> bool:
    return word.lstrip("+~").startswith(TYPED)


def check_space(words: list[str], space: Space, folders: list[Path]) -> None:
    """Refuse a space with invalid values: an unknown key or option, a wrong type or range.

    Args:
        words: the words of every trial.
        space: the space; each key is checked at both ends of its range, or at all of its values.
        folders: of config groups, vaelab's own first.

    Raises:
        UserError: a value is not valid; the message names the key, the value and the reason.
    """
    with ending_at_once():
        from vaelab.check import check

    for key, entry in space.items():
        for word in entry.ends(key):
            arguments = [*words, *_first(space, without=key), word]
            try:
                plain = _checked(arguments, folders)
                with local_settings(plain):
                    check(plain)
            except UserError as error:
                raise type(error)(f"sweep.space.{key}: {word}: {error}") from error
            except COMPOSITION_ERRORS as error:
                raise ConfigError(f"sweep.space.{key}: {explain(error, arguments)}") from error


def _first(space: Space, without: str = "") -> list[str]:
    """Return one word for each key."""
    return [entry.ends(key)[0] for key, entry in space.items() if key != without]


def objectives(words: list[str], node: "Node", space: Space, folders: list[Path]) -> "list[Objective]":
    """Return the objectives. This builds a model, since it determines the metrics and what the task watches."""
    with ending_at_once():
        from vaelab.check import check
        from vaelab.run import build, draw_seed
        from vaelab.search.settings import wanted

    plain = _checked([*words, *_first(space)], folders)
    draw_seed(plain)
    with local_settings(plain):
        cfg, builder = check(plain)
    if not cfg["train"]:
        raise ConfigError("train=false: a search trains; leave it out")
    if cfg["data"].get("seed", 0) is None:
        cfg["data"]["seed"] = cfg["seed"]
    data, module, task, _ = build(cfg, builder)
    return wanted(node, task.watched(module.model), task.validation_names(module.model, data), space)


def composed(words: list[str], folders: list[Path]) -> DictConfig:
    """Compose words to a config, with Hydra's own part under `hydra`."""
    searched = [f"file://{folder.absolute()}" for folder in folders[1:]]
    places = [written("hydra.searchpath", searched)] if searched else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return with_decoder(
            lambda found: compose("train", [*found, *places], return_hydra_config=True), list(words), folders
        )


def _checked(words: list[str], folders: list[Path]) -> DictConfig:
    """Return the config that a trial with these words would receive."""
    plain = as_if_running(composed(with_usual(words), folders), 0)
    with open_dict(plain):
        plain.pop(GROUP, None)
    find_trusted(plain)
    return plain


def changes(words: Sequence[str]) -> dict[str, Any]:
    """Return the keys of `sweep` that are typed for a resumed search."""
    found: dict[str, Any] = {}
    for text in words:
        word = parse_word(text)
        if word is None or word.is_sweep_override() or word.is_delete():
            raise ConfigError(f"{text}: cannot be set for a resumed search")
        found[word.key_or_group.removeprefix(f"{GROUP}.")] = word.value()
    return found
