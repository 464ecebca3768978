"""Names that mean the same as a name of vaelab: of lightning-hydra-template, and null for the option none."""

from vaelab.config.command_line import parts
from vaelab.signals import say

SAME = {"hparams_search": "sweep"}  # groups
# These groups have an option `none`.
WITHOUT = ("logger", "callbacks", "corruption", "shortcut", "adversary", "perceptual", "fitted_prior")
_MULTIRUN = ("-m", "--multirun")


def own_words(arguments: list[str]) -> list[str]:
    """Translate a command line into vaelab's own names, and print what was changed.

    A search needs no `--multirun`, so it is removed beside `hparams_search=`.
    """
    flags, words = parts(arguments)
    own = [_own_word(word) for word in words]
    changed = [(word, instead) for word, instead in zip(words, own, strict=True) if word != instead]
    if not changed:
        return arguments
    searches = any(instead.startswith("sweep=") and instead != "sweep=null" for _, instead in changed)
    left = [flag for flag in flags if not (searches and flag in _MULTIRUN)]
    without = "" if left == flags else ", and -m is not needed"
    for word, instead in changed:
        say(f"note: {word} is {instead} here{without if instead.startswith('sweep=') else ''}")
    return [*left, *own]


def _own_word(word: str) -> str:
    key, equals, value = word.partition("=")
    group, options = key.lstrip("+"), value.split(",")
    if group in WITHOUT and "null" in options:
        return f"{key}={','.join('none' if option == 'null' else option for option in options)}"
    same = SAME.get(group)
    return f"{same}={value}" if same and equals else word
