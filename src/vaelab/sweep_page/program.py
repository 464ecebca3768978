"""The command that starts a run from the current folder."""

import os


def program() -> list[str]:
    """The beginning of a command line that starts a run: `python train.py` if the file exists, else `vaelab train`."""
    return ["python", "train.py"] if os.path.isfile("train.py") else ["vaelab", "train"]
