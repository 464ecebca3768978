"""The command line that does a run again."""

import os
import shlex

from vaelab.runs.listed import ListedRun
from vaelab.secrets import HIDDEN

PROGRAMS = (["python", "train.py"], ["vaelab", "train"])


def again(run: ListedRun) -> str:
    """What to type, with the seed that was drawn if one was.

    The words come from the run folder, which may be a stranger's. Each is quoted, so that a shell takes it for a word.
    The program is this one, whatever the folder says.
    """
    try:
        typed = shlex.split(run.contents.command)
    except ValueError:
        typed = []
    known = next((program for program in PROGRAMS if typed[: len(program)] == program), None)
    words = typed[2:] if known is not None else []
    if known is None or any(word.startswith("resume=") for word in words) or run.contents.went_on:
        flags = [word for word in words if word.startswith("--config-dir=")]
        words = flags + [word for word in run.contents.overrides if not word.startswith(("resume=", "-"))]
    if "seed=null" in words and run.contents.seed is not None:
        words = [f"seed={run.contents.seed}" if word == "seed=null" else word for word in words]
    program = ["python", "train.py"] if os.path.isfile("train.py") else ["vaelab", "train"]
    return shlex.join([*program, *words])


def hides_secrets(command: str) -> bool:
    """Whether a word has to be typed anew, since it was a secret that is written nowhere."""
    return HIDDEN in command


def ways_on(run: ListedRun) -> list[tuple[str, str]]:
    """What can be done with a run, in words, and the command or file for it."""
    found = []
    if os.path.isfile(page := os.path.join(run.path, "report.html")):
        found.append(("its report", page))
    if run.status not in ("finished", "running") and os.path.isfile(os.path.join(run.path, "checkpoints", "last.ckpt")):
        program = "python train.py" if os.path.isfile("train.py") else "vaelab train"
        found.append(("go on with it", f"{program} {shlex.quote('resume=' + run.path)}"))
    found.append(("do it again", again(run)))
    return found
