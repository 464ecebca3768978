"""A decoder of music, whose raw parameters depend directly on the position of a step and on the frame before it."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.backbones.backbone import Shape
from vaelab.backbones.gru import GRUDecoder
from vaelab.core.spec import DataSpec, Kind

KINDS: frozenset[Kind] = frozenset({"tokens", "roll"})
REACH = 12  # semitones up and down within which a note of the frame before has a direct effect


class MusicDecoder(GRUDecoder):
    """A GRU decoder with a learned vector for each step added to its states, and for rolls a link to the frame before.

    Notes begin and end at few positions of a window, and most notes of a frame continue in the next. A GRU learns both
    only slowly. For a roll, the logit of a pitch is that of the GRU plus a weighted sum over the frame before. The
    weight of a note depends on its distance in semitones and on the state. Both additions are initialised to 0.

    Args: see `GRUDecoder`.
    """

    kinds = KINDS

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        spec: DataSpec,
        width: Annotated[int, Gt(0)],
        layers: Annotated[int, Gt(0)],
        word_dropout: Annotated[float, Ge(0), Lt(1)],
    ) -> None:
        super().__init__(latent_shape, output_shape, spec, width, layers, word_dropout)
        self.places = nn.Parameter(torch.zeros(self.steps, width))
        self.weigh = nn.Linear(width, output_shape[0] * (2 * REACH + 1)) if spec.kind == "roll" else None
        if self.weigh is not None:
            nn.init.zeros_(self.weigh.weight)
            nn.init.zeros_(self.weigh.bias)

    def placed(self, states: Tensor, first: int) -> Tensor:
        """See `SequenceDecoder.placed`."""
        return states + self.places[first : first + states.shape[1]]

    def beside(self, states: Tensor, before: Tensor, first: int) -> Tensor | None:
        """See `SequenceDecoder.beside`."""
        if self.weigh is None:
            return None
        notes = before.to(states.dtype).nan_to_num().clamp(min=0).transpose(1, 2)  # 0 if masked by word dropout
        if first == 0:  # there is no frame before the window
            notes = torch.cat([torch.zeros_like(notes[:, :1]), notes[:, 1:]], dim=1)
        around = F.pad(notes, (REACH, REACH)).unfold(2, 2 * REACH + 1, 1)  # (B, T, pitches, 2 REACH + 1)
        weights = self.weigh(states).unflatten(2, (-1, 2 * REACH + 1))
        return (around @ weights.transpose(2, 3)).permute(0, 3, 2, 1)
