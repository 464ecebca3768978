"""What lies in a folder of data, links to other folders followed."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vaelab.errors import DataError
from vaelab.notes import note, some, were

# What operating systems leave behind, in lower case; names that begin with a point are hidden.
LEFT_BEHIND = frozenset({"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


@dataclass(frozen=True)
class Listing:
    """The visible contents of a folder and of all folders in it.

    Attributes:
        root: the folder.
        files: in the order of their paths; a link that leads nowhere is among them.
        folders: within `root`, in the order of their paths.
        unfollowed: links to folders that are read anyway, or that hold `root`.
    """

    root: Path
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    unfollowed: tuple[Path, ...]

    def having(self, suffixes: Sequence[str]) -> list[Path]:
        """Files with one of these suffixes, which may have several parts as `.csv.gz`, in capitals or not."""
        return [file for file in self.files if file.name.lower().endswith(tuple(suffixes))]

    def relative(self, paths: Sequence[Path]) -> list[str]:
        """Paths as they are named within `root`."""
        return [path.relative_to(self.root).as_posix() for path in paths]

    def skipped(self, files: Sequence[Path], what: str) -> list[str]:
        """Lines that name files which are not read, and links which are not followed; none where there are none.

        Args:
            files: that are not read.
            what: what is read here, such as `an image`.
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
            lead = "the folders they lead to are read anyway or hold this one"
            if len(self.unfollowed) == 1:
                lead = "the folder it leads to is read anyway or holds this one"
            names = some(self.relative(self.unfollowed))
            lines.append(f"{self.root}: {were(len(self.unfollowed), 'link')} not followed, since {lead}: {names}")
        return lines


def list_folder(root: Path) -> Listing:
    """Read the names in a folder and in all folders in it.

    Links to folders are followed, but each folder is read once: a second way to it would double its examples, and
    could put them into two splits. Hidden files, and what operating systems leave behind, are not listed.

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
        waiting = sorted(links, reverse=True)  # after all that needs no link, in order
    inside = sorted(folder for folder in folders if folder != root)
    return Listing(root, tuple(sorted(files)), tuple(inside), tuple(sorted(unfollowed)))


def files_of(place: Path, suffixes: Sequence[str], what: str) -> list[Path]:
    """The files of a folder with one of these suffixes, in order; says which others are skipped.

    Args:
        place: the folder.
        suffixes: in small letters.
        what: such a file is, for messages, such as `a table`.

    Raises:
        DataError: there is none, or a folder cannot be read.
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
    """`link` is one to a folder; None for what is neither, such as a socket."""
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
