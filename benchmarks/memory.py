"""Peak memory of the ordinary run and of a loop by hand, each in a process of its own.

python benchmarks/memory.py
"""

import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from contenders import CONTENDERS, Case
from throughput import MLP
from turns import Clock

NAMES = ("by hand", "run")
CASE = Case(MLP, compiled=False, limit=100)


def alone(contender: str) -> float:
    """MiB at most, in this process."""
    with TemporaryDirectory() as folder:
        CONTENDERS[contender](CASE, CASE.config(folder), 1, folder, Clock())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(f"peak {alone(sys.argv[1])}")
        return
    peaks = {}
    for name in NAMES:
        done = subprocess.run(
            [sys.executable, Path(__file__), name], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        peaks[name] = float(next(line for line in done if line.startswith("peak ")).split()[1])
        print(f"{name}: {peaks[name]:,.0f} MiB")
    print(f"run / by hand: {peaks['run'] / peaks['by hand']:.3f}")


if __name__ == "__main__":
    main()
