"""Compression: how much is lost at how many values."""

from torchmetrics import Metric

from vaelab.baselines import BaselineCache
from vaelab.data import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.figures import reconstructions
from vaelab.models import Model, Prediction
from vaelab.tasks.image_metrics import psnr, ssim
from vaelab.tasks.task import Constant, Findings, Task, example_batch


class Compression(Task):
    """mse, psnr and ssim of reconstructions from the code; values of an example in and out."""

    def __init__(self, monitor: str | None = "val/mse") -> None:
        super().__init__(monitor)

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """mse in validation; everything in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test":
            metrics |= psnr(spec) | ssim(spec)
            metrics["values_in"] = Constant(spec.size)
            metrics["values_out"] = Constant(model.latent_dim)
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Compare reconstructions with clean examples."""
        super().update(metrics, model, prediction, batch)
        for name in ("psnr", "ssim"):
            if name in metrics:
                metrics[name].update(prediction.reconstruction, batch.clean)

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Originals above their reconstructions."""
        if data.spec.kind != "image":
            return Findings()
        batch = example_batch(data, "test", 16, model.device)
        decoded = model.decode(model.encode(batch.x))
        pictures = {"original": batch.clean, "reconstruction": decoded}
        return Findings(figures={"reconstructions": reconstructions(pictures)})
