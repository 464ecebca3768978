"""Peak memory of the ordinary run and of a loop by hand, each time in a process of its own: medians of five.

python benchmarks/memory.py
"""

import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from contenders import CONTENDERS, Case
from throughput import CONV, MLP
from turns import Clock

NAMES, TIMES = ("by hand", "run"), 5
CASES = {"MLP VAE": Case(MLP, compiled=False, limit=100), "conv VAE": Case(CONV, compiled=False, limit=6)}


def alone(contender: str, case: Case) -> float:
    """MiB at most, in this process."""
    with TemporaryDirectory() as folder:
        CONTENDERS[contender](case, case.config(folder), 3, folder, Clock())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(f"\npeak {alone(sys.argv[1], CASES[sys.argv[2]])}")
        return
    for case in CASES:
        taken: dict[str, list[float]] = {name: [] for name in NAMES}
        for name in NAMES * TIMES:
            command = [sys.executable, Path(__file__), name, case]
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            taken[name].append(float(next(line for line in done if line.startswith("peak ")).split()[1]))
        peaks = {name: statistics.median(taken[name]) for name in NAMES}
        for name in NAMES:
            print(f"{case}, {name}: {peaks[name]:,.0f} MiB ({min(taken[name]):,.0f} to {max(taken[name]):,.0f})")
        print(f"{case}, run / by hand: {peaks['run'] / peaks['by hand']:.3f}", flush=True)


if __name__ == "__main__":
    main()
