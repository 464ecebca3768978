"""Compose a run's config again: to go on with it (`resume=...`), to evaluate it (`train=false ckpt_path=...`), or to do
all of it again (`vaelab rerun ...`).

What a run folder says is data, and may come from a stranger: of it only choices among options and plain values of
existing keys are taken; see `vaelab.config.recorded`. All else that was typed once has to be typed again.
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
OWN_WORDS = {  # never those of the run
    "resume": ("resume",),
    "evaluation": ("resume", "train", "test", "ckpt_path"),
    "rerun": ("resume",),  # of a run that went on: all of it is done again, from the beginning
}
# Words that nobody misses: where new folders go, how a sweep is run of which this was a job, and what only trains.
_OF_FOLDERS = ("paths.log_dir", "paths.output_dir", "hydra.mode", "hydra.sweep", "hydra.sweeper", "launcher")
_OF_PROCESSES = ("trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.profiler")
MAY_BE_DROPPED = {
    "resume": _OF_FOLDERS,
    "evaluation": (*_OF_FOLDERS, *_OF_PROCESSES, "optimizer", "scheduler"),
    "rerun": _OF_FOLDERS,
}


@dataclass(frozen=True)
class Continuation:
    """A run that is gone on with, evaluated or done again.

    Attributes:
        kind: which of the three.
        run: what its folder says.
        arguments: the command line that composes its config, flags included.
        added: the words among them that nobody typed: options and values as they were in force.
    """

    kind: Kind
    run: Recorded
    arguments: list[str]
    added: frozenset[str] = field(default=frozenset())

    def typed(self, words: Iterable[str]) -> list[str]:
        """Those of the words of a composed config that were typed, now or when the run began."""
        return [word for word in words if word not in self.added]


def compose_again(arguments: list[str]) -> Continuation | None:
    """What a command line goes on with or evaluates; None if it does neither.

    Raises:
        CheckpointError: the run cannot be gone on with, its record is broken, or words have to be typed again.
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
                f"resume={resume} ckpt_path={ckpt_path}: resume goes on in the folder of a run, ckpt_path begins a new "
                "run from the weights of another; give one of them"
            )
        if evaluates:
            raise ConfigError(
                f"resume={resume} train=false: resume goes on with training; train=false ckpt_path={resume} evaluates"
            )
        return _Composition("resume", _resumed(str(resume)), flags, words, typed).result(sweeps)
    if not evaluates or "ckpt_path" not in own:
        return None
    if own["ckpt_path"].is_sweep_override():
        raise ConfigError("ckpt_path: each run has a config of its own, so evaluate one run at a time")
    folder = run_folder(Path(str(ckpt_path))) if ckpt_path else None
    if folder is None:
        return None
    return _Composition("evaluation", read_recorded(folder), flags, words, typed).result(sweeps)


def compose_rerun(folder: Path, arguments: list[str]) -> Continuation:
    """What does a run again from its beginning.

    Its options and values come from its folder, also those that are no longer the default, and a seed that was drawn.

    Args:
        folder: of the run.
        arguments: flags, and words that win over those of the run.

    Raises:
        CheckpointError: the record is broken, or words have to be typed again.
    """
    flags, words = parts(arguments)
    words = [_number_as_text(word) for word in words]
    typed = {text: word for text in words if (word := parse_word(text)) is not None}
    return _Composition("rerun", read_recorded(folder), flags, words, typed).result(sweeps=False)


def _number_as_text(text: str) -> str:
    """A word that names a run, such as `resume=0` in the folder of a sweep, so that it is read as a path."""
    word = parse_word(text) if text.startswith(("resume=", "ckpt_path=")) else None
    if word is None or word.is_sweep_override() or type(word.value()) not in (int, float):
        return text
    return written(word.key_or_group, text.partition("=")[2].strip())


