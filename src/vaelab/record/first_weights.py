"""A fingerprint of the weights that a run began with. It tells another start from another course of training."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

MOST = 4096  # values of each weight that are read


@torch.no_grad()
def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A digest of the names, the shapes and the first values of all weights, in hexadecimal."""
    sha = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        sha.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        sha.update(weight.flatten()[:MOST].double().cpu().numpy().tobytes())
    return sha.hexdigest()[:32]
