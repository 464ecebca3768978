"""Asking git about the repository that a folder lies in, of which nothing is changed."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer

PATIENCE = 10.0  # seconds for an answer
# By which whoever started this process, such as a hook of git, may have named another repository or way to compare.
_REDIRECTING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE",
                "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS")  # fmt: skip
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.quotepath=true", "--literal-pathspecs", "--no-pager")


class GitError(Exception):
    """Git is not installed, does not answer in time, or refuses; says which, in one line."""


@dataclass(frozen=True)
class Repository:
    """A work tree.

    Attributes:
        root: its folder.
        commit: that is checked out; empty for a repository without commits.
        address: where it comes from, as `git remote` has it; empty for a repository that comes from nowhere.
    """

    root: Path
    commit: str
    address: str


def ask(folder: Path, *arguments: str, most: int = 2**24, patience: float = PATIENCE) -> bytes:
    """What git prints.

    Args:
        folder: in which git is started.
        arguments: of git.
        most: bytes that are read; git is ended when it has printed more, and `most + 1` bytes are returned.
        patience: seconds to wait.

    Raises:
        GitError: git is not there, is not done in time, or ends with an error.
    """
    known = {name: value for name, value in os.environ.items() if name not in _REDIRECTING}
    late: list[bool] = []
    with TemporaryFile() as said:  # a pipe that nobody reads would hold git up once it is full
        try:
            process = subprocess.Popen(
                ["git", *_QUIET, *arguments],
                cwd=folder,
                env=known | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        except FileNotFoundError as error:
            raise GitError("git is not installed" if folder.is_dir() else "the folder is gone") from error
        except OSError as error:
            raise GitError(f"git cannot be started ({error.strerror})") from error

        def give_up() -> None:
            late.append(True)
            process.kill()

        timer = Timer(patience, give_up)
        timer.start()
        try:
            with process:
                assert process.stdout is not None
                printed = process.stdout.read(most + 1)
                if len(printed) > most:
                    process.kill()
        finally:
            timer.cancel()
        if late:
            raise GitError(f"git did not answer within {patience:g} seconds")
        if process.returncode and len(printed) <= most:
            said.seek(0)
            lines = said.read(2**16).decode("utf-8", errors="replace").splitlines()
            reason = next((line for line in lines if line.startswith("fatal: ")), "".join(lines[:1]))
            raise GitError(reason.removeprefix("fatal: ") or f"git ended with {process.returncode}")
    return printed


def answer(folder: Path, *arguments: str) -> str:
    """What git prints, as one text; empty where it has no answer."""
    try:
        return os.fsdecode(ask(folder, *arguments)).strip()
    except GitError:
        return ""


def repository(folder: Path) -> Repository | None:
    """The repository whose work tree a folder lies in; None where there is none.

    Raises:
        GitError: there seems to be one, and git cannot say more, such as one that belongs to another user.
    """
    try:
        root = Path(os.fsdecode(ask(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    except GitError:
        if answer(folder, "rev-parse", "--is-inside-work-tree") == "false" or not _has_repository(folder):
            return None
        raise
    return Repository(
        root,
        answer(folder, "rev-parse", "--verify", "--quiet", "HEAD"),
        answer(folder, "config", "--get", "remote.origin.url"),
    )


def tracks(folder: Path, path: Path) -> bool:
    """Whether the repository that a folder lies in tracks a file."""
    try:
        ask(folder, "ls-files", "--error-unmatch", "--", str(path))
    except GitError:
        return False
    return True


def _has_repository(folder: Path) -> bool:
    """Whether a folder lies below one that holds a `.git`; a work tree or submodule has a file of this name."""
    place = Path(os.path.abspath(folder))
    return any((above / ".git").exists() for above in (place, *place.parents))
