"""The command lines that repeat a run."""

import os
import shlex
from pathlib import Path

from vaelab.config.command_line import config_folders, parts
from vaelab.quoting import typed_path
from vaelab.run_folder import can_go_on
from vaelab.runs.listed import ListedRun
from vaelab.secrets import HIDDEN

PROGRAMS = (["python", "train.py"], ["vaelab", "train"])
RERUN = ["vaelab", "rerun"]


def again(run: ListedRun) -> str:
    """Return the complete command line of a run, with its seed, also if that was drawn at random.

    The words come from the run folder, which may be untrusted. Each is quoted, so that a shell treats it as one word,
    and words that select code are omitted. The program is always this one, whatever the folder says.
    """
    return shlex.join([*_program(), *_words(run)[0]])


def rerun(run: ListedRun) -> str:
    """Return the command that repeats a run from its record and compares the results."""
    return shlex.join([*RERUN, run.path])


def _program() -> list[str]:
    return ["python", "train.py"] if os.path.isfile("train.py") else ["vaelab", "train"]


def _words(run: ListedRun) -> tuple[list[str], bool]:
    """Return the words of a run, and whether words were omitted that only the user may type."""
    try:
        typed_then = shlex.split(run.contents.command)
    except ValueError:
        typed_then = []
    known = next((program for program in PROGRAMS if typed_then[: len(program)] == program), None)
    words = typed_then[2:] if known is not None else []
    if known is None or any(word.startswith("resume=") for word in words) or run.contents.went_on:
        words = [*words, *(word for word in run.contents.overrides if word not in words)]
    plain = [word for word in parts(words)[1] if not word.startswith("resume=")]
    kept = [word for word in plain if not _chooses_code(word)]
    if "seed=null" in kept and run.contents.seed is not None:
        kept = [f"seed={run.contents.seed}" if word == "seed=null" else word for word in kept]
    return kept, len(kept) < len(plain) or bool(config_folders(words))


def _chooses_code(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return "_target_" in word or key.startswith(("hydra.", "hydra/", "trusted"))


def hides_secrets(command: str) -> bool:
    """Whether a word must be typed again, because it was a secret and is not stored."""
    return HIDDEN in command


def ways_on(run: ListedRun) -> list[tuple[str, str]]:
    """Return what can be done with a run: pairs of a description, and the command or file."""
    found = []
    if os.path.isfile(page := os.path.join(run.path, "report.html")):
        found.append(("its report", page))
    if run.status not in ("finished", "running") and can_go_on(Path(run.path)):
        program = "python train.py" if os.path.isfile("train.py") else "vaelab train"
        found.append(("resume it", f"{program} {typed_path('resume', run.path)}"))
    if os.path.isfile(os.path.join(run.path, "config.yaml")) and run.status != "running":
        found.append(("repeat it and compare the results", rerun(run)))
    left_out = ", without the words that select code (--config-dir, hydra, trusted)" if _words(run)[1] else ""
    found.append((f"its full command line{left_out}", again(run)))
    return found
