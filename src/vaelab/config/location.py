"""Where the config groups lie, and a user's own packages."""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from vaelab.errors import ConfigError


def config_dir() -> Path:
    """The folder of config groups: inside an installed package, else beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def groups(folder: Path) -> list[str]:
    """Names of the config groups directly under a config folder, sorted."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


def refuse_same_options(folders: Sequence[Path]) -> None:
    """Refuse options of a user's own that Hydra would not see, since vaelab has some of the same name.

    Args:
        folders: of `--config-dir`.

    Raises:
        ConfigError: names the first.
    """
    own = config_dir()
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() and folder.resolve() != own.resolve() else []:
            within = path.relative_to(folder)
            if len(within.parts) > 1 and within.parts[0] != "local" and (own / within).is_file():
                word = f"{within.parent.as_posix()}={within.stem}"
                raise ConfigError(f"{path}: vaelab has {word} itself, and takes that; give this one another name")


def find_trusted(config: DictConfig) -> None:
    """Let packages of the current folder be imported that the config trusts and that are installed nowhere.

    `python` looks into the folder of the script, an installed command into none: the current folder joins what is
    searched, in the last place, only where a trusted package lies in it. Nothing is imported.
    """
    packages = OmegaConf.select(config, "trusted", throw_on_resolution_failure=False)
    here = str(Path.cwd())
    for package in packages if isinstance(packages, ListConfig) else []:
        name = str(package).partition(".")[0]
        known = not name.isidentifier() or name in sys.modules or find_spec(name) is not None
        if not known and PathFinder.find_spec(name, [here]) is not None:
            sys.path.append(here)
