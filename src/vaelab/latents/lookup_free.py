"""Lookup-free quantization: each dimension of the code is replaced by its sign, and an entry is a string of bits."""

from dataclasses import replace
from math import prod
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F

from vaelab.core.devices import gathered
from vaelab.errors import ConfigError
from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.posterior import Scheduled
from vaelab.latents.quantizers import Quantizer
from vaelab.latents.spec import LatentGroup

MOST_BITS = 20  # of an entry, because the occurrences of each entry are counted


class Signs(NamedTuple):
    """q(z|x): the signs of the encoder's output.

    Attributes:
        mean: `(B, *shape)`, -1 or 1, with the gradient of the encoder's output.
        indices: `(B, *indices)` int64.
        words: `(B, groups, *places, bits)`, the encoder's output.
    """

    mean: Tensor
    indices: Tensor
    words: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: the code is deterministic."""
        return None


class LFQ(Quantizer):
    """Lookup-free quantization (Yu et al., 2024, MAGVIT-v2, section 3.1), with an implicit and possibly large codebook.

    Each channel is replaced by its sign, -1 or 1. The channels at a position are the bits of one codebook entry, or of
    `groups` entries; 2^18 entries need no more weights than 2^4. Gradients are passed straight through to the encoder.
    With q(c|x) the softmax of -||x - c||^2 / temperature over the entries c, these terms are summed over all positions
    of an example:

    - `commitment` ||x - sg[sign(x)]||^2
    - `entropy` times H(q(c|x)), the entropy at each position: low if each sign is certain
    - `diversity`, minus `entropy` times `diversity` times H(E[q(c|x)]), the entropy of the mean over all positions of
      the batch on all devices: the term is lowest if all entries are used equally often (equation 5)

    Under q(c|x) the bits are independent, so its entropy is the sum of the bits' entropies. In the mean over a batch
    the bits are dependent. The entropy of the mean is exact for blocks of at most `joint` bits, and is summed over the
    blocks of an entry. With blocks of one bit, a batch that uses only the two entries 000 and 111 would count as one
    that uses all entries. For a sum over larger blocks, too, the minimum is reached if all entries are used equally.
    Terms are computed in single precision under mixed precision too.

        python train.py data=fashion_mnist encoder=conv latent=grid latent_dim=10 posterior=lfq

    Args:
        groups: number of entries that the channels at a position are divided into.
        entropy: weight of both entropies.
        diversity: weight of the second entropy relative to the first, called gamma.
        commitment: weight of the commitment term.
        temperature: of q(c|x). The probability of a sign is sigmoid(4 |x| / temperature).
        joint: bits of a block, see above; memory for 2^joint values is needed for each position of a batch.
    """

    def __init__(
        self,
        groups: Annotated[int, Ge(1)],
        entropy: Annotated[float, Ge(0)],
        diversity: Annotated[float, Ge(0)],
        commitment: Annotated[float, Ge(0)],
        temperature: Annotated[float, Gt(0)],
        joint: Annotated[int, Ge(1), Le(16)],
    ) -> None:
        super().__init__(1)
        self.groups, self.joint = groups, joint
        self.entropy, self.diversity, self.commitment = entropy, diversity, commitment
        self.temperature = temperature
        self.batch_terms = frozenset({"diversity"} if entropy * diversity else ())
        self.basis: Tensor

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """See `Posterior.group`: one index for each entry."""
        if shape[0] % self.groups:
            raise ConfigError(f"posterior.groups={self.groups} and latent_dim={shape[0]}: groups should divide it")
        bits, places = shape[0] // self.groups, shape[1:]
        if bits > MOST_BITS:
            fitting = next(
                n for n in range(self.groups, shape[0] + 1) if shape[0] % n == 0 and shape[0] // n <= MOST_BITS
            )
            raise ConfigError(
                f"latent_dim={shape[0]} and posterior.groups={self.groups}: give codebook entries of {bits} bits; at "
                f"most {MOST_BITS} are allowed, use posterior.groups={fitting}"
            )
        return LatentGroup(shape, places if self.groups == 1 and places else (self.groups, *places), 2**bits)

    def bind(self, group: LatentGroup) -> None:
        """Set the number of bits."""
        assert group.levels is not None
        self.levels, self.bits = group.levels, group.shape[0] // self.groups
        self.register_buffer("counts", torch.zeros(self.levels))
        self.register_buffer("basis", 2 ** torch.arange(self.bits), persistent=False)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Posterior.moves`."""
        weights = {
            "commitment": self.commitment,
            "entropy": self.entropy,
            "diversity": self.entropy * self.diversity,
        }
        return {term: ("encoder",) if weight else () for term, weight in weights.items()}

    def forward(self, code: Tensor) -> Signs:
        """The encoder's output `(B, *shape)` to signs; the first channel is the lowest bit (equation 3)."""
        code = code.to(torch.promote_types(code.dtype, torch.float32))
        words = code.unflatten(1, (self.groups, -1)).movedim(2, -1)
        indices = ((words > 0) * self.basis).sum(-1)
        signs = torch.where(code > 0, 1.0, -1.0).to(code.dtype)
        placed = indices.squeeze(1) if self.groups == 1 and indices.dim() > 2 else indices
        return Signs(signs + (code - code.detach()), placed, words)

    def from_indices(self, indices: Tensor) -> Tensor:
        """See `Quantizer.from_indices`."""
        several = indices if self.groups > 1 or indices.dim() == 2 else indices.unsqueeze(1)
        bits = several.unsqueeze(-1) // self.basis % 2
        return (2.0 * bits - 1).movedim(-1, 2).flatten(1, 2)

    def draw(self, q: Signs, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """The signs, with the terms of each example."""
        words = q.words
        distance = (words - torch.where(words > 0, 1.0, -1.0)).square().flatten(1).sum(1)
        logits = self._logits(words)
        entropy = (F.softplus(logits) - logits * logits.sigmoid()).flatten(1).sum(1)
        penalties = {"commitment": self.commitment * distance, "entropy": self.entropy * entropy}
        return replace(super().draw(q, p, noise, samples, scheduled), penalties=penalties)

    def batch_penalties(self, q: Signs, weight: float) -> dict[str, Tensor]:
        """See `Posterior.batch_penalties`."""
        words = gathered(q.words, weight)
        with torch.autocast(words.device.type, enabled=False):
            chances = self._logits(words).sigmoid().movedim(1, 0).flatten(1, -2)  # P(bit = 1), (groups, N, bits)
            blocks = chances.tensor_split(-(-self.bits // self.joint), dim=2)
            marginal = [_every_word(block).mean(1) for block in blocks]
            entropy = torch.stack([_entropy(share) for share in marginal]).sum()
        places = prod(q.words.shape[2:-1])
        return {"diversity": (-self.entropy * self.diversity * places * entropy).expand(len(q.words))}

    def _logits(self, words: Tensor) -> Tensor:
        """Logits of each bit being 1: the difference of squared distances from -1 and 1, 4 x, over the temperature."""
        return 4 * words / self.temperature


def _entropy(share: Tensor) -> Tensor:
    """Sum of the entropies of distributions `(groups, K)`; the gradient is finite if a probability rounds to 0."""
    return -(share * share.clamp(min=torch.finfo(share.dtype).tiny).log()).sum()


def _every_word(chances: Tensor) -> Tensor:
    """Probabilities of ones of independent bits `(..., b)` to the probability of each bit string, `(..., 2^b)`."""
    found = torch.ones_like(chances[..., :1])
    for one in chances.unbind(-1):
        both = torch.stack([1 - one, one], -1)
        found = (found.unsqueeze(-1) * both.unsqueeze(-2)).flatten(-2)
    return found
