"""Where the config groups lie."""

from pathlib import Path


def config_dir() -> Path:
    """The folder of config groups: inside an installed package, else beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def groups(folder: Path) -> list[str]:
    """Names of the config groups directly under a config folder, sorted."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))
