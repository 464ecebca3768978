"""The nll of tokens in the units that language models are compared in."""

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
    """`perplexity` for each token of one voice; of text `bits_per_character` too, whatever its tokens are."""
    if spec.kind != "tokens" or len(spec.shape) > 1:
        return {}
    return {"perplexity": Perplexity()} | ({"bits_per_character": MeanMetric()} if spec.characters else {})


def update_token_rates(
    metrics: dict[str, Metric], nll: Tensor, target: Tensor, spec: DataSpec, given: str = ""
) -> None:
    """Count `nll: (B,)` nats of `target: (B, T)`: all nats over all tokens or characters, whatever the lengths.

    `given` stands behind the names, where the nll is given a label.
    """
    if f"perplexity{given}" in metrics:
        steps = observed_steps(target).sum(1).clamp(min=1)
        metrics[f"perplexity{given}"].update(nll / steps, steps)
    if f"bits_per_character{given}" in metrics:
        characters = characters_of_each(target, spec).clamp(min=1)
        metrics[f"bits_per_character{given}"].update(nll / (characters * log(2)), characters)
