"""Which engine proposes the values of a search: optuna in this process, or W&B's server."""

import json
from collections.abc import Sequence
from pathlib import Path

from vaelab.search.checked import Chosen, chosen_option
from vaelab.search.weights_and_biases.record import LARGEST
from vaelab.search.words import FILE, SearchWords
from vaelab.signals import say

WANDB = "wandb"


def search(words: SearchWords, folders: list[Path], program: Sequence[str]) -> int:
    """Begin a search, or join one that was begun, until it is over; returns the exit code.

    Args:
        words: of the command line.
        folders: of config groups, vaelab's own first.
        program: the beginning of a command line that starts a run, as `sys.argv` has it.

    Raises:
        UserError: something does not fit, before any trial runs.
    """
    if words.folder is None:
        option = chosen_option(words, folders, lambda usual: say(str(usual)))
        chosen: Chosen | None = option
        engine = option.node.get("engine")
    else:
        chosen, engine = None, recorded_engine(words.folder)
    if engine == WANDB:
        from vaelab.search.weights_and_biases.command import sweep

        return sweep(words, folders, program, chosen)
    from vaelab.search.command import search as search_with_optuna

    return search_with_optuna(words, folders, program, chosen)


def recorded_engine(folder: Path) -> str | None:
    """The engine that `search.json` of a folder names; None for optuna's, and for a record that is broken."""
    path = folder / FILE
    try:
        if path.stat().st_size > LARGEST:
            return None
        return str(json.loads(path.read_text(encoding="utf-8"))["engine"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
