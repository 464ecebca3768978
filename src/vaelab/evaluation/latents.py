"""The codes of a split, with the index and label of each example."""

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
        label: `(N,)` int64, -1 for no label.
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
    """Read a file of `to_parquet` for codes of this size; None if there is none."""
    try:
        table = pq.read_table(path)
        codes = np.column_stack([table[f"z{d}"].to_numpy() for d in range(latent_dim)]).astype(np.float32)
        return Latents(table["index"].to_numpy(), table["label"].to_numpy(), codes)
    except (OSError, KeyError, ValueError):  # these include Arrow's errors in reading
        return None


def to_parquet(latents: Latents, classes: Sequence[str]) -> bytes:
    """A Parquet file with the columns `index`, `label`, `class` (null without a label) and `z0`, `z1`, ..."""
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
    """The name of a class; its number if classes have no names, None for no label."""
    if label < 0:
        return None
    return classes[label] if label < len(classes) else str(label)
