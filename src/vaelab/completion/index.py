"""What can be completed, collected once from the composed config and kept in the user's cache folder.

Composing the config takes too long for a TAB. The index is keyed by the version and by the names and times of all files
in `conf/`, so it is built again after either of them changes.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from vaelab import __version__
from vaelab.atomic_write import replacing
from vaelab.config.location import config_dir

BEGUN = ".begun"
GIVEN_UP = 600  # seconds after which a process that has begun to build the index is taken for dead
KEPT = 30 * 24 * 3600  # seconds for which the index of another version is kept

Tree = dict[str, Any]  # keys of a config; a leaf is True for a truth value, and None for any other
Commands = Mapping[str, Callable[[list[str]], Any]]
Choices = dict[str, str | list[str] | None]


@dataclass
class Index:
    """What can be completed.

    Args:
        commands: each command of `vaelab` with its flags.
        groups: options of each config group.
        defaults: the option of each group in a run without overrides.
        root: the keys of a run without overrides.
        keys: the keys that an option `<group>=<option>` has under the name of its group.
        choices: the options of other groups that an option `<group>=<option>` changes.
    """

    commands: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    defaults: Choices = field(default_factory=dict)
    root: Tree = field(default_factory=dict)
    keys: dict[str, Tree] = field(default_factory=dict)
    choices: dict[str, Choices] = field(default_factory=dict)


def options(folder: Path) -> dict[str, list[str]]:
    """The groups in a folder of options, with the names of their options.

    Args:
        folder: such as `conf`; it need not exist.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(_files(folder)):
        within = path.parent.relative_to(folder)
        if within.parts and not set(within.parts) & {"part", "hydra", "paths", "local"}:
            found.setdefault(within.as_posix(), []).append(path.stem)
    return found


def place() -> Path:
    """Where the index of this version and these options is kept."""
    lines = [__version__, *(f"{path} {path.stat().st_mtime_ns}" for path in sorted(_files(config_dir())))]
    mark = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "vaelab", f"completion-{mark}.json")


def read() -> Index | None:
    """The index, or None while there is none that can be read: then a process in the background begins to build it."""
    try:
        where = place()
    except (OSError, RuntimeError):  # an installation that is being changed, or no home folder
        return None
    try:
        return Index(**json.loads(where.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # there is none yet, or it is broken
        _build_in_background(where)
    except OSError:  # a TAB is no place for messages about a cache
        pass
    return None


def build(commands: Commands) -> Path:
    """Compose each option once, ask each command for its flags, and write the index.

    Args:
        commands: those of `vaelab`, each called with the words behind its name.

    Raises:
        OSError: the cache folder cannot be written.
    """
    where = place()
    index = _collect(commands)
    with replacing(where) as partial:
        partial.write_text(json.dumps(asdict(index), separators=(",", ":")), encoding="utf-8")
    where.with_suffix(BEGUN).unlink(missing_ok=True)
    for old in where.parent.glob("completion-*"):  # other environments may have recent ones
        if _age(old) > KEPT:
            old.unlink(missing_ok=True)
    return where


def _age(path: Path) -> float:
    """Seconds since a file was written; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.yaml") if not path.name.startswith("."))


def _build_in_background(where: Path) -> None:
    """At most one process at a time for each version of the index: a marker file says that one has begun."""
    marker = where.with_suffix(BEGUN)
    if not where.parents[2].is_dir():  # a home folder that does not exist is not made
        return
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        if marker.exists() and _age(marker) > GIVEN_UP:
            marker.unlink(missing_ok=True)
        marker.touch(exist_ok=False)
    except OSError:
        return
    script = Path(sysconfig.get_path("scripts"), "vaelab")
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "vaelab"]
    subprocess.Popen(
        [*command, "completion", "--index"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=where.parent,  # nothing in the folder of the user is imported
    )


def _collect(commands: Commands) -> Index:
    # Imported here, since a TAB that reads the index has no time for it.
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    index = Index({name: _flags(name, run) for name, run in commands.items()}, options(config_dir()))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):

        def composed(words: list[str]) -> tuple[Tree, Choices]:
            config = compose("train", words, return_hydra_config=True)
            chosen = OmegaConf.to_container(config.hydra.runtime.choices)
            assert isinstance(chosen, dict)
            plain = OmegaConf.to_container(OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"]))
            return _tree(plain), {str(k): v for k, v in chosen.items() if not str(k).startswith("hydra")}

        index.root, index.defaults = composed([])
        for group, names in index.groups.items():
            for name in names:
                word = f"{group}={name}"
                try:
                    tree, chosen = composed([word])
                except Exception:  # it needs another override beside it, or is no YAML: then its keys are not completed
                    continue
                found = tree
                for part in group.split("/"):
                    found = found.get(part) or {}
                index.keys[word] = found
                index.choices[word] = {k: v for k, v in chosen.items() if index.defaults.get(k) != v and k != group}
    return index


def _tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _tree(inner) for key, inner in value.items() if key != "_target_"}
    return True if isinstance(value, bool) else None


def _flags(command: str, run: Callable[[list[str]], Any]) -> list[str]:
    """The long flags that the help of a command names."""
    if command in ("train", "eval"):  # their help is of options; Hydra has the flags
        return ["--cfg", "--config-dir", "--help", "--info", "--multirun", "--version"]
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()), suppress(SystemExit):
        run(["--help"])
    shown = printed.getvalue()
    flags = shown.partition("\noptions:\n")[2].partition("\n\n")[0]
    return sorted(set(re.findall(r"^ {2,4}(?:-\w(?: [\w/]+)?, )?(--[a-z][\w-]*)", flags, re.MULTILINE)))
