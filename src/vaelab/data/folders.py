"""List a data folder, following links to other folders."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaelab.errors import DataError
from vaelab.notes import note, some, were

# Files that operating systems create, in lower case; names that begin with a dot are hidden.
LEFT_BEHIND = frozenset({"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


@dataclass(frozen=True)
class Listing:
    """The visible contents of a folder and of all folders in it.

    Attributes:
        root: the folder.
        files: sorted by path, including broken links.
        folders: folders inside `root`, sorted by path.
        unfollowed: links to folders that are read anyway, or that contain `root`.
    """

    root: Path
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    unfollowed: tuple[Path, ...]

    def having(self, suffixes: Sequence[str]) -> list[Path]:
        """Return files with one of these suffixes, in any case; a suffix may have several parts, such as `.csv.gz`."""
        return [file for file in self.files if file.name.lower().endswith(tuple(suffixes))]

    def relative(self, paths: Sequence[Path]) -> list[str]:
        """Return paths relative to `root`."""
        return [path.relative_to(self.root).as_posix() for path in paths]

    def skipped(self, files: Sequence[Path], what: str) -> list[str]:
        """Return lines about files that are not read, and links that are not followed; empty if there are none.

        Args:
            files: the files that are not read.
            what: what is read, such as `an image`.
        """
        lines = []
        if files:
            kinds = Counter(file.suffix.lower() or "no suffix" for file in files).most_common()
            by_kind = some([f"{kind} {count:,}" for kind, count in kinds])
            lines.append(
                f"{self.root}: {were(len(files), 'file')} skipped, since the suffix is not that of {what} "
                f"({by_kind}): {some(self.relative(files))}"
            )
        if self.unfollowed:
            lead = "their targets are read anyway or contain this folder"
            if len(self.unfollowed) == 1:
                lead = "its target is read anyway or contains this folder"
            names = some(self.relative(self.unfollowed))
            lines.append(f"{self.root}: {were(len(self.unfollowed), 'link')} not followed, since {lead}: {names}")
        return lines


def list_folder(root: Path) -> Listing:
    """List a folder and all folders in it.

    Links to folders are followed, but each folder is read only once: otherwise its examples would be duplicated,
    possibly in two splits. Hidden files, and files that operating systems create, are not listed.

    Raises:
        DataError: a folder cannot be read.
    """
    files: list[Path] = []
    folders: list[Path] = []
    unfollowed: list[Path] = []
    seen = {_identity(above) for above in root.resolve().parents}
    waiting = [root]
    while waiting:
        links: list[Path] = []
        while waiting:
            here = waiting.pop()
            if _identity(here) in seen:
                unfollowed.append(here)
                continue
            seen.add(_identity(here))
            folders.append(here)
            for path in _visible(here):
                kind = _kind(path)
                if kind is not None:
                    {"file": files, "link": links, "folder": waiting}[kind].append(path)
        waiting = sorted(links, reverse=True)  # links come last, in order
    inside = sorted(folder for folder in folders if folder != root)
    return Listing(root, tuple(sorted(files)), tuple(inside), tuple(sorted(unfollowed)))


def files_of(place: Path, suffixes: Sequence[str], what: str) -> list[Path]:
    """Return the files of a folder with one of these suffixes, in order; print which other files are skipped.

    Args:
        place: the folder.
        suffixes: the suffixes in lower case.
        what: the name of such a file in messages, such as `a table`.

    Raises:
        DataError: there is no such file, or a folder cannot be read.
    """
    listing = list_folder(place)
    files = listing.having(suffixes)
    used = set(files)
    lines = listing.skipped([file for file in listing.files if file not in used], what)
    if not files:
        skipped = "".join(f" ({line})" for line in lines)
        raise DataError(f"data.path={place}: holds no {', '.join(suffixes[:-1])} or {suffixes[-1]} file{skipped}")
    for line in lines:
        note(line)
    return files


def _visible(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in LEFT_BEHIND]


def _kind(path: Path) -> Literal["file", "link", "folder"] | None:
    """Return the kind of a path, where `link` is a link to a folder; None for anything else, such as a socket."""
    try:
        if path.is_dir():
            return "link" if path.is_symlink() else "folder"
        return "file" if path.is_file() or path.is_symlink() else None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _identity(folder: Path) -> tuple[int, int]:
    try:
        stat = folder.stat()
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return stat.st_dev, stat.st_ino
