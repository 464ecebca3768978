"""Baseline for masked tokens, by counting."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaelab.core.spec import MASKED, PADDING

Integers = NDArray[np.int64]


class CommonestToken:
    """Fills each masked token with the most common one of train; with `between`, given its neighbours.

    A neighbour is the step before or after in the same voice. If one neighbour is masked too, or the two neighbours do
    not occur together in train, the most common token given the other one is used, or else that of the voice.
    """

    def __init__(self, train: Tensor, between: bool) -> None:
        """Count `(N, *F, T)` tokens."""
        self._base = int(train.max()) + 3  # number of different tokens, which start at -2
        before, middle, after, voice = _neighbourhoods(train)
        observed = middle >= 0
        self._tables = [
            _commonest(key[observed], middle[observed], self._base) for key in self._keys(before, after, voice, between)
        ]
        self._between = between

    def __call__(self, noisy: Tensor) -> Tensor:
        """Fill in the masked ones of `(N, *F, T)` tokens."""
        before, middle, after, voice = _neighbourhoods(noisy)
        masked = middle == MASKED
        found = np.full(middle.shape, PADDING)
        keys = self._keys(before, after, voice, self._between)
        unknown = [before == MASKED, after == MASKED]
        useless = [unknown[0] | unknown[1], *unknown, np.zeros_like(masked)] if self._between else [~masked]
        for key, (contexts, tokens), not_here in zip(keys, self._tables, useless, strict=True):
            place = np.searchsorted(contexts, key).clip(max=len(contexts) - 1)
            hit = masked & (found == PADDING) & ~not_here & (contexts[place] == key)
            found[hit] = tokens[place[hit]]
        return torch.from_numpy(np.where(masked, found, middle)).view_as(noisy).to(noisy.dtype)

    def _keys(self, before: Integers, after: Integers, voice: Integers, between: bool) -> list[Integers]:
        """Contexts that tokens are counted for, the most specific first."""
        if not between:
            return [voice]
        left, right, base = before - MASKED, after - MASKED, self._base
        return [(voice * base + left) * base + right, voice * base + left, voice * base + right, voice]


def _neighbourhoods(tokens: Tensor) -> tuple[Integers, Integers, Integers, Integers]:
    """For each token the one before, itself, the one after and the voice, as flat arrays."""
    rows = tokens.reshape(len(tokens), -1, tokens.shape[-1]).long().numpy()
    padded = np.pad(rows, ((0, 0), (0, 0), (1, 1)), constant_values=PADDING)
    voice = np.broadcast_to(np.arange(rows.shape[1])[None, :, None], rows.shape)
    return padded[..., :-2].ravel(), rows.ravel(), padded[..., 2:].ravel(), voice.ravel()


def _commonest(context: Integers, token: Integers, base: int) -> tuple[Integers, Integers]:
    """Each context, ascending, and its most common token; of equally common ones the largest."""
    pairs, counts = np.unique(context * base + token, return_counts=True)
    contexts, tokens = np.divmod(pairs, base)
    order = np.lexsort((counts, contexts))
    last = np.append(np.diff(contexts[order]) != 0, True)
    return contexts[order][last], tokens[order][last]
