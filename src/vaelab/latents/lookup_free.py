"""Lookup-free quantization: each number of the code becomes its sign, and a word is a row of bits."""

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

MOST_BITS = 20  # of a word, since how often each word comes is counted


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
        """None: a point has none."""
        return None


class LFQ(Quantizer):
    """Lookup-free quantization (Yu et al., 2024, MAGVIT-v2, section 3.1): no codebook, so that it can be very large.

    Each channel becomes its sign, -1 or 1. The channels of a place are the bits of one word, or of `groups` words, and
    2^18 words need no more weights than 2^4. Gradients pass to the encoder as if nothing was rounded. The terms, with
    q(c|x) the softmax of -||x - c||^2 / temperature over the words c, are sums over all words of an example:

    - `commitment` ||x - sg[sign(x)]||^2
    - `entropy`, the weight times H(q(c|x)), the entropy of each word: low where each sign is certain
    - `diversity`, minus the weight times `diversity` H(E[q(c|x)]), the entropy of the mean over all places of the batch
      of all devices: low where all words are used equally. So the least loss is that of words that are certain, and all
      equally frequent (equation 5).

    Under q(c|x) bits are independent, so its entropy is that of its bits. In the mean over a batch they are not. The
    entropy of the mean is exact for blocks of at most `joint` bits, and the sum over the blocks of a word; blocks of
    one bit would have a batch of the two words 000 and 111 for one that uses all words. Of a sum over blocks the least
    loss is still that of all words equally. Terms are in single precision, whatever that of the layers.

        python train.py data=fashion_mnist encoder=conv latent=grid latent_dim=10 posterior=lfq

    Args:
        groups: words that the channels of a place are cut into.
        entropy: weight of both entropies.
        diversity: that of the second beside the first, called gamma.
        commitment: weight of that term.
        temperature: of q(c|x). The probability of a sign is sigmoid(4 |x| / temperature).
        joint: see above; memory for 2^joint numbers is needed for each word of a batch.
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
        """See `Posterior.group`: an index for each word."""
        if shape[0] % self.groups:
            raise ConfigError(f"posterior.groups={self.groups} and latent_dim={shape[0]}: should divide it")
        bits, places = shape[0] // self.groups, shape[1:]
        if bits > MOST_BITS:
            fitting = next(
                n for n in range(self.groups, shape[0] + 1) if shape[0] % n == 0 and shape[0] // n <= MOST_BITS
            )
            raise ConfigError(
                f"latent_dim={shape[0]} and posterior.groups={self.groups}: words of {bits} bits, and at most "
                f"{MOST_BITS} are counted; use posterior.groups={fitting}"
            )
        return LatentGroup(shape, places if self.groups == 1 and places else (self.groups, *places), 2**bits)

    def bind(self, group: LatentGroup) -> None:
        """Take the number of bits."""
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
            chances = self._logits(words).sigmoid().movedim(1, 0).flatten(1, -2)  # of ones, (groups, N, bits)
            blocks = chances.tensor_split(-(-self.bits // self.joint), dim=2)
            marginal = [_every_word(block).mean(1) for block in blocks]
            entropy = torch.stack([_entropy(share) for share in marginal]).sum()
        places = prod(q.words.shape[2:-1])
        return {"diversity": (-self.entropy * self.diversity * places * entropy).expand(len(q.words))}

    def _logits(self, words: Tensor) -> Tensor:
        """Of each bit being one: the difference of squared distances from -1 and 1, 4 x, over the temperature."""
        return 4 * words / self.temperature


def _entropy(share: Tensor) -> Tensor:
    """Of distributions `(groups, K)`, their sum; the gradient is finite where a chance is 0 to rounding."""
    return -(share * share.clamp(min=torch.finfo(share.dtype).tiny).log()).sum()


def _every_word(chances: Tensor) -> Tensor:
    """Chances of ones of independent bits `(..., b)` to the chance of each word of these bits, `(..., 2^b)`."""
    found = torch.ones_like(chances[..., :1])
    for one in chances.unbind(-1):
        both = torch.stack([1 - one, one], -1)
        found = (found.unsqueeze(-1) * both.unsqueeze(-2)).flatten(-2)
    return found
