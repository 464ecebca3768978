"""How a run is started from here."""

import os


def program() -> list[str]:
    """The beginning of a command line that starts a run: `python train.py` where that is, else `vaelab train`."""
    return ["python", "train.py"] if os.path.isfile("train.py") else ["vaelab", "train"]
