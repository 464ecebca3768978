"""Time of a training sample and memory as a set grows: 1, 10 and 100 times as many examples, whole epochs.

    python benchmarks/data_size.py

A table is kept in memory, then read from disk, as images are.
"""

import io
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contenders import CONTENDERS, Case, command
from PIL import Image
from turns import Clock, race

TURNS, TIMES = 7, (1, 10, 100)
ROWS, COLUMNS, IMAGES, SIDE = 10_000, 30, 2_000, 28
SMALL = ("encoder.hidden=[64]", "decoder.hidden=[64]", "likelihood=gaussian")


def table(folder: Path, times: int) -> Case:
    """Of standard normal numbers."""
    path = folder / f"{times}.parquet"
    values = np.random.default_rng(0).normal(size=(COLUMNS, times * ROWS)).astype(np.float32)
    pq.write_table(pa.table({f"x{number}": column for number, column in enumerate(values)}), path)
    return Case(("data=table", f"data.path={path}"), compiled=False)


def table_on_disk(folder: Path, times: int) -> Case:
    """The same, as a larger one would be."""
    case = table(folder, times)
    return replace(case, overrides=(*case.overrides, "storage=disk"))


def images(folder: Path, times: int) -> Case:
    """Of random pixels, the same again and again."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE), dtype=np.uint8)
    group = pa.table({"image": pa.array([{"bytes": encoded(image), "path": None} for image in pixels])})
    path = folder / str(times) / "train.parquet"
    path.parent.mkdir()
    with pq.ParquetWriter(path, group.schema) as writer:
        for _ in range(times):
            writer.write_table(group)
    return Case(("data=images", f"data.path={path.parent}", "storage=disk", *SMALL), compiled=False)


def encoded(image: np.ndarray) -> bytes:
    """As PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def memory(case: Case) -> float:
    """MiB that one epoch takes at most in a process of its own, pages of files not counted."""
    program = [sys.executable, __file__, *command("run", case)[-2:]]
    return float(subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def watched(case: Case) -> float:
    """The same, of this process."""
    peak, over = 0.0, Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.02):
            status = Path("/proc/self/status").read_text()
            peak = max(peak, next(int(line.split()[1]) for line in status.splitlines() if "RssAnon" in line) / 1024)

    watcher = Thread(target=watch)
    watcher.start()
    with TemporaryDirectory() as folder:
        CONTENDERS["run"](case, case.config(folder), 1, folder, Clock())
    over.set()
    watcher.join()
    return peak


def measure(made: Callable[[Path, int], Case]) -> None:
    """Print ratios to the smallest; a turn is as many epochs as see the same number of examples."""
    with TemporaryDirectory() as folder:
        cases = {times: made(Path(folder), times) for times in TIMES}
        peaks = {times: [memory(case), memory(case)][-1] for times, case in cases.items()}  # the first decodes
        commands = {str(times): command("run", case, epochs=TIMES[-1] // times) for times, case in cases.items()}
        taken = race(commands, TURNS)
    for times in TIMES:
        low, middle, high = statistics.quantiles((turn[str(times)] / turn[str(TIMES[0])] for turn in taken), n=4)
        more = peaks[times] - peaks[TIMES[0]]
        time = f"{middle:.3f} of the time ({low:.3f} to {high:.3f})"
        print(f"{made.__name__.replace('_', ' ')} x {times}: {time}, {more:+,.0f} MiB", flush=True)


def main() -> None:
    if len(sys.argv) > 1:
        print(watched(Case(**json.loads(sys.argv[1]))))
        return
    for made in (table, table_on_disk, images):
        measure(made)


if __name__ == "__main__":
    main()
