"""`changes.patch`: the uncommitted changes of the code of a run, without secrets and without data."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vaelab.notes import some
from vaelab.record.git import GitError, Repository, ask, repository
from vaelab.secrets import redact_text

CODE = frozenset(
    ("py", "pyi", "pyx", "pxd", "c", "cc", "cpp", "cxx", "cu", "cuh", "h", "hh", "hpp", "rs", "jl", "r", "lua", "go",
     "java", "kt", "scala", "js", "ts", "jsx", "tsx", "sh", "bash", "zsh", "fish", "mk", "cmake")
)  # fmt: skip
CONFIG = frozenset(("yaml", "yml", "toml", "ini", "cfg"))
NAMES = frozenset(("makefile", "dockerfile", "cmakelists.txt", "requirements.txt", "constraints.txt"))
MOST = 2**20  # bytes of a patch
LARGEST = 2**18  # bytes of a file; larger files count as data, whatever their names
MOST_FILES = 500
LISTED = 20  # files that are listed in a line of the header
LOOKING = 2.0  # seconds to search for untracked files
CUT = "\n# the rest is left out: the changes are larger than 1 MB\n"
_FOR_SECRETS = re.compile(
    r"(?:^|[._-])(?:secrets?|credentials?|passwords?|passwd|api[_-]?keys?)(?=$|[._-])|\.env(?:rc)?(?=$|\.)",
    re.IGNORECASE,
)
_SUBMODULE, _LINK = "160000", "120000"  # modes


@dataclass
class _Changed:
    """Paths in a repository that differ from its commit.

    Attributes:
        shown: code and config files.
        left_out: all other files.
        submodules: submodules at another commit or with changes.
    """

    shown: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    submodules: list[str] = field(default_factory=list)


def source_changes(*folders: Path) -> str:
    """Return the uncommitted changes of tracked code in some folders; empty if there are none.

    Each repository has a header, in lines that begin with `#`, and a patch for `git apply`. The patch has only code and
    config files (`is_code`), and no large or binary ones. The header counts changed files that are left out, and lists
    untracked code. If git cannot determine the changes of a repository, the header says so. Secrets are hidden.

    Args:
        folders: folders with code of the run, such as the current folder. Missing folders and folders outside any
            repository are skipped.
    """
    found: dict[Path, tuple[Repository, list[Path]]] = {}
    parts = []
    for folder in folders:
        if not folder.is_dir():
            continue
        try:
            if (known := repository(folder)) is not None:
                found.setdefault(known.root, (known, []))[1].append(folder)
        except GitError as error:
            parts.append(f"# folder: {folder}\n# the changes of its code are not known: {error}\n")
    parts += [_changes(known, places) for known, places in found.values()]
    return redact_text("\n".join(part for part in dict.fromkeys(parts) if part))


def is_code(path: str) -> bool:
    """Whether a path is a code or config file by its suffix, and its name does not suggest secrets."""
    name = PurePosixPath(path)
    kind = name.suffix[1:].lower()
    known = kind in CODE or kind in CONFIG or name.name.lower() in NAMES
    return known and not any(_FOR_SECRETS.search(part) for part in name.parts)


def _changes(known: Repository, folders: Sequence[Path]) -> str:
    """Return the section of one repository."""
    within = _within(known.root, folders)
    head = [f"repository: {known.address or known.root.name}", f"commit: {known.commit or 'none yet'}"]
    if within != ["."]:
        head.append(f"folders: {some(within)}")
    try:
        base = known.commit or ask(known.root, "hash-object", "-t", "tree", os.devnull).decode().strip()
        changed = _changed(known.root, base, within)
        new = _untracked(known.root, within)
        patch = _patch(known.root, base, changed.shown) if changed.shown else ""
    except GitError as error:
        return _header([*head, f"the changes of the code are not known: {error}"])
    if not (changed.shown or changed.left_out or changed.submodules or new):
        return ""
    for what, paths in (
        ("changed and left out (not code, too large, or secret by its name)", changed.left_out),
        ("submodule that differs, without its changes", changed.submodules),
        ("code that git does not track, without its text", new),
    ):
        if paths:
            head.append(f"{what}: {some([ascii(path)[1:-1] for path in paths], LISTED)}")
    return _header(head) + patch


def _header(lines: Iterable[str]) -> str:
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def _within(root: Path, folders: Iterable[Path]) -> list[str]:
    """Return the folders relative to the root of their repository, without folders inside others."""
    real = Path(os.path.realpath(root))
    places = sorted({Path(os.path.realpath(folder)).relative_to(real).as_posix() for folder in folders})
    return ["."] if "." in places else [p for p in places if not any(p.startswith(f"{other}/") for other in places)]


def _changed(root: Path, base: str, within: Sequence[str]) -> _Changed:
    """Return the changed paths. Git prints `:<modes> <hashes> <status>` and path, and then, for all, lines and path."""
    options = ("--raw", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv")
    fields = os.fsdecode(ask(root, "diff", base, *options, "--ignore-submodules=untracked", "--", *within)).split("\0")
    found, files, binary = _Changed(), list[str](), set[str]()
    place = 0
    while place < len(fields) and fields[place]:
        if fields[place].startswith(":"):
            modes, path = fields[place][1:].split()[:2], fields[place + 1]
            place += 2
            if _SUBMODULE in modes:
                found.submodules.append(path)
            elif _LINK in modes:
                found.left_out.append(path)
            else:
                files.append(path)
        else:
            added, _, path = fields[place].split("\t", 2)
            place += 1
            if added == "-":
                binary.add(path)
    for path in files:
        shown = is_code(path) and path not in binary and _size(root / path) <= LARGEST
        (found.shown if shown and len(found.shown) < MOST_FILES else found.left_out).append(path)
    return found


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # it was removed
        return 0


def _untracked(root: Path, within: Sequence[str]) -> list[str]:
    """Return code that git neither tracks nor ignores; empty if the search takes too long."""
    try:
        found = ask(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *within, patience=LOOKING)
    except GitError:
        return []
    return [path for path in os.fsdecode(found).split("\0") if path and is_code(path)]


def _patch(root: Path, base: str, paths: Sequence[str]) -> str:
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
    content = ask(root, "diff", base, *options, "--", *paths, most=MOST)
    text = content[:MOST].decode("utf-8", errors="replace")
    if len(content) <= MOST:
        return text
    return text[: text.rfind("\n") + 1] + CUT  # no partial line, in which a secret might not be recognised
