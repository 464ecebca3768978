"""The run folder. Imports nothing heavy: the command line claims the folder before a run begins."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any


def claim_run_dir(resume: str | None, parent: str) -> str:
    """Make and return a folder that no other run has: `<parent>/<date>_<time>[-n]`, or the resumed one.

    Making it is the claim, so that two runs that start in one second, also on two machines with one
    file system, do not share it.
    """
    if resume:
        return resume
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        folder = Path(parent) / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return str(folder)


def write_json(path: Path, data: Any) -> None:
    """Write plain data whole or not at all."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
