"""An index of run folders, so that only files that have changed are read again.

The index is a file in the user's cache, never in the folder of the runs. So nobody else writes it, and a read-only
folder has one too. An entry is valid only while every file of the run has the same times and size. An index that is
damaged, or was written by another version, is ignored. Runs that no longer exist are removed when the folder is
listed. The index of a folder that is not listed for half a year is removed.
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

FORM = 2  # version of an entry; increase it when other contents are read
SETTLED = 2 * 10**9  # nanoseconds after which another change of a file changes its time on every file system
LARGEST = 2**29  # bytes
MOST_FILES = 64  # folders whose index is kept
OLDEST = 180 * 24 * 3600.0  # seconds after which an index that was not written is removed


def index_file(root: str) -> Path | None:
    """Return the path of the index of a folder; None if the user has no home folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        return None
    name = sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:24]
    return Path(cache) / "vaelab" / f"runs-{name}.json"


class Index:
    """The index of the run folders below one folder.

    Args:
        root: the folder that is listed.
    """

    def __init__(self, root: str) -> None:
        self._path = index_file(root)
        self._before = _read(self._path)
        self._now: dict[str, Any] = {}
        self._changed = False

    def contents(self, name: str, folder: str) -> Contents:
        """Return the contents of a run folder.

        Args:
            name: the path of the run folder relative to the listed folder.
            folder: the path of the run folder.
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
        # A file that was written just now may change again without a new time; a file that could not be read may be
        # readable next time.
        if newest < time.time_ns() - SETTLED and not contents.broken:
            self._now[name] = {"files": _listed(found), "says": contents.to_json()}
        return contents

    def write(self) -> None:
        """Write the index, if anything is new and the cache is writable. Concurrent commands write whole files."""
        if self._path is None or not (self._changed or len(self._now) < len(self._before)):
            return
        with suppress(OSError, ValueError, TypeError):
            made = {"form": FORM, "version": __version__, "runs": self._now}
            write_file(self._path, json.dumps(made, separators=(",", ":"), default=str).encode("utf-8"))
            self._path.chmod(0o600)
            drop_old(self._path)


def drop_old(path: Path) -> None:
    """Remove old index files of the same kind as the file at `path`, which was just written."""
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
    """Return the signatures as JSON restores them."""
    return {name: None if about is None else list(about) for name, about in found.items()}
