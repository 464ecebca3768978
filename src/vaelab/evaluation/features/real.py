"""Features of real examples, kept in files where they cost much."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from vaelab.atomic_write import write_file
from vaelab.careful_read import DIGEST, Weights, digest
from vaelab.errors import CheckpointError
from vaelab.evaluation.features.extractor import Extractor


def real_features(
    extractor: Extractor, folder: Path, fingerprint: str, rows: str, examples: Callable[[], Tensor]
) -> Tensor:
    """`(N, D)` features of real examples.

    Args:
        extractor: what takes them.
        folder: where they are kept, if the extractor is costly.
        fingerprint: of the data, its split and its scaling.
        rows: which of its examples, in words.
        examples: gives them, `(N, *shape)`; asked only where no file has the features.
    """
    if not extractor.costly:
        return extractor.extract(examples().split(512))
    key = json.dumps([fingerprint, rows, extractor.about], sort_keys=True)
    path = folder / f"features-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    with suppress(CheckpointError, KeyError):
        return Weights(path).load()["features"]
    found = extractor.extract(examples().split(512))
    with suppress(OSError):
        kept = {"features": found.contiguous()}
        write_file(path, save(kept, {DIGEST: digest(kept)}))
    return found
