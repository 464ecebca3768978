"""Frames of sequences: the values of one step as one vector, and back."""

from collections.abc import Callable
from math import log, prod

import torch
from torch import Tensor, nn

from vaelab.core.spec import MASKED, DataSpec, Kind, observed_mask

SEQUENCES: frozenset[Kind] = frozenset({"tokens", "roll", "series"})
Choose = Callable[[Tensor], Tensor]  # raw parameters (B, P, ...) to values (B, ...)


class FrameEmbedding(nn.Module):
    """`(B, *F, T)` values to `(B, T, width)`.

    Each voice of tokens has its own embedding table, with entries for padding and masked tokens; the embeddings of the
    voices are summed. Numeric values go through one linear layer, with a missing-value mask if values may be missing.
    """

    def __init__(self, spec: DataSpec, width: int) -> None:
        super().__init__()
        self.voices, self.has_missing = prod(spec.shape[:-1]), spec.has_missing
        self.levels = spec.levels if spec.support == "categories" else None
        if self.levels is not None:
            self.table = nn.Embedding(self.voices * (self.levels + 2), width)
        else:
            self.linear = nn.Linear(self.voices * (1 + self.has_missing), width)

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        return self.each(values).sum(2) if self.levels is not None else self._numbers(values)

    def each(self, tokens: Tensor) -> Tensor:
        """`(B, *F, T)` tokens to a vector for each voice, `(B, T, voices, width)`."""
        assert self.levels is not None
        frames = tokens.reshape(len(tokens), self.voices, -1).transpose(1, 2).long()
        slots = torch.where(frames >= 0, frames, torch.where(frames == MASKED, self.levels + 1, self.levels))
        return self.table(slots + torch.arange(self.voices, device=slots.device) * (self.levels + 2))

    def _numbers(self, values: Tensor) -> Tensor:
        frames = values.reshape(len(values), self.voices, -1).transpose(1, 2)
        if self.has_missing:
            observed = observed_mask(frames)
            frames = torch.cat([frames.where(observed, 0.0), observed.to(frames.dtype)], dim=2)
        return self.linear(frames)


class FrameHead(nn.Module):
    """`(B, T, width)` states to raw parameters `(B, P, *F, T)`.

    The voices of a frame of tokens are predicted in order, each given the voices before it.
    """

    def __init__(self, spec: DataSpec, parameters: int, width: int) -> None:
        super().__init__()
        self.frame, self.per_value = spec.shape[:-1], parameters
        self.voices = prod(self.frame)
        self.chained = spec.support == "categories" and self.voices > 1
        self.linear = nn.Linear(width, parameters * self.voices)
        if self.chained:
            self.embedding = FrameEmbedding(spec, width)
            self.mix = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())

    def forward(self, states: Tensor, target: Tensor | None) -> Tensor:
        """`target: (B, *F, T)` gives each voice the true voices before it (teacher forcing)."""
        if self.chained:
            assert target is not None
            before = self.embedding.each(target).cumsum(2).roll(1, 2)
            before[:, :, 0] = 0
            return self._shaped(torch.stack([self._voice(states + before[:, :, v], v) for v in range(self.voices)], 3))
        return self._shaped(self.linear(states).unflatten(2, (self.per_value, self.voices)))

    def draw(self, state: Tensor, choose: Choose, known: Tensor | None = None) -> Tensor:
        """One frame after `state: (B, 1, width)`, voice by voice; `(B, *F, 1)`.

        If `known: (B, *F, 1)` tokens are given, only the masked ones are chosen.
        """

        def settled(drawn: Tensor) -> Tensor:
            return drawn if known is None else drawn.where(known == MASKED, known)

        if not self.chained:
            return settled(choose(self.forward(state, None)))
        chosen = state.new_full((len(state), *self.frame, 1), -1, dtype=torch.int64)
        by_voice = chosen.view(len(state), self.voices, 1)
        for voice in range(self.voices):
            drawn = settled(choose(self.forward(state, chosen)))
            by_voice[:, voice] = drawn.view(len(state), self.voices, 1)[:, voice]
        return chosen

    def _voice(self, state: Tensor, voice: int) -> Tensor:
        weight = self.linear.weight.unflatten(0, (self.per_value, self.voices))[:, voice]
        bias = self.linear.bias.unflatten(0, (self.per_value, self.voices))[:, voice]
        return nn.functional.linear(self.mix(state), weight, bias)

    def _shaped(self, raw: Tensor) -> Tensor:
        """`(B, T, P, voices)` to `(B, P, *F, T)`."""
        raw = raw.permute(0, 2, 3, 1)
        return raw.unflatten(2, self.frame) if self.frame else raw.squeeze(2)


def time_features(steps: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of the step (Vaswani et al., 2017, section 3.5), `(steps, width)`."""
    half = -(-width // 2)
    rates = torch.exp(torch.arange(half, device=device) * (-log(10_000.0) / max(1, half - 1)))
    angles = torch.arange(steps, device=device).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
