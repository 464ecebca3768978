"""A first-order Markov chain over frames, a baseline of the likelihood."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec, observed_mask
from vaelab.data.music.notes import FIRST_PITCH, HOLD, sounding
from vaelab.data.music.transposition import transposed_roll, transposed_tokens

ADDED = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # values of k; the best on validation is used
ABOVE = 3  # a voice depends on up to this many voices before it in the same frame
CHUNK = 512


@dataclass(frozen=True)
class Markov:
    """p(frame | the frame before), as a product over voices, with k added to every count.

    The token of a voice depends on the state of this voice in the frame before (the pitch, whether struck or held
    there, or a rest, or no frame before), on the position in the quarter, and on which of the three voices before
    it strike a note in this frame. A pitch of a roll depends on whether it sounded in the frame before and on the
    position in the quarter. Positions are counted from the beginning of the window.
    """

    spec: DataSpec
    steps_per_quarter: int
    counts: Tensor  # (contexts, outcomes) float64
    added: float

    @classmethod
    def fit(cls, spec: DataSpec, steps_per_quarter: int, train: Tensor, transpose: int) -> "Markov":
        """Count `train: (N, *shape)`, also transposed up and down by at most `transpose` semitones; k is 1."""
        counts = torch.zeros(1)
        for semitones in range(-transpose, transpose + 1):
            for part in train.split(CHUNK):
                shift = torch.full((len(part),), semitones)
                roll = spec.kind == "roll"
                moved = transposed_roll(part, shift) if roll else transposed_tokens(part, shift, spec.levels or 0)
                context, outcome, observed = _events(moved, spec, steps_per_quarter)
                shape = _sizes(spec, steps_per_quarter)
                slots = (context * shape[1] + outcome)[observed]
                counts = counts + torch.bincount(slots, minlength=shape[0] * shape[1]).double()
        return cls(spec, steps_per_quarter, counts.view(_sizes(spec, steps_per_quarter)), 1.0)

    def nll_per_step(self, values: Tensor) -> float:
        """Nats per frame of `(N, *shape)`: total nats over all observed frames."""
        smoothed = self.counts + self.added
        log_p = (smoothed / smoothed.sum(1, keepdim=True)).log()
        nats, frames = 0.0, 0
        for part in values.split(CHUNK):
            context, outcome, observed = _events(part, self.spec, self.steps_per_quarter)
            nats -= float(log_p[context, outcome][observed].sum())
            frames += int(observed.any(1).sum())
        return nats / frames


def fit_markov(
    spec: DataSpec, steps_per_quarter: int, train: Tensor, val: Tensor, transpose: int
) -> tuple[Markov, float]:
    """The best chain on `val`, over all k, fitted to train with and without transposition; and its nats per frame."""
    chains = [Markov.fit(spec, steps_per_quarter, train, most) for most in sorted({0, transpose})]
    tried = [Markov(spec, steps_per_quarter, chain.counts, added) for chain in chains for added in ADDED]
    scored = [(chain.nll_per_step(val), number) for number, chain in enumerate(tried)]
    best, number = min(scored)
    return tried[number], best


def _sizes(spec: DataSpec, steps_per_quarter: int) -> tuple[int, int]:
    voices, outcomes = spec.shape[0], spec.levels or 2
    states, struck = (outcomes, 2**ABOVE) if spec.kind == "tokens" else (3, 1)
    return voices * states * steps_per_quarter * struck, outcomes


def _events(values: Tensor, spec: DataSpec, steps_per_quarter: int) -> tuple[Tensor, Tensor, Tensor]:
    """`(N, F, T)` values to each value's context index, the value, and whether it is observed."""
    observed = observed_mask(values)
    outcome = values.nan_to_num().long().clamp(min=0)
    voices, steps = spec.shape
    if spec.kind == "tokens":
        state, first, states = sounding(outcome), HOLD, spec.levels or 0  # a sounding pitch is never a hold
        strikes = torch.nn.functional.pad((outcome >= FIRST_PITCH).long(), (0, 0, ABOVE, 0))
        struck = sum(strikes[:, ABOVE - n : ABOVE - n + voices] * 2 ** (n - 1) for n in range(1, ABOVE + 1))
        patterns = 2**ABOVE
    else:
        state, first, states = outcome, 2, 3
        struck, patterns = 0, 1
    before = torch.cat([torch.full_like(state[..., :1], first), state[..., :-1]], dim=2)
    voice, place = torch.arange(voices).view(-1, 1), torch.arange(steps) % steps_per_quarter
    return ((voice * states + before) * steps_per_quarter + place) * patterns + struck, outcome, observed
