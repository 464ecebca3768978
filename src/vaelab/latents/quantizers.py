"""Discrete codes: z is one of finitely many values, each with an index."""

from abc import abstractmethod
from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, MinLen
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.posterior import Posterior, Scheduled
from vaelab.latents.spec import LatentGroup

DECAY = 0.99  # of the moving average of counts, at each optimizer step
USED = 0.1  # an index with at least this share of its count under uniform use counts as used


class Quantized(NamedTuple):
    """q(z|x) concentrated on one of finitely many points.

    Attributes:
        mean: `(B, *shape)`, the point.
        indices: `(B, *indices)` int64, its index.
    """

    mean: Tensor
    indices: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: the code is deterministic."""
        return None


class Quantizer(Posterior):
    """A posterior whose z is one of finitely many values.

    It counts how often each index occurs, as a moving average over optimizer steps; forward passes do not change it.
    """

    discrete: ClassVar[bool] = True
    counts: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("counts", torch.zeros(levels))

    @abstractmethod
    def forward(self, code: Tensor) -> Any:
        """The encoder's output `(B, *code_shape)` to points: a record with the fields of `Quantized`."""

    @abstractmethod
    def from_indices(self, indices: Tensor) -> Tensor:
        """`(N, *indices)` int64 to z, `(N, *shape)`."""

    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """The point, `(B, 1, *shape)`; its rate is -log p of its indices."""
        parts = -p.index_log_prob(q.indices).flatten(1)
        rate = parts.sum(1)
        log_p = -rate.unsqueeze(1)
        indices = q.indices.unsqueeze(1)
        return GroupDraw(q.mean.unsqueeze(1), rate, parts, lambda: log_p, lambda: torch.zeros_like(log_p), indices)

    def statistics(self, q: Any) -> dict[str, Tensor]:
        """Number of occurrences of each index."""
        indices = q.indices.flatten()
        ones = torch.ones(len(indices), device=indices.device)
        return {"index_counts": torch.zeros(self.levels, device=indices.device).scatter_add(0, indices, ones)}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Update the moving average with the counts of a step."""
        if "index_counts" in statistics:
            self.counts.mul_(DECAY).add_(statistics["index_counts"])

    def diagnostics(self) -> dict[str, float]:
        """`code_usage`, the share of indices in use, and `code_perplexity`, from the moving average."""
        return index_use(self.counts) if bool(self.counts.any()) else {}


def index_use(counts: Tensor) -> dict[str, float]:
    """How many indices are used, from the occurrences of each.

    Args:
        counts: `(levels,)`.

    Returns:
        `code_usage`: the share of indices that occur at least a tenth as often as under uniform use.
        `code_perplexity`: the exponential of the entropy, which is the number of equally frequent indices with the same
        entropy.
    """
    share = counts.double().cpu() / counts.double().cpu().sum()
    entropy = -torch.special.xlogy(share, share).sum()
    return {"code_usage": float((share >= USED / len(share)).double().mean()), "code_perplexity": float(entropy.exp())}


class FSQ(Quantizer):
    """Finite scalar quantization (Mentzer et al., 2023): each dimension of z is rounded to one of a few levels.

    A codebook entry has as many dimensions as `levels` has elements, and there are prod(levels) entries. There is no
    codebook to train, and the loss has no other term than the reconstruction: gradients are passed straight through the
    rounding.

        FSQ([8, 8, 8]).from_indices(torch.tensor([[0, 511]]))  # z of two entries, (1, 6): 3 dimensions each

    Args:
        levels: of each dimension of an entry. [8, 8, 8] gives 512 entries, [8, 5, 5, 5] gives 1,000. The paper
            recommends 5 or more; with two levels, the lower one would be where the gradient is almost zero.
    """

    def __init__(self, levels: Annotated[list[Annotated[int, Ge(3)]], MinLen(1)]) -> None:
        super().__init__(prod(levels))
        self.each = tuple(levels)
        sizes = torch.tensor(levels)
        self.sizes: Tensor
        self.basis: Tensor
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("basis", torch.tensor([prod(levels[:n]) for n in range(len(levels))]), persistent=False)

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """See `Posterior.group`; an entry uses the channels of one position."""
        numbers = len(self.each)
        if shape[0] % numbers:
            raise ConfigError(
                f"posterior.levels has {numbers} numbers and latent_dim={shape[0]}: latent_dim should be a multiple of "
                f"{numbers}, such as {numbers}"
            )
        words, places = shape[0] // numbers, shape[1:]
        indices = places if words == 1 and places else (words, *places)
        return LatentGroup(shape, indices, self.levels)

    def forward(self, code: Tensor) -> Quantized:
        """Bound, round, and pass gradients straight through (section 3.1); in float32 under mixed precision too."""
        words = self._words(code.to(torch.promote_types(code.dtype, torch.float32)))
        # For an even number of levels the bounds are shifted by half a level, so that rounding gives exactly that many.
        half = (self.sizes - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.sizes % 2 == 0, 0.5, 0.0)
        bounded = (words + (offset / half).atanh()).tanh() * half - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        digits = rounded.detach().nan_to_num().round().long() + self.sizes // 2  # NaN is detected in z
        indices = (digits * self.basis).sum(-1)
        return Quantized(self._channels(rounded / (self.sizes // 2), code.shape), self._placed(indices))

    def from_indices(self, indices: Tensor) -> Tensor:
        """See `Quantizer.from_indices`."""
        vector = indices.dim() == 2
        flat = indices if vector else indices.reshape(len(indices), -1, *indices.shape[-2:])
        digits = flat.unsqueeze(-1) // self.basis % self.sizes
        words = (digits - self.sizes // 2) / (self.sizes // 2)
        return words.flatten(1) if vector else words.movedim(-1, 2).flatten(1, 2)

    def _words(self, code: Tensor) -> Tensor:
        """`(B, words * numbers, ...)` to `(B, words, ..., numbers)`."""
        return code.unflatten(1, (-1, len(self.each))).movedim(2, -1)

    def _channels(self, words: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `_words`."""
        return words.movedim(-1, 2).reshape(shape)

    def _placed(self, indices: Tensor) -> Tensor:
        """`(B, words, *places)`, without the axis `words` if there is one entry at each of several positions."""
        return indices.squeeze(1) if indices.dim() > 2 and indices.shape[1] == 1 else indices
