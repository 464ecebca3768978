"""The codes of a split, with what says which example each belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaelab.data.module import DataModule
from vaelab.evaluation.encoded import encoded
from vaelab.models import Model


@dataclass(frozen=True)
class Latents:
    """Row i of each array is the same example; rows are in the order of the split.

    Attributes:
        index: `(N,)` int64, the example's row in the data set before it was split.
        label: `(N,)` int64, -1 where there is none.
        codes: `(N, latent_dim)` float32.
    """

    index: np.ndarray
    label: np.ndarray
    codes: np.ndarray


def encode_split(model: Model, data: DataModule, split: str) -> Latents:
    """Codes, or posterior means, of all examples of a split; see `Encoded`."""
    found = encoded(model, data, split)
    return Latents(found.index.numpy(), found.label.numpy(), found.codes.numpy())


def read_latents(path: Path, latent_dim: int) -> Latents | None:
    """What `to_parquet` wrote of a model of this size; None where no such file is there."""
    try:
        table = pq.read_table(path)
        codes = np.column_stack([table[f"z{d}"].to_numpy() for d in range(latent_dim)]).astype(np.float32)
        return Latents(table["index"].to_numpy(), table["label"].to_numpy(), codes)
    except (OSError, KeyError, ValueError):  # of Arrow's own errors those of reading are among these
        return None


def to_parquet(latents: Latents, classes: Sequence[str]) -> bytes:
    """A Parquet file with the columns `index`, `label`, `class` (null where there is none) and `z0`, `z1`, ..."""
    columns = {
        "index": pa.array(latents.index, pa.int64()),
        "label": pa.array(latents.label, pa.int64()),
        "class": pa.array([class_name(label, classes) for label in latents.label.tolist()], pa.string()),
    }
    columns |= {f"z{d}": pa.array(column, pa.float32()) for d, column in enumerate(latents.codes.T)}
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def class_name(label: int, classes: Sequence[str]) -> str | None:
    """The name of a class; its number where classes have no names, None for an example without one."""
    if label < 0:
        return None
    return classes[label] if label < len(classes) else str(label)
