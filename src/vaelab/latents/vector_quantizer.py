"""Vector quantization: each position of the code is replaced by the nearest entry of a learned codebook."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from vaelab.errors import ConfigError
from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.posterior import Scheduled
from vaelab.latents.quantizers import DECAY, Quantizer, index_use
from vaelab.latents.spec import LatentGroup

LEAST = 1e-5  # an entry whose count is lower is not moved
START_VECTORS = 16  # encoder outputs for each entry that a codebook is initialised from
SPLIT = 0.01  # distance of the two halves of a split entry, relative to the codebook's root mean square


class Nearest(NamedTuple):
    """q(z|x): the codebook entries that are nearest to the encoder's output, with the data for training them.

    Attributes:
        mean: `(B, *shape)`, the entries at their positions, with the gradient of the encoder's output.
        indices: `(B, *indices)` int64.
        vectors: `(groups, N, D)`, the encoder's output at the N positions of all examples.
        rests: `(groups, depth, N, D)`, the vector that each entry approximates, without a gradient.
        words: `(groups, depth, N, D)`, these entries, with the gradient of the codebook if it has one.
    """

    mean: Tensor
    indices: Tensor
    vectors: Tensor
    rests: Tensor
    words: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: the code is deterministic."""
        return None


class VQ(Quantizer):
    """Vector quantization (van den Oord et al., 2017), optionally residual (Lee et al., 2022) and grouped.

    The channels at a position are one vector, or `groups` vectors. Each is replaced by the nearest of the `words`
    entries of a codebook. With `depth` above 1, the next codebook quantizes the residual, and z is the sum. Gradients
    are passed straight through to the encoder. The terms of equation 3 are sums over the whole code:

    - the commitment, `commitment` ||z_e - sg[e]||^2, which keeps the encoder's outputs near the entries
    - ||sg[z_e] - e||^2, which trains the entries, with `codebook=gradient`. With `codebook=average` an entry is the
      moving average of the vectors nearest to it (appendix A.1), over the batches of all devices, without this term

    A codebook is initialised from the encoder's outputs for train examples. An entry that is rarely used is moved next
    to one of the most used entries, and the two then share its use. Distances are computed in single precision under
    mixed precision too.

        python train.py data=cifar10 model=vq_vae encoder=conv posterior.words=1024

    Args:
        words: number of entries of a codebook.
        depth: number of codebooks for successive residuals; 1 is a plain VQ-VAE.
        groups: number of vectors that the channels at a position are divided into, each with its own codebooks.
        commitment: weight of the commitment, called beta in the paper.
        codebook: how entries are trained: `average` or `gradient`.
        revive: an entry is moved if its use is below this share of the mean use; 0 moves none.
    """

    def __init__(
        self,
        words: Annotated[int, Ge(2)],
        depth: Annotated[int, Ge(1)],
        groups: Annotated[int, Ge(1)],
        commitment: Annotated[float, Gt(0)],
        codebook: Literal["average", "gradient"],
        revive: Annotated[float, Ge(0), Lt(1)],
    ) -> None:
        super().__init__(words)
        self.depth, self.groups, self.commitment = depth, groups, commitment
        self.codebook, self.revive = codebook, revive
        self.register_buffer("counts", torch.zeros(groups * depth, words))
        self.words: Tensor
        self.sizes: Tensor
        self.jitter: Tensor

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """See `Posterior.group`: one index for each group, codebook and position."""
        if shape[0] % self.groups:
            raise ConfigError(f"posterior.groups={self.groups} and latent_dim={shape[0]}: groups should divide it")
        indices, places = self.groups * self.depth, shape[1:]
        return LatentGroup(shape, places if indices == 1 and places else (indices, *places), self.levels)

    def bind(self, group: LatentGroup) -> None:
        """Create the codebooks, `(groups, depth, words, D)`."""
        self.size, self.places = group.shape[0], len(group.shape) - 1
        self.start_examples = max(256, -(-START_VECTORS * self.levels // prod(group.shape[1:])))
        size = (self.groups, self.depth, self.levels, group.shape[0] // self.groups)
        words = torch.randn(size) * 0.5
        if self.codebook == "gradient":
            self.words = nn.Parameter(words)
        else:
            self.register_buffer("words", words)
        self.register_buffer("sizes", torch.ones(size[:-1]))
        self.register_buffer("jitter", torch.randn(size))

    def start(self, codes: Tensor) -> None:
        """Initialise from encoder outputs for train examples, `(N, *shape)`: k-means for each codebook in turn."""
        from sklearn.cluster import KMeans

        rests = self._vectors(codes.detach().float())
        chosen = torch.randperm(rests.shape[1], generator=torch.Generator().manual_seed(0))[
            : START_VECTORS * self.levels
        ]
        for number, rest in enumerate(rests[:, chosen.to(rests.device)]):
            for level in range(self.depth):
                distinct = len(rest.unique(dim=0))
                if distinct < 2:
                    return  # k-means needs at least two distinct vectors
                clusters = min(self.levels, distinct, len(rest) // 4)  # at least four vectors per entry
                fitted = KMeans(max(1, clusters), n_init=1, max_iter=20, random_state=0).fit(rest.cpu().numpy())
                centers = torch.from_numpy(fitted.cluster_centers_).to(rest)
                more = self.levels - len(centers)
                spread = SPLIT * centers.square().mean().sqrt()
                repeated = centers[torch.arange(more, device=rest.device) % len(centers)]
                words = torch.cat([centers, repeated + spread * self.jitter[number, level, :more].to(rest)])
                self.words.data[number, level] = words
                rest = rest - words[_nearest(rest, words)]

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Posterior.moves`."""
        moved: dict[str, tuple[str, ...]] = {"commitment": ("encoder",)}
        return moved | ({"codebook": ("posterior",)} if self.codebook == "gradient" else {})

    def forward(self, code: Tensor) -> Nearest:
        """The encoder's output `(B, *shape)` to entries; in single precision under mixed precision too."""
        with torch.autocast(code.device.type, enabled=False):
            code = code.to(torch.promote_types(code.dtype, torch.float32))
            vectors = self._vectors(code)
            rest, rests, indices, words = vectors.detach(), [], [], []
            for level in range(self.depth):
                books = self.words[:, level].to(code.dtype)
                index = torch.stack([_nearest(one, book) for one, book in zip(rest, books.detach(), strict=True)])
                chosen = torch.stack([book[one] for one, book in zip(index, books, strict=True)])
                rests.append(rest)
                indices.append(index)
                words.append(chosen)
                rest = rest - chosen.detach()
            found = torch.stack(words, 1)
            quantized = self._channels(found.detach().sum(1), code.shape)
            placed = self._placed(torch.stack(indices, 1), code.shape)
            return Nearest(code + (quantized - code).detach(), placed, vectors, torch.stack(rests, 1), found)

    def from_indices(self, indices: Tensor) -> Tensor:
        """See `Quantizer.from_indices`: the sum of the entries, `(N, *shape)`."""
        flat = self._unplaced(indices)
        books = zip(self.words.detach(), flat, strict=True)
        found = [sum(words[index] for words, index in zip(book, of_book, strict=True)) for book, of_book in books]
        places = indices.shape[-self.places :] if self.places else ()
        return self._channels(torch.stack(found), torch.Size((len(indices), self.size, *places)))

    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """The entries, with the terms that train them."""
        drawn = super().draw(q, p, noise, samples, scheduled)
        count = len(q.mean)
        held = q.vectors.unsqueeze(1) - q.words.detach().cumsum(1)  # for each depth (Lee et al., 2022)
        penalties = {"commitment": self.commitment * _squares(held, count)}
        if self.codebook == "gradient":
            penalties["codebook"] = _squares(q.rests - q.words, count)
        return replace(drawn, penalties=penalties)

    def statistics(self, q: Any) -> dict[str, Tensor]:
        """The number of vectors assigned to each entry of each codebook, and the sum of these vectors."""
        indices = self._unplaced(q.indices)
        counts = q.rests.new_zeros(self.groups, self.depth, self.levels)
        counts.scatter_add_(2, indices, torch.ones_like(indices, dtype=counts.dtype))
        found = {"index_counts": counts.flatten(0, 1), "word_counts": counts}
        if self.codebook == "average":
            sums = torch.zeros_like(self.words, dtype=counts.dtype)
            index = indices.unsqueeze(3).expand_as(q.rests)
            found["word_sums"] = sums.scatter_add_(2, index, q.rests)
        return found

    @torch.no_grad()
    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Update the entries with the vectors assigned to them, and move rarely used entries next to frequent ones."""
        super().update(statistics)
        if "word_counts" not in statistics:
            return
        before = self.sizes.clone()
        self.sizes.mul_(DECAY).add_(statistics["word_counts"], alpha=1 - DECAY)
        if self.codebook == "average":
            sums = self.words * before.unsqueeze(3) * DECAY + (1 - DECAY) * statistics["word_sums"]
            moved = sums / self.sizes.clamp(min=LEAST).unsqueeze(3)
            self.words.copy_(torch.where(self.sizes.unsqueeze(3) > LEAST, moved, self.words))
        if self.revive:
            self._revive()

    def _revive(self) -> None:
        """Move rarely used entries next to the most used ones. Each pair then shares its use."""
        half = self.levels // 2
        order = self.sizes.argsort(2)
        least, most = order[..., :half], order.flip(2)[..., :half]
        sizes, parents = self.sizes.gather(2, least), self.sizes.gather(2, most)
        dead = sizes < self.revive * self.sizes.mean(2, keepdim=True)

        def rows(values: Tensor, index: Tensor) -> Tensor:
            return values.gather(2, index.unsqueeze(3).expand(*index.shape, values.shape[3]))

        words = self.words.data
        spread = SPLIT * words.square().mean((2, 3), keepdim=True).sqrt() * rows(self.jitter, least)
        beside = rows(words, most)
        index = least.unsqueeze(3).expand(*least.shape, words.shape[3])
        words.scatter_(2, index, torch.where(dead.unsqueeze(3), beside + spread, rows(words, least)))
        self.sizes.scatter_(2, least, torch.where(dead, parents / 2, sizes))
        self.sizes.scatter_(2, most, torch.where(dead, parents / 2, self.sizes.gather(2, most)))

    def diagnostics(self) -> dict[str, float]:
        """`code_usage` and `code_perplexity` of the moving average, averaged over codebooks."""
        if not bool(self.counts.any()):
            return {}
        each = [index_use(counts) for counts in self.counts]
        return {name: sum(one[name] for one in each) / len(each) for name in each[0]}

    def _vectors(self, code: Tensor) -> Tensor:
        """`(B, *shape)` to `(groups, N, D)`, of N = B x positions."""
        return code.unflatten(1, (self.groups, -1)).movedim(2, -1).movedim(1, 0).flatten(1, -2)

    def _channels(self, vectors: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `_vectors`."""
        placed = vectors.unflatten(1, (shape[0], *shape[2:]))  # (groups, B, *places, D)
        return placed.movedim(0, 1).movedim(-1, 2).reshape(shape)

    def _placed(self, indices: Tensor, shape: torch.Size) -> Tensor:
        """`(groups, depth, N)` to `(B, *indices)`."""
        placed = indices.unflatten(2, (shape[0], *shape[2:])).movedim(2, 0).flatten(1, 2)
        return placed.squeeze(1) if self.places and placed.shape[1] == 1 else placed

    def _unplaced(self, indices: Tensor) -> Tensor:
        """The inverse of `_placed`."""
        flat = indices if indices.dim() == 2 + self.places else indices.unsqueeze(1)
        return flat.unflatten(1, (self.groups, self.depth)).movedim(0, 2).flatten(2)


def _squares(vectors: Tensor, count: int) -> Tensor:
    """Sums of squares of `(groups, depth, N, D)` for each of `count` examples."""
    return vectors.square().sum((0, 1, 3)).view(count, -1).sum(1)


def _nearest(vectors: Tensor, words: Tensor) -> Tensor:
    """The nearest of `(K, D)` entries to each of `(N, D)` vectors, `(N,)`."""
    distances = words.square().sum(1) - 2 * vectors @ words.T  # without the vectors' own squares, constant over entries
    return distances.argmin(1)
