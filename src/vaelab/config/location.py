"""The location of the config groups, and of a user's own packages."""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vaelab.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def config_dir() -> Path:
    """Return the folder of config groups: inside an installed package, else next to `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def groups(folder: Path) -> list[str]:
    """Return the sorted names of the config groups directly below a config folder."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


def refuse_same_options(folders: Sequence[Path]) -> None:
    """Refuse options of a user's own that vaelab's options of the same name would hide.

    Args:
        folders: the folders of `--config-dir`.

    Raises:
        ConfigError: there is such an option; the message names the first.
    """
    own = config_dir()
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")) if folder.is_dir() and folder.resolve() != own.resolve() else []:
            within = path.relative_to(folder)
            if len(within.parts) > 1 and within.parts[0] != "local" and (own / within).is_file():
                word = f"{within.parent.as_posix()}={within.stem}"
                raise ConfigError(f"{path}: vaelab has its own {word}, which is used; rename this one")


def find_trusted(config: "DictConfig") -> None:
    """Make trusted packages in the current folder importable if they are not installed.

    `python` searches the folder of the script, an installed command searches no such folder. So the current folder is
    appended to the search path, but only if it contains a trusted package. Nothing is imported.
    """
    from omegaconf import ListConfig, OmegaConf  # here, since shell completion asks for `config_dir` and has no time

    packages = OmegaConf.select(config, "trusted", throw_on_resolution_failure=False)
    here = str(Path.cwd())
    for package in packages if isinstance(packages, ListConfig) else []:
        name = str(package).partition(".")[0]
        known = not name.isidentifier() or name in sys.modules or find_spec(name) is not None
        if not known and PathFinder.find_spec(name, [here]) is not None:
            sys.path.append(here)
