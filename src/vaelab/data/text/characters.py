"""Characters that tokens of text stand for."""

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec


def characters_of_each(tokens: Tensor, spec: DataSpec) -> Tensor:
    """How many characters each example `(B, T)` has, its end counted as one, `(B,)` int64; 0 for what is no text."""
    if not spec.characters:
        return torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    table = torch.tensor(spec.characters, device=tokens.device)
    return (table[tokens.clamp(min=0)] * (tokens >= 0)).sum(1)
