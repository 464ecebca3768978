"""How far an example is from the normal training examples nearest to it, and that beside a score of the model."""

from collections.abc import Iterable

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.columns import features
from vaelab.data.plain import plain_size
from vaelab.evaluation.scores.score import Score, number_of_values
from vaelab.models import Model

NEAREST = 5  # training examples whose distances are averaged
MOST_KEPT, MOST_VALUES = 10_000, 2**24  # training examples whose codes are kept, and values of their reconstructions
MOST_COMPARED = 2_000  # of them that say what distance is usual
PART = 256  # examples whose distances are in memory at once


def thinned(batches: Iterable[Tensor], most: int) -> Tensor:
    """At most `most` examples of batches `(B, *shape)`, evenly spaced over all of them, on the CPU.

    More than half as many are found wherever there are enough, however many batches there are: each time that there
    are too many, every other one is left out, and of later ones too.
    """
    kept: list[Tensor] = []
    stride, seen = 1, 0
    for batch in batches:
        own = batch[-seen % stride :: stride].cpu()
        seen += len(batch)
        kept.extend(own.unbind(0))
        while len(kept) > most:
            kept, stride = kept[::2], 2 * stride
    return torch.stack(kept)


class Standard(torch.nn.Module):
    """Scores of several kinds on one scale: less the training examples' median, over their interquartile range."""

    median: Tensor
    spread: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.register_buffer("median", torch.zeros(kinds))
        self.register_buffer("spread", torch.ones(kinds))

    def fit(self, usual: Tensor) -> None:
        """From scores of training examples, `(N, kinds)`."""
        low, median, high = usual.double().quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
        spread = high - low
        # where half of them are the same, such as the distances of rows that come several times
        spread = torch.where(spread > 0, spread, usual.double().std(0, correction=0))
        self.median.copy_(median)
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, scores: Tensor) -> Tensor:
        """`(B, kinds)` to the same, 0 what is usual."""
        return (scores - self.median) / self.spread


class Neighbours(Score):
    """Mean distance to the 5 nearest of the normal training examples, of the codes and of the values.

    Values are compared with what the model makes of those examples, so that their codes are all that is kept. Either
    distance is put on the scale of the training examples' own (`Standard`), and the score is the mean of both. Of
    tokens the codes alone are compared. After Ramaswamy et al. (2000), in the space of a model's features as in
    Bergman et al. (2020).

    Args:
        latent_dim: numbers of a code.
        kept: training examples that it is going to be given the codes of, where it is not fitted.
        spec: of the data.
    """

    codes: Tensor

    def __init__(self, latent_dim: int, kept: int, spec: DataSpec) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(kept, latent_dim))
        self.standard = Standard(1 if spec.support == "categories" else 2)
        self._decoded: Tensor | None = None  # from the codes, when it is first needed

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Keep codes of batches `(B, *shape)`, as many as there is room for, and learn how far they are apart."""
        size = max(plain_size(model.likelihood.spec), model.latent_dim)
        examples = thinned(normal, max(NEAREST + 1, min(MOST_KEPT, MOST_VALUES // size)))
        self.codes = torch.cat([model.encode(part.to(model.device)) for part in examples.split(PART)])
        self._decoded = None
        compared = torch.linspace(0, len(examples) - 1, min(len(examples), MOST_COMPARED)).round().long()
        self.standard.fit(self._distances(model, examples[compared].to(model.device), compared))

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`, 0 where the distances are those of a usual training example."""
        found: Tensor = self.standard(self._distances(model, x).to(self.codes.device))
        return found.mean(1).float()

    def _distances(self, model: Model, x: Tensor, own: Tensor | None = None) -> Tensor:
        """`(B, kinds)` mean distances, on the CPU; `own` are places among the kept that are the examples themselves."""
        spec = model.likelihood.spec
        parts = []
        for first in range(0, len(x), PART):
            part = x[first : first + PART]
            skipped = None if own is None else own[first : first + PART]
            kinds = [_nearest(model.encode(part).cpu().double(), self.codes.cpu(), skipped)]
            if spec.support != "categories":
                kinds.append(self._nearest_values(model, part, skipped))
            parts.append(torch.stack(kinds, 1))
        return torch.cat(parts)

    def _nearest_values(self, model: Model, x: Tensor, skipped: Tensor | None) -> Tensor:
        """`(B,)` mean distances of values; those that are missing in `x` add nothing, as in a score of errors."""
        spec = model.likelihood.spec
        if self._decoded is None:
            self._decoded = torch.cat([_numbers(model.decode(part), spec) for part in self.codes.split(PART)])
        distance = _nearest(_numbers(x, spec), self._decoded, skipped)
        if spec.has_missing and spec.kind == "series":  # a long series is no further away for its length
            values = number_of_values(x, spec)
            assert isinstance(values, Tensor)
            distance = distance * (spec.size / values.clamp(min=1)).sqrt().cpu()
        return distance


class Combined(Score):
    """Half a score of the model and half `Neighbours`, both on the scale of the training examples.

    The first sees what breaks the model's rules, the second what lies where no training example was: each misses
    anomalies that the other finds.

    Args:
        first: the score of the model.
        neighbours: fitted before this one.
    """

    def __init__(self, first: Score, neighbours: Neighbours) -> None:
        super().__init__()
        self.standard = Standard(1)
        self._parts = first, neighbours  # a tuple, since their state is saved under their own names

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Learn how large the first score is on batches `(B, *shape)` of training examples."""
        examples = thinned(normal, MOST_COMPARED)
        scores = [self._parts[0](model, part.to(model.device)).cpu() for part in examples.split(PART)]
        self.standard.fit(torch.cat(scores).unsqueeze(1))

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        first, neighbours = self._parts
        return self.together(first(model, x), neighbours(model, x))

    def together(self, first: Tensor, neighbours: Tensor) -> Tensor:
        """What both scores, `(B,)` each, amount to."""
        own: Tensor = self.standard(first.unsqueeze(1)).squeeze(1)
        return 0.5 * (own + neighbours)


def _numbers(x: Tensor, spec: DataSpec) -> Tensor:
    """`(B, *shape)` to `(B, R)` float64 on the CPU: a 0 or 1 for each category, NaN where a value is missing."""
    return (features(x, spec.columns) if spec.columns else x.flatten(1)).cpu().double()


def _nearest(rows: Tensor, kept: Tensor, skipped: Tensor | None) -> Tensor:
    """Mean distance of `rows: (B, R)`, over what is not NaN, to the nearest of `kept: (N, R)`; `(B,)`.

    `skipped: (B,)` are places in `kept` that do not count.
    """
    observed, kept = ~rows.isnan(), kept.double()
    filled = rows.nan_to_num()
    squares = observed.double() @ kept.square().T - 2 * filled @ kept.T + filled.square().sum(1, keepdim=True)
    if skipped is not None and len(kept) > 1:
        squares[torch.arange(len(rows)), skipped] = torch.inf
    nearest = squares.clamp(min=0).topk(
        min(NEAREST, len(kept) - (skipped is not None and len(kept) > 1)), largest=False
    )
    return nearest.values.sqrt().mean(1)
