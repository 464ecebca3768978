"""A fingerprint of a run's initial weights. It shows whether two runs differ from the start or only later."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

MOST = 4096  # values of each weight that are used


@torch.no_grad()
def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return a hexadecimal digest of names, shapes and first values of all weights."""
    sha = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        sha.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        sha.update(weight.flatten()[:MOST].double().cpu().numpy().tobytes())
    return sha.hexdigest()[:32]
