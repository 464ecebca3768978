"""How far two commits of this package lie apart."""

import re
import subprocess
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
SHOWN = 12  # digits of a commit


def short(commit: str) -> str:
    """A commit as people write it; whatever is none is named so."""
    return commit[:SHOWN] if _COMMIT.fullmatch(commit) else "no commit"


def apart(then: str, now: str) -> str:
    """How many commits lie between two, in words; why that cannot be told, where it cannot; nothing for the same one.

    Both come from files, so whatever is no commit is not handed to git.
    """
    if not (_COMMIT.fullmatch(then) and _COMMIT.fullmatch(now)):
        return "what is recorded is no commit"
    if then == now:
        return ""
    for commit in (then, now):
        if _git("cat-file", "-e", f"{commit}^{{commit}}") is None:
            return f"{short(commit)} is not in this repository"
    counts = (_git("rev-list", "--left-right", "--count", f"{then}...{now}") or "").split()
    if len(counts) != 2:
        return "git cannot tell how far they lie apart"
    before, after = map(int, counts)
    if not before:
        return f"{_commits(after)} later"
    if not after:
        return f"{_commits(before)} earlier"
    return f"{_commits(before)} on one side and {after} on the other since they parted"


def _commits(count: int) -> str:
    return f"{count:,} commit{'' if count == 1 else 's'}"


def _git(*arguments: str) -> str | None:
    """What git prints about the repository that the package lies in; None where it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
