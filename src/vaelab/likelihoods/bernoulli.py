"""Bernoulli likelihood for binary values."""

from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaelab.core.spec import DataSpec
from vaelab.data.module import Binarize
from vaelab.errors import ConfigError
from vaelab.likelihoods.likelihood import Likelihood, alternative, inner_logit


class Bernoulli(Likelihood):
    """Values in {0, 1}; the decoder gives logits.

    Args:
        spec: the data, after binarization.
        binarize: read by the data module, which makes grey values binary: `static` (once, each pixel is 1 with its grey
            value as probability), `dynamic` (drawn again for each batch; Burda et al., 2016, section 5.1) or
            `threshold` (at 0.5). With null, grey data are refused.

    Raises:
        ConfigError: the data are not binary.
    """

    is_mass: ClassVar[bool] = True
    has_raw_around: ClassVar[bool] = True

    def __init__(self, spec: DataSpec, binarize: Binarize | None) -> None:
        super().__init__(spec, parameters=1)
        if spec.support != "binary":
            remedy = (
                "add likelihood.binarize=dynamic (or static, threshold), or use "
                "likelihood=discretized_logistic or continuous_bernoulli"
                if spec.bounded
                else f"use {alternative(spec)}"
            )
            kinds = {"unit": "grey values", "categories": "categories", "mixed": "several kinds of columns"}
            kind = kinds.get(spec.support, "real values")
            raise ConfigError(f"likelihood=bernoulli: {spec.name} has {kind}, not 0 and 1; {remedy}")

    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw: (B, 1, *shape)` logits, `target: (B, *shape)` in {0, 1}."""
        logits = raw.squeeze(1)
        return target * logits - F.softplus(logits)

    def raw_at(self, mean: Tensor) -> Tensor:
        """The logit."""
        return inner_logit(mean).unsqueeze(0)

    def mean(self, raw: Tensor) -> Tensor:
        """The probability of 1."""
        return raw.squeeze(1).sigmoid()

    def mode(self, raw: Tensor) -> Tensor:
        """The more likely of 0 and 1; for a frame of a piano roll its most likely notes, as many as expected.

        If it is uncertain which of many pitches sounds, each pitch alone is more likely silent. Then the most likely
        frame is silence, although some note is almost certain. The number of notes is the sum of their probabilities,
        rounded.
        """
        if self.spec.kind != "roll":
            return (raw.squeeze(1) > 0).to(raw.dtype)
        probability = self.mean(raw)  # (B, pitches, T)
        rank = probability.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
        return (rank < probability.sum(1, keepdim=True).round()).to(raw.dtype)

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """Zeros and ones."""
        return torch.bernoulli(self.mean(raw), generator=generator)
