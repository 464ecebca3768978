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
    """Start a search, or join an existing one, and run it to its end; return the exit code.

    Args:
        words: the words of the command line.
        folders: of config groups, vaelab's own first.
        program: the start of a command line that starts a run, as in `sys.argv`.

    Raises:
        UserError: the search is not valid; raised before any trial runs.
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
    """Return the engine that `search.json` of a folder names; None for optuna, and for a damaged record."""
    path = folder / FILE
    try:
        if path.stat().st_size > LARGEST:
            return None
        return str(json.loads(path.read_text(encoding="utf-8"))["engine"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
