"""The distance between two commits of this package."""

import re
import subprocess
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
SHOWN = 12  # digits of a commit that are shown


def short(commit: str) -> str:
    """Shorten a commit; a text that is not a commit is described as such."""
    return commit[:SHOWN] if _COMMIT.fullmatch(commit) else "no commit"


def apart(then: str, now: str) -> str:
    """Describe how many commits lie between two, or why that is unknown; empty if both are the same.

    Both come from files, so a text that is not a commit is not passed to git.
    """
    if not (_COMMIT.fullmatch(then) and _COMMIT.fullmatch(now)):
        return "the record is not a commit"
    if then == now:
        return ""
    for commit in (then, now):
        if _git("cat-file", "-e", f"{commit}^{{commit}}") is None:
            return f"{short(commit)} is not in this repository"
    counts = (_git("rev-list", "--left-right", "--count", f"{then}...{now}") or "").split()
    if len(counts) != 2:
        return "git cannot compare them"
    before, after = map(int, counts)
    if not before:
        return f"{_commits(after)} later"
    if not after:
        return f"{_commits(before)} earlier"
    return f"{_commits(before)} on one side and {after} on the other since their common ancestor"


def _commits(count: int) -> str:
    return f"{count:,} commit{'' if count == 1 else 's'}"


def _git(*arguments: str) -> str | None:
    """Run git in the repository of this package, and return its output; None if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
