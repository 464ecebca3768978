"""Compose the config of a run again: to resume it (`resume=...`), to evaluate it (`train=false ckpt_path=...`), or to
repeat it (`vaelab rerun ...`).

A run folder is data and may be untrusted: only choices among existing options and plain values of existing keys are
taken from it; see `vaelab.config.recorded`. Everything else that was typed must be typed again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.config.command_line import config_folders, parts
from vaelab.config.location import config_dir
from vaelab.config.recorded import (
    MACHINE,
    Recorded,
    config_place,
    covers,
    decides_reach,
    is_option,
    is_plain,
    is_setting,
    may_be_set,
    parse_word,
    place,
    read_recorded,
    refuse_links_out,
    written,
)
from vaelab.errors import CheckpointError, ConfigError
from vaelab.quoting import typed_word
from vaelab.run_folder import can_go_on
from vaelab.secrets import HIDDEN

Kind = Literal["resume", "evaluation", "rerun"]

BEFORE = {"latent": "vector", "shortcut": "none"}  # options of runs of version 0.1
GLOBAL_GROUPS = ("experiment", "debug")  # their options set keys of other groups
OWN_WORDS = {  # keys that are never taken from the run
    "resume": ("resume",),
    "evaluation": ("resume", "train", "test", "ckpt_path"),
    "rerun": ("resume",),  # a resumed run is repeated as a whole, from the beginning
}
# Words that are dropped silently: where new folders go, how the sweep of this job ran, and what only affects training.
_OF_FOLDERS = ("paths.log_dir", "paths.output_dir", "hydra.mode", "hydra.sweep", "hydra.sweeper", "launcher")
_OF_PROCESSES = ("trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.profiler")
MAY_BE_DROPPED = {
    "resume": _OF_FOLDERS,
    "evaluation": (*_OF_FOLDERS, *_OF_PROCESSES, "optimizer", "scheduler"),
    "rerun": _OF_FOLDERS,
}


@dataclass(frozen=True)
class Continuation:
    """A run that is resumed, evaluated or repeated.

    Attributes:
        kind: which of the three.
        run: the record in its folder.
        arguments: the command line that composes its config, including flags.
        added: the arguments that nobody typed: options and values that were in effect.
    """

    kind: Kind
    run: Recorded
    arguments: list[str]
    added: frozenset[str] = field(default=frozenset())

    def typed(self, words: Iterable[str]) -> list[str]:
        """Return those words of a composed config that were typed, now or when the run began."""
        return [word for word in words if word not in self.added]


def compose_again(arguments: list[str]) -> Continuation | None:
    """Return the run that a command line resumes or evaluates; None if it does neither.

    Raises:
        CheckpointError: the run cannot be resumed, its record is damaged, or words must be typed again.
        ConfigError: the words contradict each other.
    """
    flags, words = parts(arguments)
    words = [_number_as_text(word) for word in words]
    if not any(word.lstrip("+").startswith(("resume=", "train=")) for word in words):
        return None
    typed = {text: word for text in words if (word := parse_word(text)) is not None}
    own = {word.key_or_group: word for word in typed.values()}
    resume, ckpt_path = _value(own, "resume"), _value(own, "ckpt_path")
    evaluates = _is_false(_value(own, "train"))
    sweeps = bool({"-m", "--multirun"} & set(flags))
    if resume:
        if sweeps:
            raise CheckpointError("resume=...: resumes one run; leave out --multirun")
        if ckpt_path:
            raise ConfigError(
                f"resume={resume} ckpt_path={ckpt_path}: resume continues a run in its folder, ckpt_path starts a new "
                "run from the weights of another run; give one of them"
            )
        if evaluates:
            raise ConfigError(
                f"resume={resume} train=false: resume continues training; train=false ckpt_path={resume} evaluates"
            )
        return _Composition("resume", _resumed(str(resume)), flags, words, typed).result(sweeps)
    if not evaluates or "ckpt_path" not in own:
        return None
    if own["ckpt_path"].is_sweep_override():
        raise ConfigError("ckpt_path: each run has its own config, so evaluate one run at a time")
    folder = run_folder(Path(str(ckpt_path))) if ckpt_path else None
    if folder is None:
        return None
    return _Composition("evaluation", read_recorded(folder), flags, words, typed).result(sweeps)


def compose_rerun(folder: Path, arguments: list[str]) -> Continuation:
    """Return the command line that repeats a run from its beginning.

    Options and values come from its folder, including former defaults and a seed that was drawn.

    Args:
        folder: the run folder.
        arguments: flags, and overrides that replace those of the run.

    Raises:
        CheckpointError: the record is damaged, or words must be typed again.
    """
    flags, words = parts(arguments)
    words = [_number_as_text(word) for word in words]
    typed = {text: word for text in words if (word := parse_word(text)) is not None}
    return _Composition("rerun", read_recorded(folder), flags, words, typed).result(sweeps=False)


def _number_as_text(text: str) -> str:
    """Quote a number in a word that names a run, such as `resume=0` in the folder of a sweep, so that it is a path."""
    word = parse_word(text) if text.startswith(("resume=", "ckpt_path=")) else None
    if word is None or word.is_sweep_override() or type(word.value()) not in (int, float):
        return text
    return written(word.key_or_group, text.partition("=")[2].strip())


def run_folder(checkpoint: Path) -> Path | None:
    """Return the run folder of a checkpoint, a checkpoint folder or a `model/`; None if it is not in a run."""
    inside = checkpoint.absolute()
    inside = inside if inside.is_dir() else inside.parent
    folder = inside.parent if inside.name in ("checkpoints", "model") else inside
    return folder if all((folder / name).is_file() for name in ("config.yaml", "overrides.yaml")) else None


def _value(words: dict[str, Override], key: str) -> Any:
    """Return the value that a key is set to; None if it is not set, or has several values."""
    word = words.get(key)
    return None if word is None or word.is_sweep_override() else word.value()


def _is_false(value: Any) -> bool:
    """Whether a value is false for the check of the config."""
    return str(value).lower() in ("false", "0", "off", "f", "no", "n")


def _resumed(resume: str) -> Recorded:
    folder = Path(resume)
    if not (folder / "overrides.yaml").is_file():
        raise CheckpointError(f"resume={resume}: is not a run folder (overrides.yaml is missing)")
    if not can_go_on(folder):
        raise CheckpointError(f"resume={resume}: the run has no checkpoints/last.ckpt to resume from")
    refuse_links_out(folder)
    return read_recorded(folder)


class _Composition:
    """Composes a command line: options and values of the run first, then the words typed now."""

    def __init__(
        self, kind: Kind, run: Recorded, flags: list[str], words: list[str], typed: dict[str, Override]
    ) -> None:
        if kind == "resume" and isinstance(
            run.config.get("seed"), int
        ):  # with `seed=null`, it is the seed that the run drew
            typed = {text: word for text, word in typed.items() if place(word) != "seed" or _plain(word) is not None}
            words = [text for text in words if text in typed or parse_word(text) is None]
        self.kind, self.run, self.flags, self.words, self.typed = kind, run, flags, words, typed
        self._folders = [config_dir(), *config_folders(flags)]
        self._searches = any(word.key_or_group == "hydra.searchpath" for word in typed.values())
        self._keys = {_key(word) for word in typed.values()}
        # Typing an option that the run already has changes nothing, nor the values of the run below it.
        new = {text: word for text, word in typed.items() if run.choices.get(_key(word), _ABSENT) != _plain(word)}
        self._places = [place(word) for word in new.values()]
        for text, word in new.items():
            if word.key_or_group in GLOBAL_GROUPS and isinstance(_plain(word), str):
                self._places += self._set_by(text)
        if kind == "resume" and {"trainer.max_epochs", "trainer.max_steps"} & self._keys:
            self._places.append("effort")  # a number takes the place of the run's own length of training
        self._again: dict[str, Override] = {}  # words that must be typed again
        self._own_options: list[str] = []  # options from folders that are not named now

    def result(self, sweeps: bool) -> Continuation:
        """Return the whole command line.

        Raises:
            CheckpointError: words must be typed again; the message lists all of them.
        """
        options = self._options()
        chosen, values = self._taken()
        options = {key: text for key, text in options.items() if key not in chosen}
        typed = [text for text in self.words if not self._declines(text)]
        try:
            base = self._composed([*options.values(), *chosen.values(), *self._without_sweeps(typed)])
        except (HydraException, OmegaConfBaseException):
            self._refuse({})
            raise
        typed = [text for text in self.words if text in typed or _node(base, place(self.typed[text])) is not None]
        for text, word in list(values.items()):
            if _node(base, place(word)) is None:
                self._again[text] = values.pop(text)
        known = {place(word): word.value() for word in values.values()}
        leaves = dict(self._leaves(base, self.run.config, known))
        self._refuse(_plain_config(base, known | leaves))
        if sweeps and self._is_sweep(base):
            raise ConfigError("--multirun: the experiment of the run defines a sweep; evaluate without --multirun")
        settings = [written(key, value) for key, value in leaves.items()]
        last = [] if sweeps else ["hydra.mode=RUN"]  # a single job of a sweep is resumed
        arguments = [*self.flags, *options.values(), *chosen.values(), *values, *settings, *typed, *last]
        return Continuation(self.kind, self.run, arguments, frozenset([*options.values(), *settings]))

    def _options(self) -> dict[str, str]:
        """Return the option of each group that was in effect."""
        found = {}
        for group, option in self.run.choices.items():
            if config_place(group).partition(".")[0] in MACHINE or group in self._keys or self._is_typed(group):
                continue
            if not is_option(group, option):
                raise CheckpointError(
                    f"{self.run.folder / 'choices.yaml'}: {group}={option} is not an option of a group"
                )
            if self._has(group, option):
                found[group] = f"{group}={option}"
            else:
                self._own_options.append(f"{group}={option}")
        for group, option in BEFORE.items():
            if self.run.choices and group not in (*self.run.choices, *self._keys) and not self._is_typed(group):
                found[group] = f"{group}={option}"
        return found

    def _taken(self) -> tuple[dict[str, str], dict[str, Override]]:
        """Return the words of the run that choose an option, by group, and those that set a value."""
        chosen: dict[str, str] = {}
        values: dict[str, Override] = {}
        for text, word in self._newest().items():
            group = _key(word)
            droppable = any(covers(above, place(word)) for above in (*OWN_WORDS[self.kind], *MAY_BE_DROPPED[self.kind]))
            if group in self._keys or self._is_typed(group) or droppable or text in self._own_options:
                continue
            scheduled = None if place(word) in MACHINE else self.run.choices.get(group)
            if self._is_group(word) and scheduled is not None and isinstance(_plain(word), str):
                if scheduled == _plain(word):
                    chosen[group] = text
            elif self._is_group(word) and self._chooses(word):
                chosen[group] = text
            elif not self._is_group(word) and HIDDEN not in text and is_setting(word):
                values[text] = word
            elif not (place(word) == "trusted" and _plain(word) == []):
                self._again[text] = word
        return chosen, values

    def _newest(self) -> dict[str, Override]:
        """Return the words of the run, only the last one for each key."""
        newest: dict[str, tuple[str, Override]] = {}
        for text in self.run.words:
            word = parse_word(text.replace(HIDDEN, "hidden"))
            if word is None:
                raise CheckpointError(f"{self.run.folder / 'overrides.yaml'}: is not a list of overrides")
            newest.pop(_key(word), None)
            newest[_key(word)] = text, word
        return dict(newest.values())

    def _chooses(self, word: Override) -> bool:
        """Whether a word names existing options."""
        if word.type != OverrideType.CHANGE or word.is_sweep_override():
            return False
        value: Any = word.value()
        named = value if isinstance(value, list) else [value]
        options = [option for option in named if isinstance(option, str) and is_option(_key(word), option)]
        return len(options) == len(named) > 0 and all(self._has(_key(word), option) for option in options)

    def _declines(self, text: str) -> bool:
        """Whether a word removes what the run had added, so that there is nothing to remove now."""
        word = self.typed.get(text)
        if word is None or not (word.is_delete() or (word.type == OverrideType.CHANGE and _plain(word) is None)):
            return False
        return any(w.is_add() and covers(place(word), place(w)) for w in self._newest().values())

    def _leaves(self, node: Any, recorded: Any, known: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield keys whose recorded value differs from what the run's options and words give now, with that value."""
        for name in node:
            key, child = f"{prefix}{name}", node._get_node(name)
            skipped = key in (*MACHINE, *OWN_WORDS[self.kind]) or any(covers(above, key) for above in self._places)
            if skipped or name not in recorded or child._is_interpolation():
                continue
            value = recorded[name]
            if isinstance(child, DictConfig) and not child._is_none() and value is not None:
                if isinstance(value, dict):
                    yield from self._leaves(child, value, known, f"{key}.")
            elif value != known.get(key, _plain_node(child)):
                text = _bare(key, value) if decides_reach(key) and is_plain(value) else ""
                if may_be_set(key, value):
                    yield key, value
                elif text and key not in MAY_BE_DROPPED[self.kind] and (word := parse_word(text)) is not None:
                    self._again.setdefault(text, word)

    def _refuse(self, config: dict[str, Any]) -> None:
        """Refuse if words must be typed again, unless the config has the value of the run anyway."""
        again = [text for text, word in self._again.items() if not self._has_anyway(config, word)]
        asked = f"{_ASKED[self.kind]}{self.run.folder}"
        if again:
            hidden = f" ({HIDDEN} stands for a secret, which is not stored)" if HIDDEN in " ".join(again) else ""
            typed = " ".join(map(typed_word, again))
            raise CheckpointError(
                f"{asked}: a run folder may be untrusted, so not all of its words are used. If they are yours, type "
                f"them again, with the same or other values: {typed}{hidden}"
            )
        if self._own_options:
            raise CheckpointError(
                f"{asked}: {', '.join(self._own_options)}: there is no such option here; if it is one of your own, "
                "name its folder again with --config-dir"
            )

    def _has_anyway(self, config: dict[str, Any], word: Override) -> bool:
        """Whether a word would change nothing."""
        key, there = place(word), _at(config, place(word))
        machine = key.partition(".")[0] in ("hydra", "trusted")
        if machine or word.type != OverrideType.CHANGE or word.is_sweep_override() or there is _ABSENT:
            return False
        value = word.value()
        if self._is_group(word) and isinstance(value, str):
            return bool(_at(config, "hydra.runtime.choices").get(_key(word)) == value)
        return there == _at(self.run.config, key) if "${" in str(value) else _holds(there, value)

    def _set_by(self, text: str) -> list[str]:
        """Return the places of groups and keys that an option for the whole config sets."""
        with_it, without = self._composed([text]), self._composed([])
        chosen, usual = (config.hydra.runtime.choices for config in (with_it, without))
        groups = [config_place(group) for group in chosen if chosen[group] != usual.get(group)]
        return [*groups, *_differing(with_it, without)]

    def _composed(self, words: Iterable[str]) -> DictConfig:
        """Compose words to a config, with Hydra's own part under `hydra`; interpolations stay."""
        searched = [f"file://{folder.absolute()}" for folder in self._folders[1:]]
        places = [written("hydra.searchpath", searched)] if searched and not self._searches else []
        before = GlobalHydra.instance().hydra  # that of a sweep, one of whose jobs is composed
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(config_dir()), version_base="1.3"):
                return compose("train", [*words, *places], return_hydra_config=True)
        finally:
            GlobalHydra.instance().hydra = before

    def _without_sweeps(self, texts: Iterable[str]) -> list[str]:
        return [text for text in texts if text not in self.typed or not self.typed[text].is_sweep_override()]

    def _is_typed(self, key: str) -> bool:
        return any(covers(above, config_place(key)) for above in self._places)

    def _is_group(self, word: Override) -> bool:
        return "." not in word.key_or_group and any((folder / word.key_or_group).is_dir() for folder in self._folders)

    def _has(self, group: str, option: str) -> bool:
        name = f"{group.partition('@')[0]}/{option}.yaml"
        return self._searches or any((folder / name).is_file() for folder in self._folders)

    @staticmethod
    def _is_sweep(config: DictConfig) -> bool:
        sweeper = config.hydra.sweeper
        return bool(sweeper.get("params") or sweeper.get("axes"))


