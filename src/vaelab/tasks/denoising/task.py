"""Task denoising: how much of a corruption the model removes."""

from functools import partial
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from vaelab.core import Batch, DataSpec
from vaelab.core.spec import MASKED
from vaelab.data.module import DataModule
from vaelab.data.plain import squared_error_of_each
from vaelab.errors import ConfigError
from vaelab.evaluation.ahead import Better, ahead_in_mean
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.image_metrics import MeanPSNR, psnr, ssim
from vaelab.models import Model, Prediction
from vaelab.tasks.denoising.baselines import DenoisingBaselines, is_restorable
from vaelab.tasks.denoising.quality import summary
from vaelab.tasks.denoising.sweep import (
    Conditions,
    Rivals,
    conditions,
    described,
    described_rival,
    measured,
    pictures,
    readings,
)
from vaelab.tasks.task import Baseline, Findings, PicturesEvery, Say, Task, refuse_no_numbers


class Denoising(Task):
    """psnr of the input and of the output in dB, their difference, ssim and mse; error ratios for unbounded data.

    For tokens, the share of masked tokens that is restored correctly. All are measured under the training corruption,
    and at several strengths of it.

    Args:
        strengths: strengths of the corruption to measure; null takes those of training and some weaker and stronger.
        baseline_examples: number of test images, from the first on, for the classical denoisers; 0 disables baselines.
        monitor: the metric that selects the best checkpoint; null takes val/mse, or for tokens the model's default.
        baselines: see `Task`.
    """

    encodes_corrupted = True

    def __init__(
        self,
        strengths: list[Annotated[float, Ge(0)]] | None,
        baseline_examples: Annotated[int, Ge(0)],
        monitor: str | None,
        baselines: bool,
        pictures_every: PicturesEvery,
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        self.strengths, self.baseline_examples = strengths, baseline_examples

    def watched(self, model: Model) -> tuple[str, str]:
        """`val/mse` where it exists, or else the model's default."""
        if self.monitor is None and model.likelihood.spec.support != "categories":
            return "val/mse", "min"
        return super().watched(model)

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """The data must be corrupted."""
        if not corrupts:
            raise ConfigError(
                "task=denoising corruption=none: there is nothing to denoise; use corruption=gaussian or another"
            )
        refuse_no_numbers(spec, "denoising")

    def validation_names(self, model: Model, data: DataModule) -> set[str]:
        """As for any task. Strengths that the corruption does not have are refused here, before training."""
        conditions(data.corruption, self.strengths)
        return super().validation_names(model, data)

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """Those of every task in validation; all metrics in test."""
        metrics = super().metrics(stage, model, spec)
        if stage != "test":
            return metrics
        if spec.support == "categories":
            return metrics | {"masked_accuracy": MeanMetric(nan_strategy="ignore")}
        if spec.bounded:
            return metrics | psnr(spec) | {"psnr_noisy": MeanPSNR(spec)} | ssim(spec)
        return metrics | {"mse_noisy": MeanMetric(nan_strategy="ignore" if spec.has_missing else "warn")}

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Compare the input and the output with the clean examples."""
        super().update(metrics, model, prediction, batch)
        if "masked_accuracy" in metrics:  # restored from the masked input; the reconstruction uses teacher forcing
            masked = batch.x == MASKED
            metrics["masked_accuracy"].update(
                (model.restore(batch.x, model.condition_of(batch)) == batch.clean)[masked].float()
            )
        for name in ("psnr", "ssim"):
            if name in metrics:
                metrics[name].update(prediction.reconstruction, batch.clean)
        if "psnr_noisy" in metrics:
            metrics["psnr_noisy"].update(batch.x.nan_to_num(), batch.clean)
        if "mse_noisy" in metrics:
            metrics["mse_noisy"].update(squared_error_of_each(batch.x.nan_to_num(), batch.clean, model.likelihood.spec))

    def counted(self) -> dict[str, Tensor]:
        """The metrics of the pass, with the gain over the noisy input."""
        found = super().counted()
        if "psnr_noisy" in found:
            found["psnr_gain"] = found["psnr"] - found["psnr_noisy"]
        elif "mse_noisy" in found and found["mse_noisy"] > 0:
            found["mse_ratio"] = found["mse"] / found["mse_noisy"]
        return found

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Numbers at several strengths, strips noisy | denoised | clean, curves over the strengths; and baselines."""
        chosen = conditions(data.corruption, self.strengths)
        classical = DenoisingBaselines(data, baselines, self.baseline_examples if self.baselines else 0)
        rivals: Rivals = {suffix: {} for suffix in chosen}
        each = measured(model, data, chosen)
        draw = partial(pictures, model, data, chosen, each, rivals, classical.count)
        found = Findings(figures=draw(), metadata=described(data, chosen, classical.count))
        for suffix in chosen:
            if suffix:  # the test pass measures the training corruption itself, on all devices
                found.numbers |= {f"test/{name}{suffix}": value for name, value in summary(each[suffix]).items()}
        if classical.count and is_restorable(data.spec):
            found.numbers["test/psnr_baseline_examples"] = summary(each[""], classical.count)["psnr"]
        found.texts = {"denoised": "\n\n".join(lines)} if (lines := readings(model, data, data.corruption)) else {}
        found.baselines = [
            Baseline(name, partial(self._beside, name, chosen, classical, rivals, each.get("", {})))
            for name in classical.names(data.corruption)
        ]
        found.beside = [draw] if found.baselines else []
        return found

    def _beside(
        self,
        name: str,
        chosen: Conditions,
        classical: DenoisingBaselines,
        rivals: Rivals,
        each: dict[str, Tensor],
        say: Say,
    ) -> Findings:
        """Measure a baseline under each condition, and add it to `rivals`."""
        found = {}
        for number, (suffix, corruption) in enumerate(chosen.items(), start=1):
            say(f"condition {number} of {len(chosen)}")
            found[suffix] = classical.rival(name, corruption)
        numbers: dict[str, float] = {}
        for suffix, rival in found.items():
            rivals[suffix][name] = rival
            numbers |= {f"baseline/{name}/{key}{suffix}": value for key, value in rival.metrics.items()}
        about: dict[str, Any] = {f"baseline/{name}": described_rival(found, classical.rows(name))}
        if metric := next((metric for metric in ("psnr", "mse") if metric in each), None):
            own, theirs = each[metric][: classical.count], classical.each(name, chosen[""])
            better: Better = "max" if metric == "psnr" else "min"
            about[f"baseline/{name}/{metric}"] = ahead_in_mean(own.double().numpy(), theirs.double().numpy(), better)
        return Findings(numbers, metadata=about)
