"""Sources of new codes: the prior of a model, or a prior fitted to its codes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaelab.core.noise import mix
from vaelab.data.module import DataModule
from vaelab.latents.fitted import FittedPrior, drawn_for
from vaelab.models import Model

CHUNK = 512


def classes_of(model: Model) -> int:
    """Number of labels of a conditional model; 0 for an unconditional one."""
    return 0 if model.condition is None else model.condition.classes


@dataclass(frozen=True)
class Source:
    """Draws codes, and labels for a model whose codes depend on labels.

    Attributes:
        model: the model that decodes them.
        fitted: the fitted prior that they are drawn from; None for the model's own.
        labels: labels to draw from: those of the train split, or all with equal probability for a model with a p(y);
            None for a model without labels.
    """

    model: Model
    fitted: FittedPrior | None = None
    labels: Tensor | None = None

    @classmethod
    def of_model(cls, model: Model, data: DataModule, fitted: FittedPrior | None = None) -> "Source":
        """With the labels of the data, at their frequencies in train."""
        if not model.draws_by_label:
            return cls(model, fitted)
        if not model.conditional:
            return cls(model, fitted, torch.arange(len(model.likelihood.spec.classes)))
        known, classes = data.labels("test" if data.all_as_test else "train"), classes_of(model)
        known = known[known < classes]  # later data may have new labels
        return cls(model, fitted, known if len(known) else torch.arange(classes))

    @property
    def shown_labels(self) -> list[int]:
        """Labels that samples are drawn for: those in train, the only ones that the model knows."""
        return [] if self.labels is None else sorted({int(label) for label in self.labels.unique() if label >= 0})

    @property
    def name(self) -> str:
        """Name of the prior, for titles and metadata."""
        return self.fitted.name if self.fitted is not None else "prior"

    @property
    def title(self) -> str:
        """For people."""
        if self.fitted is not None:
            return f"a prior ({self.fitted.name}) fitted to train codes"
        if len(self.model.latent.groups) > 1:  # the model itself relates its levels
            return f"the prior ({type(self.model).__name__})"
        kind = type(self.model.prior).__name__
        return "N(0, I)" if kind == "StandardNormal" else f"the prior ({kind})"

    def draw(self, count: int, seed: int = 0, temperature: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """`(count, size)` flat codes on the device of the model, and `(count,)` labels or None."""
        labels = None
        if self.labels is not None:
            generator = torch.Generator().manual_seed(mix(seed, "label"))
            labels = self.labels[torch.randint(len(self.labels), (count,), generator=generator)].to(self.model.device)
        return self.codes(count, seed, temperature, labels), labels

    def codes(self, count: int, seed: int = 0, temperature: float = 1.0, labels: Tensor | None = None) -> Tensor:
        """`(count, size)` flat codes on the model's device, given labels `(count,)` for a conditional model."""
        if self.fitted is None:
            return self.model.sample_latent(count, seed, temperature, labels)
        drawn = drawn_for(self.fitted, count, seed, temperature, labels).to(self.model.device)
        if self.fitted.discrete:
            drawn = self.model.from_indices(drawn.view(-1, *(self.model.latent.finest.indices or ())))
        return drawn

    def examples(self, count: int, seed: int = 0, temperature: float = 1.0) -> Iterator[Tensor]:
        """Decoded draws in batches: for images the mean of p(x|z), for other data a sample, seeded."""
        return generate(self.model, *self.draw(count, seed, temperature))


def generate(model: Model, codes: Tensor, labels: Tensor | None = None) -> Iterator[Tensor]:
    """Examples from flat codes `(N, size)` in batches: for images the mean of p(x|z), otherwise a sample, seeded."""
    generator = torch.Generator(model.device).manual_seed(0)
    for first in range(0, len(codes), CHUNK):
        part = codes[first : first + CHUNK].to(model.device)
        given = None if labels is None else labels[first : first + CHUNK].to(model.device)
        if model.likelihood.spec.kind == "image":
            yield model.decode(part, given)
        else:
            yield model.sample(part, generator, given)