def run_folder(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint, a folder of them or a `model/` lies in; None outside of any run."""
    inside = checkpoint.absolute()
    inside = inside if inside.is_dir() else inside.parent
    folder = inside.parent if inside.name in ("checkpoints", "model") else inside
    return folder if all((folder / name).is_file() for name in ("config.yaml", "overrides.yaml")) else None


def _value(words: dict[str, Override], key: str) -> Any:
    """What a key is set to; None if it is not, or to several values."""
    word = words.get(key)
    return None if word is None or word.is_sweep_override() else word.value()


def _is_false(value: Any) -> bool:
    """As the check of the config reads it."""
    return str(value).lower() in ("false", "0", "off", "f", "no", "n")


def _resumed(resume: str) -> Recorded:
    folder = Path(resume)
    if not (folder / "overrides.yaml").is_file():
        raise CheckpointError(f"resume={resume}: no run folder is there (overrides.yaml is missing)")
    if not can_go_on(folder):
        raise CheckpointError(f"resume={resume}: the run has no checkpoints/last.ckpt to go on from")
    refuse_links_out(folder)
    return read_recorded(folder)


class _Composition:
    """Puts a command line together: options and values of the run first, then what is typed now."""

    def __init__(
        self, kind: Kind, run: Recorded, flags: list[str], words: list[str], typed: dict[str, Override]
    ) -> None:
        if kind == "resume" and isinstance(run.config.get("seed"), int):  # `seed=null` is the one that the run drew
            typed = {text: word for text, word in typed.items() if place(word) != "seed" or _plain(word) is not None}
            words = [text for text in words if text in typed or parse_word(text) is None]
        self.kind, self.run, self.flags, self.words, self.typed = kind, run, flags, words, typed
        self._folders = [config_dir(), *config_folders(flags)]
        self._searches = any(word.key_or_group == "hydra.searchpath" for word in typed.values())
        self._keys = {_key(word) for word in typed.values()}
        # An option that is typed as the run has it changes nothing, nor the values of the run under it.
        new = {text: word for text, word in typed.items() if run.choices.get(_key(word), _ABSENT) != _plain(word)}
        self._places = [place(word) for word in new.values()]
        for text, word in new.items():
            if word.key_or_group in GLOBAL_GROUPS and isinstance(_plain(word), str):
                self._places += self._set_by(text)
        self._again: dict[str, Override] = {}  # what has to be typed again
        self._own_options: list[str] = []  # of folders that are not named now

    def result(self, sweeps: bool) -> Continuation:
        """The whole command line.

        Raises:
            CheckpointError: names all that has to be typed again.
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
            raise ConfigError("--multirun: the experiment of the run is a sweep by itself; evaluate without --multirun")
        settings = [written(key, value) for key, value in leaves.items()]
        last = [] if sweeps else ["hydra.mode=RUN"]  # one job of a sweep goes on alone
        arguments = [*self.flags, *options.values(), *chosen.values(), *values, *settings, *typed, *last]
        return Continuation(self.kind, self.run, arguments, frozenset([*options.values(), *settings]))

    def _options(self) -> dict[str, str]:
        """The option of each group as it was in force, by the group."""
        found = {}
        for group, option in self.run.choices.items():
            if config_place(group).partition(".")[0] in MACHINE or group in self._keys or self._is_typed(group):
                continue
            if not is_option(group, option):
                raise CheckpointError(f"{self.run.folder / 'choices.yaml'}: {group}={option} is no option of a group")
            if self._has(group, option):
                found[group] = f"{group}={option}"
            else:
                self._own_options.append(f"{group}={option}")
        for group, option in BEFORE.items():
            if self.run.choices and group not in (*self.run.choices, *self._keys) and not self._is_typed(group):
                found[group] = f"{group}={option}"
        return found

    def _taken(self) -> tuple[dict[str, str], dict[str, Override]]:
        """Of the words of the run, those that choose an option, by the group, and those that set a value."""
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
        """The words of the run, the last one of each key."""
        newest: dict[str, tuple[str, Override]] = {}
        for text in self.run.words:
            word = parse_word(text.replace(HIDDEN, "hidden"))
            if word is None:
                raise CheckpointError(f"{self.run.folder / 'overrides.yaml'}: is not a list of overrides")
            newest.pop(_key(word), None)
            newest[_key(word)] = text, word
        return dict(newest.values())

    def _chooses(self, word: Override) -> bool:
        """Whether a word names options that there are."""
        if word.type != OverrideType.CHANGE or word.is_sweep_override():
            return False
        value: Any = word.value()
        named = value if isinstance(value, list) else [value]
        options = [option for option in named if isinstance(option, str) and is_option(_key(word), option)]
        return len(options) == len(named) > 0 and all(self._has(_key(word), option) for option in options)

    def _declines(self, text: str) -> bool:
        """Whether a word takes out what the run had added: nothing is there to be taken out now."""
        word = self.typed.get(text)
        if word is None or not (word.is_delete() or (word.type == OverrideType.CHANGE and _plain(word) is None)):
            return False
        return any(w.is_add() and covers(place(word), place(w)) for w in self._newest().values())

    def _leaves(self, node: Any, recorded: Any, known: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Keys whose value in the run is another than what its options and words give now, with that value."""
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
        """Name what has to be typed again, unless the config has the value of the run all the same."""
        again = [text for text, word in self._again.items() if not self._has_anyway(config, word)]
        asked = f"{_ASKED[self.kind]}{self.run.folder}"
        if again:
            hidden = f" ({HIDDEN} stands for a secret, which is kept nowhere)" if HIDDEN in " ".join(again) else ""
            typed = " ".join(map(typed_word, again))
            raise CheckpointError(
                f"{asked}: a run folder may come from somebody else, so not all of its words are taken from it. Type "
                f"these again if they are yours, or the same keys with other values: {typed}{hidden}"
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
        """The places of groups and keys that an option for the whole config decides on."""
        with_it, without = self._composed([text]), self._composed([])
        chosen, usual = (config.hydra.runtime.choices for config in (with_it, without))
        groups = [config_place(group) for group in chosen if chosen[group] != usual.get(group)]
        return [*groups, *_differing(with_it, without)]

    def _composed(self, words: Iterable[str]) -> DictConfig:
        """The config that some words compose, with Hydra's own under `hydra`; interpolations stay."""
        searched = [f"file://{folder.absolute()}" for folder in self._folders[1:]]
        places = [written("hydra.searchpath", searched)] if searched and not self._searches else []
        before = GlobalHydra.instance().hydra  # that of a sweep, of which a job is composed
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
    """A plain value as an override, without quotes where it needs none."""
    bare = parse_word(f"{key}={value}") if isinstance(value, str) else None
    plain = bare is not None and not bare.is_sweep_override() and bare.value() == value
    return f"{key}={value}" if plain else written(key, value)


def _plain(word: Override) -> Any:
    return None if word.is_sweep_override() or word.is_delete() else word.value()


def _node(config: DictConfig, key: str) -> Any:
    """The node at a key, not resolved; None if there is none."""
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation() or name not in list(node):
            return None
        node = node._get_node(name)
    return node


def _plain_node(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()


def _plain_config(config: DictConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """A config with some values set, as plain data; interpolations stay."""
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
    """Whether a value is in a config, all keys of a dict included."""
    if isinstance(value, dict):
        return all(_holds(_at(config, str(name)), part) for name, part in value.items())
    return bool(config == value)


def _differing(one: DictConfig, other: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys under which two configs differ, Hydra's own left out."""
    for name in one:
        key, node, twin = prefix + str(name), one._get_node(str(name)), _node(other, str(name))
        if key == "hydra":
            continue
        if isinstance(node, DictConfig) and isinstance(twin, DictConfig) and not node._is_none():
            yield from _differing(node, twin, f"{key}.")
        elif twin is None or _plain_node(node) != _plain_node(twin):
            yield key
