"""Denoising: how much of a corruption is undone."""

from torchmetrics import Metric

from vaelab.baselines import BaselineCache
from vaelab.data import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.figures import reconstructions
from vaelab.models import Model, Prediction
from vaelab.tasks.image_metrics import psnr, ssim
from vaelab.tasks.task import Findings, Task, example_batch


class Denoising(Task):
    """psnr of the input and of the output, their difference in dB, mse and ssim."""

    def __init__(self, monitor: str | None = "val/mse") -> None:
        super().__init__(monitor)

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """There must be something to undo."""
        if not corrupts:
            raise ConfigError("task=denoising corruption=none: nothing to undo; use corruption=gaussian or another")

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """mse in validation; everything in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test" and (output := psnr(spec)):
            metrics |= output | {"psnr_noisy": psnr(spec)["psnr"]} | ssim(spec)
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Compare input and output with clean examples."""
        super().update(metrics, model, prediction, batch)
        for name in ("psnr", "ssim"):
            if name in metrics:
                metrics[name].update(prediction.reconstruction, batch.clean)
        if "psnr_noisy" in metrics:
            metrics["psnr_noisy"].update(batch.x, batch.clean)

    def _log(self, stage: str, model: Model) -> None:  # type: ignore[override]
        super()._log(stage, model)
        if "psnr_noisy" in self._metrics:
            model.log(f"{stage}/psnr_gain", self._metrics["psnr"].compute() - self._metrics["psnr_noisy"].compute())

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Noisy, denoised and clean, one above the other."""
        if data.spec.kind != "image":
            return Findings()
        batch = example_batch(data, "test", 16, model.device)
        decoded = model.decode(model.encode(batch.x))
        rows = {"noisy": batch.x, "denoised": decoded, "clean": batch.clean}
        return Findings(figures={"denoised": reconstructions(rows)})
