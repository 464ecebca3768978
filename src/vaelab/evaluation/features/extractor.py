"""The interface of an extractor."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor


class Extractor(ABC):
    """Maps examples to features. Numbers of two extractors cannot be compared.

    Attributes:
        about: metadata of numbers computed with it, as plain data: its name, the number of features, how examples are
            resized, and a short hash of its weights.
        costly: whether features of real data are cached in a file.
    """

    costly: ClassVar[bool] = False
    about: dict[str, Any]

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @abstractmethod
    def features(self, examples: Tensor) -> Tensor:
        """`(B, *shape)` on `device`, values in the data's range, to `(B, D)`."""

    @torch.no_grad()
    def extract(self, batches: Iterable[Tensor]) -> Tensor:
        """Batches from any device to features, `(N, D)` float32 on the CPU."""
        return torch.cat([self.features(_single(batch.to(self.device))).float().cpu() for batch in batches])


def _single(values: Tensor) -> Tensor:
    """Floats in single precision; tokens unchanged."""
    return values.float() if values.is_floating_point() else values


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """Twelve hexadecimal digits of a hash of all weights."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
