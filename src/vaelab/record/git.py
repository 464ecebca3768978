"""Read-only queries to git about the repository of a folder."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer

PATIENCE = 10.0  # seconds for an answer
# Variables by which the parent process, such as a git hook, may have set another repository or diff program.
_REDIRECTING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE",
                "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS")  # fmt: skip
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.quotepath=true", "--literal-pathspecs", "--no-pager")


class GitError(Exception):
    """Git is not installed, does not answer in time, or fails; the message says which, in one line."""


@dataclass(frozen=True)
class Repository:
    """A work tree.

    Attributes:
        root: its folder.
        commit: the checked-out commit; empty for a repository without commits.
        address: the address of its remote; empty for a repository without a remote.
    """

    root: Path
    commit: str
    address: str


def ask(folder: Path, *arguments: str, most: int = 2**24, patience: float = PATIENCE) -> bytes:
    """Run git, and return its output.

    Args:
        folder: the folder in which git is started.
        arguments: the arguments of git.
        most: the largest number of bytes; if git prints more, it is ended, and `most + 1` bytes are returned.
        patience: seconds to wait.

    Raises:
        GitError: git is not installed, does not finish in time, or fails.
    """
    known = {name: value for name, value in os.environ.items() if name not in _REDIRECTING}
    late: list[bool] = []
    with TemporaryFile() as said:  # a full pipe would block git
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
            raise GitError("git is not installed" if folder.is_dir() else "the folder does not exist") from error
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
    """Return the output of git as text; empty if it fails."""
    try:
        return os.fsdecode(ask(folder, *arguments)).strip()
    except GitError:
        return ""


def repository(folder: Path) -> Repository | None:
    """Return the repository whose work tree contains a folder; None if there is none.

    Raises:
        GitError: there seems to be one, but git fails, for example because it belongs to another user.
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
    """Whether the repository of a folder tracks a file."""
    try:
        ask(folder, "ls-files", "--error-unmatch", "--", str(path))
    except GitError:
        return False
    return True


def _has_repository(folder: Path) -> bool:
    """Whether a folder or a parent of it contains a `.git`, which is a file in a work tree or submodule."""
    place = Path(os.path.abspath(folder))
    return any((above / ".git").exists() for above in (place, *place.parents))
