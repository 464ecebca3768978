"""Find run folders on disk."""

import os
from collections.abc import Iterator

from vaelab.record.state import FILE as STATE

CONFIG = "config.yaml"
BESIDE = frozenset(
    {"environment.json", "metrics.json", "choices.yaml", "checkpoints"}
)  # a run folder has a config and one of these
DEEPEST = 24  # nested folders


def run_folders(root: str, unreadable: list[str]) -> Iterator[str]:
    """Yield each run folder in or below a folder once. Links are followed; run folders are not searched further.

    Args:
        root: an existing folder.
        unreadable: receives `<folder>: <why>` for each folder that cannot be opened.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            about = os.stat(folder)
            if (about.st_dev, about.st_ino) in seen:
                continue  # already reached through a link, perhaps one to a parent folder
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
    except OSError:  # a link to itself
        return False
