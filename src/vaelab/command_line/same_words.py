"""Words that mean the same as a word of vaelab, for whoever knows them from lightning-hydra-template."""

from vaelab.config.command_line import parts
from vaelab.signals import say

SAME = {"hparams_search": "sweep"}  # groups
WITHOUT = ("logger=null", "callbacks=null")  # which have an option `none`
_MULTIRUN = ("-m", "--multirun")


def own_words(arguments: list[str]) -> list[str]:
    """A command line in vaelab's own words; what was changed is said on the screen.

    A search needs no `--multirun`, so that beside `hparams_search=` it is left out.
    """
    flags, words = parts(arguments)
    own = [_own_word(word) for word in words]
    changed = [(word, instead) for word, instead in zip(words, own, strict=True) if word != instead]
    if not changed:
        return arguments
    searches = any(instead.startswith("sweep=") and instead != "sweep=null" for _, instead in changed)
    left = [flag for flag in flags if not (searches and flag in _MULTIRUN)]
    without = "" if left == flags else ", and it needs no -m"
    for word, instead in changed:
        say(f"note: {word} is {instead} here{without if instead.startswith('sweep=') else ''}")
    return [*left, *own]


def _own_word(word: str) -> str:
    if word in WITHOUT:
        return word.replace("null", "none")
    key, equals, value = word.partition("=")
    same = SAME.get(key.lstrip("+"))
    return f"{same}={value}" if same and equals else word
