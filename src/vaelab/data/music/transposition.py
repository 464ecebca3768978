"""Transposition of batches of music, on their device."""

import torch
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.data.music.notes import FIRST_PITCH


def drawn_shifts(noise: Noise, most: int, device: torch.device) -> Tensor:
    """Sample semitones for each example, `(B,)` int64, uniformly from `-most` to `most`."""
    uniform = noise.uniform("transpose", (), device)
    return (uniform * (2 * most + 1)).long().clamp(max=2 * most) - most


def transposed_tokens(tokens: Tensor, semitones: Tensor, levels: int) -> Tensor:
    """Transpose tokens `(B, V, T)` by `semitones`, `(B,)`; an example is unchanged if a note would leave the range."""
    is_pitch = tokens >= FIRST_PITCH
    moved = tokens + semitones.view(-1, 1, 1) * is_pitch
    leaves = (is_pitch & ((moved < FIRST_PITCH) | (moved >= levels))).flatten(1).any(1)
    return torch.where(leaves.view(-1, 1, 1), tokens, moved)


def transposed_roll(roll: Tensor, semitones: Tensor) -> Tensor:
    """Transpose rolls `(B, P, T)` by `semitones`, `(B,)`; an example is unchanged if a note would leave the range."""
    pitches = roll.shape[1]
    rows = torch.arange(pitches, device=roll.device).unsqueeze(0)
    target, source = rows + semitones.unsqueeze(1), rows - semitones.unsqueeze(1)
    used = (roll > 0).any(2)
    leaves = (used & ((target < 0) | (target >= pitches))).any(1)
    moved = roll.gather(1, (source % pitches).unsqueeze(2).expand_as(roll))  # rows that wrap around are silent
    return torch.where(leaves.view(-1, 1, 1), roll, moved)
