"""Generation: how likely data is under the model, and what its samples look like."""

from math import log
from typing import Annotated

import torch
from annotated_types import Gt
from torchmetrics import MeanMetric, Metric

from vaelab.baselines import BaselineCache
from vaelab.data import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.figures import image_grid, reconstructions, traversals
from vaelab.models import VAE, Model, Prediction
from vaelab.tasks.active_units import ActiveUnits
from vaelab.tasks.task import Constant, Findings, Task, example_batch


class Generation(Task):
    """nll (importance-weighted bound with K = `nll_samples`, nats), bpd and active units of a VAE.

    bpd, bits per dimension, is given where the likelihood is a probability of discrete values; a
    density has no bits. An autoencoder defines neither, and only its mse and samples are shown.
    """

    def __init__(self, nll_samples: Annotated[int, Gt(0)], monitor: str | None = None) -> None:
        super().__init__(monitor)
        self.nll_samples = nll_samples

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """mse in validation; everything in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test" and isinstance(model, VAE):
            metrics |= {
                "nll": MeanMetric(),
                "nll_samples": Constant(self.nll_samples),
                "active_units": ActiveUnits(model.latent_dim),
            }
            if model.likelihood.is_mass:
                metrics["bpd"] = MeanMetric()
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Count one batch."""
        super().update(metrics, model, prediction, batch)
        if "nll" in metrics and isinstance(model, VAE):
            nll = -model.log_evidence(batch, self.nll_samples)
            metrics["nll"].update(nll)
            metrics["active_units"].update(prediction.latent)
            if "bpd" in metrics:
                metrics["bpd"].update(nll / (batch.target[0].numel() * log(2)))

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Samples from N(0, I), traversals of single dimensions, reconstructions."""
        if data.spec.kind != "image":
            return Findings()
        generator = torch.Generator().manual_seed(0)
        samples = model.decode(torch.randn(64, model.latent_dim, generator=generator).to(model.device))
        batch = example_batch(data, "test", 16, model.device)
        codes = model.encode(batch.x)
        figures = {
            "samples": image_grid(samples, "Decoded samples of N(0, I)"),
            "reconstructions": reconstructions({"original": batch.clean, "reconstruction": model.decode(codes)}),
            "traversals": traversals(model.decode, codes[0], _spread(model, data)),
        }
        return Findings(figures=figures)


def _spread(model: Model, data: DataModule) -> torch.Tensor:
    """Standard deviation of each latent dimension over test examples, `(latent_dim,)`."""
    return model.encode(example_batch(data, "test", 256, model.device).x).std(0)
