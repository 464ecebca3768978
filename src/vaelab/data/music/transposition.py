"""Music in other keys, whole batches on their device."""

import torch
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.data.music.notes import FIRST_PITCH


def drawn_shifts(noise: Noise, most: int, device: torch.device) -> Tensor:
    """Semitones for each example, `(B,)` int64, all from -most to most with equal chance."""
    uniform = noise.uniform("transpose", (), device)
    return (uniform * (2 * most + 1)).long().clamp(max=2 * most) - most


def transposed_tokens(tokens: Tensor, semitones: Tensor, levels: int) -> Tensor:
    """`tokens: (B, V, T)` moved by `semitones: (B,)`; an example stays as it is if a note would leave the range."""
    is_pitch = tokens >= FIRST_PITCH
    moved = tokens + semitones.view(-1, 1, 1) * is_pitch
    leaves = (is_pitch & ((moved < FIRST_PITCH) | (moved >= levels))).flatten(1).any(1)
    return torch.where(leaves.view(-1, 1, 1), tokens, moved)


def transposed_roll(roll: Tensor, semitones: Tensor) -> Tensor:
    """`roll: (B, P, T)` moved by `semitones: (B,)`; an example stays as it is if a note would leave the range."""
    pitches = roll.shape[1]
    rows = torch.arange(pitches, device=roll.device).unsqueeze(0)
    target, source = rows + semitones.unsqueeze(1), rows - semitones.unsqueeze(1)
    used = (roll > 0).any(2)
    leaves = (used & ((target < 0) | (target >= pitches))).any(1)
    moved = roll.gather(1, (source % pitches).unsqueeze(2).expand_as(roll))  # what comes around is silent
    return torch.where(leaves.view(-1, 1, 1), roll, moved)
