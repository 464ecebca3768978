"""The words of a command line about the launcher of a sweep. They are not settings of a run."""

from collections.abc import Iterable

from vaelab.errors import ConfigError

GROUP = "launcher"
DEFAULT = "local"


def is_about_launcher(text: str) -> bool:
    """Whether an override chooses the launcher or sets a key of it."""
    key = text.lstrip("+~").partition("=")[0]
    return key == GROUP or key.startswith((f"{GROUP}.", f"{GROUP}@"))


def refuse_launcher(words: Iterable[str], why: str) -> None:
    """Refuse a command line that chooses a launcher other than the default where there is nothing to launch.

    Args:
        words: overrides, as they were typed.
        why: and what to type instead.

    Raises:
        ConfigError: names the first word.
    """
    for text in words:
        if is_about_launcher(text) and text != f"{GROUP}={DEFAULT}":
            raise ConfigError(f"{text}: {why}")
