"""`changes.patch`: how the code of a run differs from its commit, without secrets."""

import subprocess
from pathlib import Path

from vaelab.secrets import redact_text

MOST = 2**20  # bytes
DATA = ("csv", "tsv", "parquet", "jsonl", "ndjson", "txt", "xls", "xlsx", "db", "sqlite", "npy", "npz", "h5", "gz",
        "zip", "mid", "midi", "wav", "png", "jpg", "jpeg", "ipynb")  # fmt: skip
EXCLUDED = [f":(exclude,icase,glob)**/*.{kind}" for kind in DATA]
CUT = "\n[the rest is left out: the changes are larger than 1 MB]\n"


def source_changes(folder: Path) -> str:
    """`git diff` of the tracked files of the repository that a folder lies in; empty where nothing differs.

    Secrets are hidden as everywhere. Files that git does not track are not in it, nor are files of data, pictures and
    notebooks, which may show examples.
    """
    try:
        done = subprocess.run(
            ["git", "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--", ".", *EXCLUDED],
            cwd=folder,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if done.returncode:
        return ""
    cut = len(done.stdout) > MOST
    text = done.stdout[:MOST].decode("utf-8", errors="replace")
    return redact_text(text) + (CUT if cut else "")
