"""Transformers (Vaswani et al., 2017), for tokens, rolls and series."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.backbones.backbone import Encoder, Shape, vector_size
from vaelab.backbones.frames import SEQUENCES, FrameEmbedding
from vaelab.backbones.sequence import SequenceDecoder
from vaelab.core.spec import DataSpec, observed_steps
from vaelab.errors import ConfigError


class Attention(nn.Module):
    """Self-attention with rotary positions (Su et al., 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ConfigError(
                f"width={width} heads={heads}: width should be a multiple of {2 * heads}, twice the heads"
            )
        self.heads = heads
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool, observed: Tensor | None) -> Tensor:
        """`x: (B, T, width)`; `observed: (B, T)` are the steps that can be attended to, all if None."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if observed is None else observed[:, None, None, :]
        mixed = F.scaled_dot_product_attention(rotated(query), rotated(key), value, attn_mask=mask, is_causal=causal)
        return self.output(mixed.transpose(1, 2).flatten(2))


def rotated(x: Tensor) -> Tensor:
    """Rotate pairs of channels by an angle proportional to the step; `(B, H, T, D)` with even D."""
    half, steps = x.shape[-1] // 2, x.shape[-2]
    rates = 10_000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(steps, device=x.device, dtype=torch.float32).unsqueeze(1) * rates
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cosine - right * sine, left * sine + right * cosine], dim=-1)


class Block(nn.Module):
    """Attention and a feed-forward layer, with layer normalisation before each (Xiong et al., 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, causal: bool, observed: Tensor | None = None) -> Tensor:
        """`(B, T, width)` to the same shape."""
        x = x + self.attention(self.norms[0](x), causal, observed)
        return x + self.feed(self.norms[1](x))


class TransformerEncoder(Encoder):
    """Observed steps attend to each other; the mean over them is followed by a linear layer."""

    kinds = SEQUENCES
    needs_spec = True

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Shape,
        spec: DataSpec,
        width: Annotated[int, Gt(0)],
        layers: Annotated[int, Gt(0)],
        heads: Annotated[int, Gt(0)],
    ) -> None:
        super().__init__()
        self.embedding = FrameEmbedding(spec, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vector_size(output_shape)))

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *F, T)` to `(B, *output_shape)`; padding has no effect."""
        observed = observed_steps(x)
        observed = observed | ~observed.any(1, keepdim=True)  # an example without observed values has a code too
        hidden = self.embedding(x)
        for block in self.blocks:
            hidden = block(hidden, causal=False, observed=observed)
        weight = observed.to(hidden.dtype).unsqueeze(2)
        return self.output((hidden * weight).sum(1) / weight.sum(1))


class TransformerDecoder(SequenceDecoder):
    """Causal self-attention; the code is added to every input.

    Args:
        latent_shape, output_shape, spec: from the run.
        width, layers, heads: of the transformer.
        word_dropout: see `GRUDecoder`.
    """

    kinds = SEQUENCES

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        spec: DataSpec,
        width: Annotated[int, Gt(0)],
        layers: Annotated[int, Gt(0)],
        heads: Annotated[int, Gt(0)],
        word_dropout: Annotated[float, Ge(0), Lt(1)],
    ) -> None:
        super().__init__(latent_shape, output_shape, spec, width)
        self.word_dropout = word_dropout
        self.code = nn.Linear(vector_size(latent_shape), width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def states(self, z: Tensor, inputs: Tensor) -> Tensor:
        """See `SequenceDecoder.states`."""
        hidden = inputs + self.code(z).unsqueeze(1)
        for block in self.blocks:
            hidden = block(hidden, causal=self.autoregressive)
        return self.norm(hidden)
