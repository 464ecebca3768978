"""Time of a training sample as a set grows: 1, 10 and 100 times as many rows, whole epochs.

python benchmarks/data_size.py
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contenders import Case, command
from turns import race

ROWS, COLUMNS, TURNS, TIMES = 10_000, 30, 5, (1, 10, 100)


def case(folder: str, times: int) -> Case:
    """A table so many times as long."""
    path = Path(folder) / f"{times}.parquet"
    values = np.random.default_rng(0).normal(size=(COLUMNS, times * ROWS)).astype(np.float32)
    pq.write_table(pa.table({f"x{number}": column for number, column in enumerate(values)}), path)
    return Case(("data=table", f"data.path={path}"), compiled=False)


def main() -> None:
    with TemporaryDirectory() as folder:  # a turn is as many epochs as see the same number of rows
        taken = race({str(n): command("run", case(folder, n), epochs=TIMES[-1] // n) for n in TIMES}, TURNS)
    for times in TIMES:
        ratios = [seconds[str(times)] / seconds[str(TIMES[0])] for seconds in taken]
        shown = f"{statistics.median(ratios):.3f} of the time ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{times * ROWS:,} rows: {shown}")


if __name__ == "__main__":
    main()
