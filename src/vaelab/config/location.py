"""Where the config groups lie, and a user's own packages."""

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf


def config_dir() -> Path:
    """The folder of config groups: inside an installed package, else beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def groups(folder: Path) -> list[str]:
    """Names of the config groups directly under a config folder, sorted."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


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