_ABSENT = object()
_ASKED = {"resume": "resume=", "evaluation": "ckpt_path=", "rerun": "vaelab rerun "}


def _key(word: Override) -> str:
    return f"{word.key_or_group}@{word.package}" if word.package else word.key_or_group


def _bare(key: str, value: Any) -> str:
    """Return a plain value as an override, with quotes only if needed."""
    bare = parse_word(f"{key}={value}") if isinstance(value, str) else None
    plain = bare is not None and not bare.is_sweep_override() and bare.value() == value
    return f"{key}={value}" if plain else written(key, value)


def _plain(word: Override) -> Any:
    return None if word.is_sweep_override() or word.is_delete() else word.value()


def _node(config: DictConfig, key: str) -> Any:
    """Return the unresolved node at a key; None if there is none."""
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation() or name not in list(node):
            return None
        node = node._get_node(name)
    return node


def _plain_node(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()


def _plain_config(config: DictConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a config with some values set, as plain data; interpolations stay."""
    for key, value in settings.items():
        OmegaConf.update(config, key, value, merge=False)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return plain


def _at(config: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return _ABSENT
        config = config[name]
    return config


def _holds(config: Any, value: Any) -> bool:
    """Whether a config contains a value; for a dict, all its keys."""
    if isinstance(value, dict):
        return all(_holds(_at(config, str(name)), part) for name, part in value.items())
    return bool(config == value)


def _differing(one: DictConfig, other: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield keys in which two configs differ, without Hydra's own."""
    for name in one:
        key, node, twin = prefix + str(name), one._get_node(str(name)), _node(other, str(name))
        if key == "hydra":
            continue
        if isinstance(node, DictConfig) and isinstance(twin, DictConfig) and not node._is_none():
            yield from _differing(node, twin, f"{key}.")
        elif twin is None or _plain_node(node) != _plain_node(twin):
            yield key
