"""`vaelab eval <run folder or checkpoint> [overrides]`: the same as `vaelab train train=false ckpt_path=<...>`."""

import os

from vaelab.config.command_line import parts
from vaelab.errors import ConfigError
from vaelab.quoting import quoted

USAGE = """\
usage: vaelab eval <run folder or checkpoint> [overrides]

Evaluates a trained model without training. Config, data and split are those of its run; overrides change them:

       vaelab eval logs/generation/digits-vae/<date>                       the test metrics again
       vaelab eval logs/generation/digits-vae/<date> task=embedding        as another task
       vaelab eval logs/anomaly/table-vae/<date> data.path=later.csv       on other data
       vaelab eval ckpt_path=<run folder>/checkpoints/last.ckpt            with the last checkpoint

It is a short form of `vaelab train train=false ckpt_path=<run folder or checkpoint> [overrides]`."""

_ASKED = "vaelab eval <run folder or checkpoint> [overrides]"


def evaluation_words(arguments: list[str]) -> list[str]:
    """Return the command line of `vaelab train` that does what a command line of `vaelab eval` asks for.

    Raises:
        ConfigError: it names no checkpoint or several, or asks for training.
    """
    flags, words = parts(arguments)
    places = [word for word in words if _is_place(word)]
    overrides = [word for word in words if word not in places]
    paths = [word for word in overrides if word.startswith("ckpt_path=")]
    others = [word for word in overrides if word not in paths]
    named = [*(f"ckpt_path={quoted(place)}" for place in places), *paths]
    for word in others:
        key = word.lstrip("+").partition("=")[0]
        if key == "resume":
            raise ConfigError(f"{word}: vaelab eval does not resume training; name only the run: {_ASKED}")
        if key == "train":
            raise ConfigError(f"{word}: vaelab eval never trains; leave it out")
    if not named:
        raise ConfigError(f"vaelab eval: which run? {_ASKED}")
    if len(named) > 1:
        raise ConfigError(f"vaelab eval: evaluates one checkpoint at a time, not {' and '.join([*places, *paths])}")
    return [*flags, "train=false", *named, *others]


def behind_run(line: str) -> str | None:
    """Return what follows the run in an unfinished command line, for shell completion; None without a run.

    Args:
        line: the text after `vaelab eval`.
    """
    words = line.split()
    last = "" if line.endswith(" ") or not words else words.pop()
    if not any(_is_place(word) or word.startswith("ckpt_path=") for word in words):
        return None
    return " ".join([*(word for word in words if not _is_place(word)), last])


def _is_place(word: str) -> bool:
    """Whether a word names a folder or file and is not an override; a file name may contain an equals sign."""
    return "=" not in word or os.path.exists(word)
