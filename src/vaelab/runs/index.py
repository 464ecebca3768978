"""What was read of run folders is kept, so that only what has changed since is read again.

The index is a file in the user's cache, never in the folder of the runs: nobody else writes it, and a folder that
cannot be written to has one too. It says nothing that the files do not: an entry counts only as long as every file of
the run has the same times and size, and an index that is broken, or was written by another version, counts as none.
Runs that are gone are dropped when the folder is listed; the index of a folder that nobody lists any more after half a
year.
"""

import json
import os
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from vaelab import __version__
from vaelab.atomic_write import write_file
from vaelab.runs.contents import Contents, Signature, read_contents, signatures

FORM = 2  # of an entry; a change of what is read needs another number
SETTLED = 2 * 10**9  # nanoseconds after which a file that changes again gets another time on every file system
LARGEST = 2**29  # bytes
MOST_FILES = 64  # listed folders, of which files are kept
OLDEST = 180 * 24 * 3600.0  # seconds after which a file that was not written to is dropped


def index_file(root: str) -> Path | None:
    """Where the index of a folder lies; None where the user has no home."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        return None
    name = sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:24]
    return Path(cache) / "vaelab" / f"runs-{name}.json"


class Index:
    """What is known of the run folders below one folder.

    Args:
        root: the folder that is listed.
    """

    def __init__(self, root: str) -> None:
        self._path = index_file(root)
        self._before = _read(self._path)
        self._now: dict[str, Any] = {}
        self._changed = False

    def contents(self, name: str, folder: str) -> Contents:
        """What the files of a run say.

        Args:
            name: of its folder, relative to the listed one.
            folder: its path.
        """
        found = signatures(folder)
        kept = self._before.get(name)
        if kept is not None:
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                if kept["files"] == _listed(found):
                    contents = Contents.from_json(kept["says"])
                    self._now[name] = kept
                    return contents
        contents = read_contents(folder, found)
        self._changed = True
        newest = max((max(about[:2]) for about in found.values() if about is not None), default=0)
        # A file that is written to now may change again without a change of its time; one that could not be read may
        # be readable next time.
        if newest < time.time_ns() - SETTLED and not contents.broken:
            self._now[name] = {"files": _listed(found), "says": contents.to_json()}
        return contents

    def write(self) -> None:
        """Keep it, if there is anything new and it can be written. Two commands at once each write a whole file."""
        if self._path is None or not (self._changed or len(self._now) < len(self._before)):
            return
        with suppress(OSError, ValueError, TypeError):
            made = {"form": FORM, "version": __version__, "runs": self._now}
            write_file(self._path, json.dumps(made, separators=(",", ":"), default=str).encode("utf-8"))
            self._path.chmod(0o600)
            drop_old(self._path)


def drop_old(path: Path) -> None:
    """Remove files of folders that are listed no more: those of one kind with a file that was just written."""
    kind = path.name.rpartition("-")[0]
    written = {}
    for other in path.parent.glob(f"{kind}-*.json"):
        with suppress(OSError):
            written[other] = other.stat().st_mtime
    newest = sorted(written, key=lambda other: written[other], reverse=True)
    for place, other in enumerate(newest):
        if place >= MOST_FILES or written[other] < written[newest[0]] - OLDEST:
            with suppress(OSError):
                other.unlink()


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        if path.stat().st_size > LARGEST:
            return {}
        found = json.loads(path.read_bytes())
        if found["form"] == FORM and found["version"] == __version__ and isinstance(found["runs"], dict):
            return dict(found["runs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return {}


def _listed(found: dict[str, Signature]) -> dict[str, list[int] | None]:
    """As JSON gives it back."""
    return {name: None if about is None else list(about) for name, about in found.items()}
