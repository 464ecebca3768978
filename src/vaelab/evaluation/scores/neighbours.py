"""The distance of an example from its nearest normal training examples."""

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
SAME = 1e-5  # relative to the length of two examples; smaller distances are rounding, which depends on the batch
MOST_KEPT, MOST_VALUES = 10_000, 2**24  # kept codes of training examples, and values of their reconstructions, at most


class Neighbours(Score):
    """Mean distance to the 5 nearest normal training examples, in codes and in values.

    Values are compared with the model's reconstructions of these examples, so that only their codes are kept. Both
    distances are standardised over training examples (`Standard`), and the score is their mean. For tokens only codes
    are compared. It follows Ramaswamy et al. (2000), in the space of a model's features as in Bergman et al. (2020).

    Args:
        latent_dim: dimensions of a code.
        kept: number of training examples whose codes will be loaded, if it is not fitted.
        spec: of the data.
    """

    is_standardised = True
    codes: Tensor

    def __init__(self, latent_dim: int, kept: int, spec: DataSpec) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(kept, latent_dim))
        self.standard = Standard(1 if spec.support == "categories" else 2)
        self._decoded: Tensor | None = None  # decoded from the codes at the first use

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Keep codes of batches `(B, *shape)`, up to the limits, and learn the scale of their distances."""
        size = max(plain_size(model.likelihood.spec), model.latent_dim)
        examples = thinned(normal, max(NEAREST + 1, min(MOST_KEPT, MOST_VALUES // size)))
        self.codes = torch.cat([model.encode(part.to(model.device)) for part in examples.split(PART)])
        self._decoded = None
        compared = torch.linspace(0, len(examples) - 1, min(len(examples), MOST_COMPARED)).round().long()
        self.standard.fit(self._distances(model, examples[compared].to(model.device), compared))

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`, 0 for the median distances of training examples."""
        found: Tensor = self.standard(self._distances(model, x).float().to(self.codes.device))
        return found.mean(1)

    def examples(self, model: Model, most: int) -> Tensor:
        """Reconstructions of at most `most` of the training examples, evenly spaced; `(N, *shape)`."""
        chosen = torch.linspace(0, len(self.codes) - 1, min(len(self.codes), most)).round().long()
        return torch.cat([model.decode(part) for part in self.codes[chosen.to(self.codes.device)].split(PART)])

    def _distances(self, model: Model, x: Tensor, own: Tensor | None = None) -> Tensor:
        """`(B, kinds)` mean distances, on the CPU; `own` are the indices of the examples themselves among the kept."""
        spec = model.likelihood.spec
        parts = []
        for first in range(0, max(1, len(x)), PART):  # also runs once for an empty batch
            part = x[first : first + PART]
            skipped = None if own is None else own[first : first + PART]
            kinds = [_nearest(model.encode(part).cpu().double(), self.codes.cpu(), skipped)]
            if spec.support != "categories":
                kinds.append(self._nearest_values(model, part, skipped))
            parts.append(torch.stack(kinds, 1))
        return torch.cat(parts)

    def _nearest_values(self, model: Model, x: Tensor, skipped: Tensor | None) -> Tensor:
        """`(B,)` mean distances of values; missing values of `x` add nothing, as in a score of errors."""
        spec = model.likelihood.spec
        if self._decoded is None:
            self._decoded = torch.cat([_numbers(model.decode(part), spec) for part in self.codes.split(PART)])
        distance = _nearest(_numbers(x, spec), self._decoded, skipped)
        if spec.has_missing and spec.kind == "series":  # scaled to full length: the length itself is not unusual
            values = number_of_values(x, spec)
            assert isinstance(values, Tensor)
            distance = distance * (spec.size / values.clamp(min=1)).sqrt().cpu()
        return distance


def _numbers(x: Tensor, spec: DataSpec) -> Tensor:
    """`(B, *shape)` to `(B, R)` float64 on the CPU: categories one-hot, NaN for missing values."""
    return (features(x, spec.columns) if spec.columns else x.flatten(1)).cpu().double()


def _nearest(rows: Tensor, kept: Tensor, skipped: Tensor | None) -> Tensor:
    """Mean distance of `rows: (B, R)`, over values that are not NaN, to the nearest of `kept: (N, R)`; `(B,)`.

    `skipped: (B,)` are indices in `kept` that do not count.
    """
    observed, kept = ~rows.isnan(), kept.double()
    filled = rows.nan_to_num()
    of_kept = kept.square().sum(1) if observed.all() else observed.double() @ kept.square().T
    lengths = of_kept + filled.square().sum(1, keepdim=True)
    squares = lengths - 2 * filled @ kept.T
    squares[squares < SAME**2 * lengths] = 0
    skips = skipped is not None and len(kept) > 1  # a single kept example is compared with itself
    if skips:
        squares[torch.arange(len(rows)), skipped] = torch.inf
    nearest = squares.topk(min(NEAREST, len(kept) - skips), largest=False)
    return nearest.values.sqrt().mean(1)
