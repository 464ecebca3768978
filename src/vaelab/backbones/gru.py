"""Gated recurrent units (Cho et al., 2014), for tokens, rolls and series."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from vaelab.backbones.backbone import Encoder, Shape, vector_size
from vaelab.backbones.frames import SEQUENCES, FrameEmbedding
from vaelab.backbones.sequence import SequenceDecoder
from vaelab.core.spec import DataSpec, observed_steps


class GRUEncoder(Encoder):
    """A bidirectional GRU over the steps up to padding: last states and the mean of the states, then a linear layer."""

    kinds = SEQUENCES
    needs_spec = True

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Shape,
        spec: DataSpec,
        width: Annotated[int, Gt(0)],
        layers: Annotated[int, Gt(0)],
    ) -> None:
        super().__init__()
        self.embedding = FrameEmbedding(spec, width)
        self.gru = nn.GRU(width, width, layers, batch_first=True, bidirectional=True)
        self.output = nn.Linear(4 * width, vector_size(output_shape))

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *F, T)` to `(B, *output_shape)`; padding at the end has no effect."""
        observed = observed_steps(x)
        steps = torch.arange(1, x.shape[-1] + 1, device=x.device)
        lengths = (observed * steps).amax(1).clamp(min=1)  # missing steps in the middle are read, padding is not
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(x), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        outputs, last = self.gru(packed)
        unpacked, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
        mean = unpacked.sum(1) / lengths.unsqueeze(1)
        return self.output(torch.cat([last[-2], last[-1], mean], dim=1))


class GRUDecoder(SequenceDecoder):
    """A unidirectional GRU; the code gives the initial state and is a part of the input of each step.

    Args:
        latent_shape, output_shape, spec: from the run.
        width: of the state.
        layers: of the GRU.
        word_dropout: probability in training that a step does not read the token before it (Bowman et al., 2016,
            section 3.1), so that the decoder must use the latent.
    """

    kinds = SEQUENCES

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        spec: DataSpec,
        width: Annotated[int, Gt(0)],
        layers: Annotated[int, Gt(0)],
        word_dropout: Annotated[float, Ge(0), Lt(1)],
    ) -> None:
        super().__init__(latent_shape, output_shape, spec, width)
        self.word_dropout = word_dropout
        size = vector_size(latent_shape)
        self.first = nn.Linear(size, layers * width)
        self.gru = nn.GRU(width + size, width, layers, batch_first=True)

    def states(self, z: Tensor, inputs: Tensor) -> Tensor:
        """See `SequenceDecoder.states`."""
        return self._run(z, inputs, self._begin(z))[0]

    def step(self, z: Tensor, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `SequenceDecoder.step`."""
        return self._run(z, inputs, self._begin(z) if state is None else state)

    def _begin(self, z: Tensor) -> Tensor:
        return self.first(z).tanh().unflatten(1, (self.gru.num_layers, -1)).transpose(0, 1).contiguous()

    def _run(self, z: Tensor, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        with_code = torch.cat([inputs, z.unsqueeze(1).expand(-1, inputs.shape[1], -1)], dim=2)
        outputs, state = self.gru(with_code, state)
        return outputs, state
