"""Decoders of sequences."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.backbones.backbone import Decoder, Shape
from vaelab.backbones.frames import Choose, FrameEmbedding, FrameHead, time_features
from vaelab.core.spec import DataSpec


class SequenceDecoder(Decoder):
    """Predicts each frame of tokens or of a roll from the code and the frames before it; series from the code alone.

    Args:
        latent_shape, output_shape, spec: from the run.
        width: of the states.
    """

    needs_spec = True

    def __init__(self, latent_shape: Shape, output_shape: Sequence[int], spec: DataSpec, width: int) -> None:
        super().__init__()
        self.autoregressive = spec.kind in ("tokens", "roll")
        self.steps, self.width, self.end = spec.shape[-1], width, spec.end
        self.tokens = spec.support == "categories"
        self.head = FrameHead(spec, output_shape[0], width)
        if self.autoregressive:
            self.embedding = FrameEmbedding(spec, width)
            self.start = nn.Parameter(torch.zeros(width))

    @abstractmethod
    def states(self, z: Tensor, inputs: Tensor) -> Tensor:
        """`z: (B, *latent_shape)`, `inputs: (B, T, width)` to `(B, T, width)`; step t depends on inputs up to t."""

    def forward(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Raw parameters of each step, `(B, P, *F, T)`.

        Args:
            z: `(B, *latent_shape)`.
            given: `(B, *F, T)`; step t reads the frames before t, and the voices before its own (teacher forcing).
        """
        if not self.autoregressive:
            inputs = time_features(self.steps, self.width, z.device).to(z.dtype).expand(len(z), -1, -1)
            return self.head(self.states(z, inputs), None)
        if given is None:
            raise TypeError("an autoregressive decoder needs the sequence that it predicts")
        forced = self.embedding(given)
        first = self.start.expand(len(z), 1, -1)
        states = self.placed(self.states(z, torch.cat([first, forced[:, :-1]], dim=1)), 0)
        raw, beside = self.head(states, given), self.beside(states, given.roll(1, -1), 0)
        return raw if beside is None else raw + beside

    def placed(self, states: Tensor, first: int) -> Tensor:
        """States `(B, T, width)` of the steps from `first` on, with information on the position added by a subclass."""
        return states

    def beside(self, states: Tensor, before: Tensor, first: int) -> Tensor | None:
        """An addition to the raw parameters of the steps from `first` on, `(B, P, *F, T)`; None for no addition.

        Args:
            states: `(B, T, width)`, from `placed`.
            before: `(B, *F, T)`, the frame before each step; the one before step 0 is arbitrary.
            first: number of the first of these steps.
        """
        return None

    @torch.no_grad()
    def generate(self, z: Tensor, choose: Choose, steps: int | None = None, known: Tensor | None = None) -> Tensor:
        """Values `(B, *F, T)`, generated frame by frame, each given the frames before it; -1 after an end token.

        Args:
            z: `(B, *latent_shape)`.
            choose: maps raw parameters to values.
            steps: T; the length of an example if None.
            known: `(B, *F, T)` tokens that are kept, except for masked ones, which are generated. They also determine
                where a sequence ends.
        """
        inputs, frames = self.start.expand(len(z), 1, -1), []
        done = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        state: Any = None
        latest = z.new_zeros(len(z), *self.head.frame, 1)
        for place in range(known.shape[-1] if known is not None else steps or self.steps):
            hidden, state = self.step(z, inputs, state)
            hidden = self.placed(hidden, place)
            chosen = _after_adding(self.beside(hidden, latest, place), choose)
            latest = frame = self.head.draw(hidden, chosen, None if known is None else known[..., place : place + 1])
            if self.end is not None and known is None:
                frame = frame.masked_fill(done.view(-1, *[1] * (frame.dim() - 1)), -1)
                done = done | (frame.flatten(1) == self.end).any(1)
            frames.append(frame)
            inputs = self.embedding(frame)
        return torch.cat(frames, dim=-1)

    def step(self, z: Tensor, latest: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The hidden state `(B, 1, width)` after the input `latest: (B, 1, width)`, and the state for the next call."""
        inputs = latest if state is None else torch.cat([state, latest], dim=1)
        return self.states(z, inputs)[:, -1:], inputs


def _after_adding(beside: Tensor | None, choose: Choose) -> Choose:
    return choose if beside is None else lambda raw: choose(raw + beside)
