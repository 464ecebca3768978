"""The nll of tokens in the usual units of language models."""

from math import log

from torch import Tensor
from torchmetrics import MeanMetric, Metric

from vaelab.core.spec import DataSpec, observed_steps
from vaelab.data.text.characters import characters_of_each


class Perplexity(MeanMetric):
    """The exponential of a mean of nats."""

    def compute(self) -> Tensor:
        """At least 1."""
        return super().compute().exp()


def token_rates(spec: DataSpec) -> dict[str, Metric]:
    """`perplexity` per token of one voice; for text also `bits_per_character`, which does not depend on the tokens."""
    if spec.kind != "tokens" or len(spec.shape) > 1:
        return {}
    return {"perplexity": Perplexity()} | ({"bits_per_character": MeanMetric()} if spec.characters else {})


def update_token_rates(
    metrics: dict[str, Metric], nll: Tensor, target: Tensor, spec: DataSpec, given: str = ""
) -> None:
    """Add `nll: (B,)` nats of `target: (B, T)`: total nats over total tokens or characters, for any lengths.

    `given` is a suffix of the names if the nll is given a label.
    """
    if f"perplexity{given}" in metrics:
        steps = observed_steps(target).sum(1).clamp(min=1)
        metrics[f"perplexity{given}"].update(nll / steps, steps)
    if f"bits_per_character{given}" in metrics:
        characters = characters_of_each(target, spec).clamp(min=1)
        metrics[f"bits_per_character{given}"].update(nll / (characters * log(2)), characters)
