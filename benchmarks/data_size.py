"""Time of a training sample as a set grows: 1, 10 and 100 times as many rows, as many steps.

python benchmarks/data_size.py
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contenders import Case, pace, run

from vaelab.run import quieten

ROWS, COLUMNS, STEPS, ROUNDS = 20_000, 30, 100, 9


def case(folder: str, times: int) -> Case:
    """A table so many times as long."""
    path = Path(folder) / f"{times}.parquet"
    values = np.random.default_rng(0).normal(size=(COLUMNS, times * ROWS)).astype(np.float32)
    pq.write_table(pa.table({f"x{number}": column for number, column in enumerate(values)}), path)
    return Case(("data=table", f"data.path={path}"), compiled=False, limit=STEPS)


def main() -> None:
    quieten()
    with TemporaryDirectory() as folder:
        cases = {times: case(folder, times) for times in (1, 10, 100)}
        rounds = [
            {times: pace(run(one, one.config(folder), 5, folder)) for times, one in cases.items()}
            for _ in range(ROUNDS)
        ]
    for times in cases:
        ratios = [seconds[times] / seconds[1] for seconds in rounds]
        shown = f"{statistics.median(ratios):.3f} of the time ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{times * ROWS:,} rows: {shown}")


if __name__ == "__main__":
    main()
