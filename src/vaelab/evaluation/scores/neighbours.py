"""How far an example is from the normal training examples nearest to it."""

from collections.abc import Iterable

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.columns import features
from vaelab.data.plain import plain_size
from vaelab.evaluation.scores.score import Score, number_of_values
from vaelab.evaluation.scores.standard import MOST_COMPARED, PART, Standard, thinned
from vaelab.models import Model

NEAREST = 5  # training examples whose distances are averaged
SAME = 1e-5  # of the length of two examples: a distance below it is rounding, which depends on the batch
MOST_KEPT, MOST_VALUES = 10_000, 2**24  # training examples whose codes are kept, and values of their reconstructions


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

    is_standardised = True
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
        found: Tensor = self.standard(self._distances(model, x).float().to(self.codes.device))
        return found.mean(1)

    def examples(self, model: Model, most: int) -> Tensor:
        """What the model makes of at most `most` of the training examples, evenly spaced; `(N, *shape)`."""
        chosen = torch.linspace(0, len(self.codes) - 1, min(len(self.codes), most)).round().long()
        return torch.cat([model.decode(part) for part in self.codes[chosen.to(self.codes.device)].split(PART)])

    def _distances(self, model: Model, x: Tensor, own: Tensor | None = None) -> Tensor:
        """`(B, kinds)` mean distances, on the CPU; `own` are places among the kept that are the examples themselves."""
        spec = model.likelihood.spec
        parts = []
        for first in range(0, max(1, len(x)), PART):  # of no examples there are no distances, and no error
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


def _numbers(x: Tensor, spec: DataSpec) -> Tensor:
    """`(B, *shape)` to `(B, R)` float64 on the CPU: a 0 or 1 for each category, NaN where a value is missing."""
    return (features(x, spec.columns) if spec.columns else x.flatten(1)).cpu().double()


def _nearest(rows: Tensor, kept: Tensor, skipped: Tensor | None) -> Tensor:
    """Mean distance of `rows: (B, R)`, over what is not NaN, to the nearest of `kept: (N, R)`; `(B,)`.

    `skipped: (B,)` are places in `kept` that do not count.
    """
    observed, kept = ~rows.isnan(), kept.double()
    filled = rows.nan_to_num()
    of_kept = kept.square().sum(1) if observed.all() else observed.double() @ kept.square().T
    lengths = of_kept + filled.square().sum(1, keepdim=True)
    squares = lengths - 2 * filled @ kept.T
    squares[squares < SAME**2 * lengths] = 0
    skips = skipped is not None and len(kept) > 1  # one kept example alone is compared with itself
    if skips:
        squares[torch.arange(len(rows)), skipped] = torch.inf
    nearest = squares.topk(min(NEAREST, len(kept) - skips), largest=False)
    return nearest.values.sqrt().mean(1)
