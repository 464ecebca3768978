"""Features of real examples, cached in files if they are costly."""

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
        extractor: computes the features.
        folder: where they are cached, if the extractor is costly.
        fingerprint: of the data, its split and its scaling.
        rows: a description of the examples.
        examples: returns them, `(N, *shape)`; called only if no file has the features.
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
