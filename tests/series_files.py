"""Small series with known truths, and files of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from options import stated
from vaelab.corruptions import Corruption, Identity
from vaelab.data.series.series import Series


def waves(count: int, channels: int = 2, steps: int = 24, seed: int = 0) -> NDArray[np.float64]:
    """`(count, channels, steps)` sines of random phase; channel c has mean 10 c and amplitude c + 1."""
    generator = np.random.default_rng(seed)
    phase = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    scale = np.arange(1, channels + 1).reshape(1, -1, 1)
    return 10 * (scale - 1) + scale * np.sin(0.5 * np.arange(steps) + phase)


def write_csv(path: Path, series: NDArray[Any], names: Sequence[str] | None = None, end: str = "\n") -> Path:
    """`(C, T)`, a row for each step; NaN becomes nothing."""
    names = names or [f"c{channel}" for channel in range(len(series))]
    lines = [",".join(names), *(",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in series.T)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())
    return path


def folder(root: Path, count: int = 20) -> Path:
    """Series of 10 to 24 steps in two classes, one in ten values missing, lines ending as on Windows."""
    generator = np.random.default_rng(0)
    for number, series in enumerate(waves(count)):
        length = 24 if number == 0 else int(generator.integers(10, 25))
        cut = series[:, :length].copy()
        cut[generator.random(cut.shape) < 0.1] = np.nan
        write_csv(root / ("odd" if number % 4 == 0 else "usual") / f"{number:03}.csv", cut, end="\r\n")
    return root


def series(path: Path, corruption: Corruption | None = None, **settings: Any) -> Series:
    """The data set, ready."""
    defaults: dict[str, Any] = {
        "data_dir": str(path.parent), "batch_size": 8, "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0,
        "seed": 0,
    }  # fmt: skip
    data = Series(
        **stated("data/series") | {"corruption": corruption or Identity(), "path": str(path)} | defaults | settings
    )
    data.setup()
    return data
