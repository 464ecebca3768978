"""Run folders, found on disk."""

import os
from collections.abc import Iterator

from vaelab.record.state import FILE as STATE

CONFIG = "config.yaml"
BESIDE = frozenset({"environment.json", "metrics.json", "choices.yaml", "checkpoints"})  # one of them beside a config
DEEPEST = 24  # folders within each other


def run_folders(root: str, unreadable: list[str]) -> Iterator[str]:
    """Run folders in or below a folder, links followed, each once; nothing is looked for within a run folder.

    Args:
        root: an existing folder.
        unreadable: takes `<folder>: <why>` for each that cannot be opened.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            about = os.stat(folder)
            if (about.st_dev, about.st_ino) in seen:
                continue  # reached by a link before, perhaps by one that leads upward
            seen.add((about.st_dev, about.st_ino))
            names, below = set(), []
            with os.scandir(folder) as entries:
                for entry in entries:
                    names.add(entry.name)
                    if not entry.name.startswith(".") and _is_folder(entry):
                        below.append(entry.path)
        except OSError as error:
            unreadable.append(f"{folder}: {error.strerror}")
            continue
        if STATE in names or (CONFIG in names and names & BESIDE):
            yield folder
        elif depth < DEEPEST:
            waiting += [(path, depth + 1) for path in sorted(below, reverse=True)]


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
