"""Vector quantization: each place of the code is the nearest word of a codebook that is learned."""

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

LEAST = 1e-5  # of a word's count: below it the word stays where it is
START_VECTORS = 16  # for each word, that a codebook begins with
SPLIT = 0.01  # distance of two halves of a split word, in root mean squares of the codebook


class Nearest(NamedTuple):
    """q(z|x): the words that are nearest to the encoder's output, and what it takes to learn them.

    Attributes:
        mean: `(B, *shape)`, the words in their places, with the gradient of the encoder's output.
        indices: `(B, *indices)` int64.
        vectors: `(groups, N, D)`, the encoder's output at N places of all examples.
        rests: `(groups, depth, N, D)`, what each word stands for, without a gradient.
        words: `(groups, depth, N, D)`, these words, with the gradient of the codebook where it has one.
    """

    mean: Tensor
    indices: Tensor
    vectors: Tensor
    rests: Tensor
    words: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: a point has none."""
        return None


class VQ(Quantizer):
    """Vector quantization (van den Oord et al., 2017), residual (Lee et al., 2022) and grouped on demand.

    The channels of a place are one vector, or `groups` of them. Each becomes the nearest of `words` vectors of a
    codebook; with a `depth` of more than one, the next codebook takes what is left over, and z is the sum. Gradients
    pass to the encoder as if nothing was rounded. The terms of equation 3 are sums over the whole code:

    - the commitment, `commitment` ||z_e - sg[e]||^2, which holds the encoder to its words
    - ||sg[z_e] - e||^2, which moves words with `codebook=gradient`. With `codebook=average` a word is the moving
      average of what was nearest to it (appendix A.1), over the batches of all devices, and there is no such term.

    A codebook begins at the encoder's outputs for train examples. Every word that is hardly used is moved beside one of
    the most used, which it then shares the use of. Distances are in single precision, whatever that of the layers.

        python train.py data=cifar10 model=vq_vae encoder=conv posterior.words=1024

    Args:
        words: of a codebook.
        depth: codebooks, one after the other; 1 is a plain VQ-VAE.
        groups: vectors that the channels of a place are cut into, each with codebooks of its own.
        commitment: called beta in the paper.
        codebook: how words are learned.
        revive: the share of the mean use below which a word is moved; 0 moves none.
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
        """See `Posterior.group`: an index for each group, codebook and place."""
        if shape[0] % self.groups:
            raise ConfigError(f"posterior.groups={self.groups} and latent_dim={shape[0]}: should divide it")
        indices, places = self.groups * self.depth, shape[1:]
        return LatentGroup(shape, places if indices == 1 and places else (indices, *places), self.levels)

    def bind(self, group: LatentGroup) -> None:
        """Make the codebooks, `(groups, depth, words, D)`."""
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
        """Begin at what the encoder gives for train examples, `(N, *shape)`: k-means, one codebook after the other."""
        from sklearn.cluster import KMeans

        rests = self._vectors(codes.detach().float())
        chosen = torch.randperm(rests.shape[1], generator=torch.Generator().manual_seed(0))[
            : START_VECTORS * self.levels
        ]
        for number, rest in enumerate(rests[:, chosen.to(rests.device)]):
            for level in range(self.depth):
                distinct = len(rest.unique(dim=0))
                if distinct < 2:
                    return  # the data say nothing of the words
                clusters = min(self.levels, distinct, len(rest) // 4)  # a word stands for several vectors
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
        """The encoder's output `(B, *shape)` to words; single precision whatever the layers'."""
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
        """See `Quantizer.from_indices`: the sum of the words, `(N, *shape)`."""
        flat = self._unplaced(indices)
        books = zip(self.words.detach(), flat, strict=True)
        found = [sum(words[index] for words, index in zip(book, of_book, strict=True)) for book, of_book in books]
        places = indices.shape[-self.places :] if self.places else ()
        return self._channels(torch.stack(found), torch.Size((len(indices), self.size, *places)))

    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """The words, with the terms that they are learned by."""
        drawn = super().draw(q, p, noise, samples, scheduled)
        count = len(q.mean)
        held = q.vectors.unsqueeze(1) - q.words.detach().cumsum(1)  # of each depth (Lee et al., 2022)
        penalties = {"commitment": self.commitment * _squares(held, count)}
        if self.codebook == "gradient":
            penalties["codebook"] = _squares(q.rests - q.words, count)
        return replace(drawn, penalties=penalties)

    def statistics(self, q: Any) -> dict[str, Tensor]:
        """How often each word of each codebook was nearest, and the sum of what it stood for."""
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
        """Move words to what they stood for, and words that are hardly used beside those that are used most."""
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
        """Move words that are hardly used beside the most used ones, whose use they share from then on."""
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
        """`code_usage` and `code_perplexity` of the moving average; means over codebooks."""
        if not bool(self.counts.any()):
            return {}
        each = [index_use(counts) for counts in self.counts]
        return {name: sum(one[name] for one in each) / len(each) for name in each[0]}

    def _vectors(self, code: Tensor) -> Tensor:
        """`(B, *shape)` to `(groups, N, D)`, of N = B x places."""
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
    """Squares of `(groups, depth, N, D)`, summed for each of `count` examples."""
    return vectors.square().sum((0, 1, 3)).view(count, -1).sum(1)


def _nearest(vectors: Tensor, words: Tensor) -> Tensor:
    """The nearest of `(K, D)` words to each of `(N, D)` vectors, `(N,)`."""
    distances = words.square().sum(1) - 2 * vectors @ words.T  # less the vectors' own squares, which change no order
    return distances.argmin(1)
