"""`extras.enforce_tags=true`: runs without tags are refused."""

import sys

from omegaconf import DictConfig, ListConfig, OmegaConf

from vaelab.config.recorded import parse_word, written
from vaelab.errors import ConfigError

_TRUE = ("true", "1", "on", "t", "yes", "y")  # as the check of the config parses it


def lacks_tags(config: DictConfig, debug: str | None) -> bool:
    """Whether a new run needs tags and has none.

    Args:
        config: the composed config.
        debug: the option of the group `debug`; debugging runs need no tags.
    """
    enforced = OmegaConf.select(config, "extras.enforce_tags", throw_on_resolution_failure=False)
    if str(enforced).lower() not in _TRUE or debug not in (None, "null") or config.get("resume"):
        return False
    tags = OmegaConf.select(config, "tags", throw_on_resolution_failure=False)
    return tags is None or (isinstance(tags, ListConfig) and len(tags) == 0)


def refuse_untagged(config: DictConfig, debug: str | None) -> None:
    """Refuse a run without tags if the user is not asked for them.

    Raises:
        ConfigError: the tags are missing.
    """
    if lacks_tags(config, debug):
        raise _missing()


def ask_for_tags() -> list[str]:
    """Ask the user for tags.

    Raises:
        ConfigError: there is no terminal, or the answer was empty.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise _missing()
    print("tags of this run, separated by commas: ", end="", file=sys.stderr, flush=True)
    tags = [tag.strip() for tag in sys.stdin.readline().split(",") if tag.strip()]
    if not tags:
        raise _missing()
    return tags


def tags_word(tags: list[str]) -> str:
    """Return the override that sets tags; it has quotes only if needed."""
    bare = f"tags=[{','.join(tags)}]"
    word = parse_word(bare)
    return bare if word is not None and word.value() == tags else written("tags", tags)


def _missing() -> ConfigError:
    return ConfigError("extras.enforce_tags=true: there are no tags; type tags=[<word>,<word>]")
