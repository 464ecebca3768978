"""Task compression: distortion against the number of values and bits of a code."""

from math import log, log2
from typing import Annotated, Any

import sklearn
import torch
from annotated_types import Ge, Lt
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics import Metric

from vaelab.core import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.evaluation.active_units import VARIANCE
from vaelab.evaluation.ahead import ahead_in_mean
from vaelab.evaluation.baselines import BaselineCache, fit_pca
from vaelab.evaluation.baselines.limits import held_in_memory, rows_used
from vaelab.evaluation.encoded import encoded
from vaelab.evaluation.image_metrics import MOST_DB, has_ssim, psnr, ssim, ssim_window
from vaelab.figures.distributions import distributions as draw_distributions
from vaelab.figures.images import reconstructions
from vaelab.figures.rate_distortion import quantisation_curves
from vaelab.latents.fitted.counts import occurrences
from vaelab.latents.quantizers import index_use
from vaelab.latents.spec import FLOAT_BITS
from vaelab.models import Model, Prediction
from vaelab.tasks.compression.codec import (
    QUANTILES,
    RANGE_EXAMPLES,
    Codec,
    distortions,
    distribution,
    mean_of,
    means,
    of_model,
    of_pca,
    quantised,
    rates,
    squared_error,
)
from vaelab.tasks.compression.quantiser import code_length, entropy
from vaelab.tasks.task import (
    NO_TRAIN,
    Baseline,
    Constant,
    Findings,
    PicturesEvery,
    Say,
    Task,
    refuse_no_numbers,
    refuse_tokens,
    shown_batch,
)

SHOWN = 16  # examples in a figure


class Compression(Task):
    """Distortion of the code, its number of values and bits, and both again for quantised codes.

    mse, psnr and ssim are means over the test split; `findings` adds quantiles over its examples, and quantises the
    code to 2 to 8 bits a dimension. The baseline is PCA with the same number of dimensions. A VAE is measured at its
    posterior mean. Its `mse_sampled` is measured for one seeded draw of the posterior, and belongs to the rate
    `bits_kl`.

    Args:
        range_tail: share of training codes below, and also above, the range that the quantiser covers.
        monitor, baselines: see `Task`.
    """

    def __init__(
        self,
        range_tail: Annotated[float, Ge(0), Lt(0.5)],
        monitor: str | None,
        baselines: bool,
        pictures_every: PicturesEvery,
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        self.range_tail = range_tail

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """Refuse tokens and categories, which have no squared error."""
        refuse_tokens(spec, "compression")
        refuse_no_numbers(spec, "compression")
        self.mention_wide_code(model)

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """Those of every task in validation; all metrics in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test":
            metrics |= psnr(spec) | ssim(spec)
            metrics["values_in"] = Constant(spec.size)
            metrics["values_out"] = Constant(model.latent.finest.tokens if model.latent.discrete else model.latent.size)
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Compare reconstructions with clean examples."""
        super().update(metrics, model, prediction, batch)
        for name in ("psnr", "ssim"):
            if name in metrics:
                metrics[name].update(prediction.reconstruction, batch.clean)

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Distributions, bits, quantised codes and reconstructions; then the same for PCA as the baseline."""
        codec, discrete = of_model(model), model.latent.discrete
        each, codecs = {"run": distortions(codec, data)}, {"run": codec}
        numbers = bits_in_and_out(data.spec, model.latent.bits) | distribution(each["run"])
        if discrete:
            numbers |= index_bits(model, data)
        elif not data.all_as_test:  # the quantiser's range is fitted to train codes
            numbers |= rates(quantised(codec, data, self.range_tail))
        if model.has_rate:
            numbers |= sampled(model, data)
        found = Findings({f"test/{name}": value for name, value in numbers.items()})
        curves = found.numbers | {"test/mse": float(each["run"]["mse"].mean())}
        # For a discrete code, PCA gets as many floats as give the same number of bits.
        pca_size = max(1, round(model.latent.bits / FLOAT_BITS))
        order = each["run"]["mse"].argsort(descending=True, stable=True)
        chosen = {
            "reconstructions": data.drawn("test", SHOWN),
            "worst_reconstructions": order[:SHOWN],
            "best_reconstructions": order.flip(0)[:SHOWN],
        }

        def draw() -> dict[str, Figure]:
            figures = {"distribution": draw_distributions(each)}
            if not data.all_as_test and not discrete:
                figures["rate_distortion"] = quantisation_curves(curves, data.spec.size, data.spec.bounded)
            if data.spec.kind == "image":
                figures |= {name: _side_by_side(data, positions, codecs) for name, positions in chosen.items()}
            return figures

        def pca(say: Say) -> Findings:
            fitted = fit_pca(data, pca_size)
            components = fitted.encode(data.clean("train", 1)).shape[1]
            codecs["PCA"] = of_pca(fitted, components)
            each["PCA"] = distortions(codecs["PCA"], data)
            settings = {"components": components, "range_tail": self.range_tail, "examples": RANGE_EXAMPLES}
            settings["most_db"] = MOST_DB
            numbers = baselines.numbers("pca", settings, lambda: self._all_numbers(codecs["PCA"], data, each["PCA"]))
            curves.update(numbers)
            own, theirs = (each[name]["mse"].double().numpy() for name in ("run", "PCA"))
            about = {
                "baseline/pca": _about_pca(data, components),
                "baseline/pca/mse": ahead_in_mean(own, theirs, "min"),
            }
            return Findings(numbers, metadata=about)

        found.figures, found.metadata = draw(), self._metadata(data, codec, model)
        if data.spec.kind != "image":
            batch = shown_batch(data, SHOWN)
            again = through(codec, batch)
            found.figures |= data.compared("reconstructions", {"original": batch.clean, "reconstruction": again})
        if not data.all_as_test:
            found.baselines, found.beside = [Baseline("pca", pca)], [draw]
        return found

    def _all_numbers(self, codec: Codec, data: DataModule, each: dict[str, Tensor]) -> dict[str, float]:
        """Numbers for a baseline, which are those of the test pass and of `findings` together."""
        known = {"values_in": float(data.spec.size), "values_out": float(codec.size)}
        bits = bits_in_and_out(data.spec, codec.size * FLOAT_BITS)
        return means(each) | known | bits | distribution(each) | rates(quantised(codec, data, self.range_tail))

    def _metadata(self, data: DataModule, codec: Codec, model: Model) -> dict[str, Any]:
        spec = data.spec
        about: dict[str, Any] = {
            "test/bits_in": {"for": f"{spec.size} values of {spec.levels or f'2^{FLOAT_BITS}'} levels"},
            "test/bits_out": {"for": described(model)},
            "test/mse_quantile_*": {"over": f"{len(data.split['test'])} test examples", "per cent": [*QUANTILES]},
        }
        if model.latent.discrete:
            about["test/bits_coded"] = (
                {"tables": "of the train codes, one for each position"} if not data.all_as_test else NO_TRAIN
            )
            about["test/bits_entropy"] = {"tables": "of the test codes themselves: a lower bound"}
        else:
            about |= {"test/mse_*bit": NO_TRAIN} if data.all_as_test else self._fitted_to_train(data, codec)
        if spec.bounded:
            about["test/psnr"] = {"mean": f"over examples, each capped at {MOST_DB:g} dB"}
        if has_ssim(spec):
            about["test/ssim"] = {"window": f"Gaussian {ssim_window(spec)} x {ssim_window(spec)}", "edges": "mirrored"}
        return about

    def _fitted_to_train(self, data: DataModule, codec: Codec) -> dict[str, Any]:
        known = min(RANGE_EXAMPLES, len(data.split["train"]))
        percent = f"{100 * self.range_tail:g}"
        return {
            "test/mse_*bit": {
                "quantiser": f"uniform, each dimension from its {percent} % to its {100 - 100 * self.range_tail:g} % "
                f"quantile over {known} training codes"
                + (f"; dimensions of variance up to {VARIANCE} constant" if codec.has_prior else "")
            },
            "test/bits_entropy_*bit": {"tables": "of the test codes themselves: a lower bound"},
            "test/bits_coded_*bit": {"tables": f"of {known} training codes"},
        }


def _about_pca(data: DataModule, components: int) -> dict[str, Any]:
    train, test = len(data.split["train"]), len(data.split["test"])
    return {
        "library": f"scikit-learn {sklearn.__version__}",
        "components": components,
        "fitted to": rows_used(held_in_memory(train, data.spec), train, "train"),
        "measured on": rows_used(test, test, "test"),
        "reconstructions": "not clipped to the data's range",
    }


def bits_in_and_out(spec: DataSpec, bits: float) -> dict[str, float]:
    """Bits of an original example, and of its code.

    A value with L levels has log2(L) bits; a continuous value counts as a 32-bit float.
    """
    return {"bits_in": spec.size * (log2(spec.levels) if spec.levels else FLOAT_BITS), "bits_out": float(bits)}


def described(model: Model) -> str:
    """A description of the code whose bits are counted."""
    group = model.latent.finest
    if model.latent.discrete:
        return f"{group.tokens} indices of {group.levels} levels"
    return f"{model.latent.size} floats of {FLOAT_BITS} bits"


def index_bits(model: Model, data: DataModule) -> dict[str, float]:
    """Bits of one example's indices: under tables of the test split, a lower bound, and under tables of train."""
    indices, levels = encoded(model, data, "test").indices, model.latent.finest.levels
    assert indices is not None
    assert levels is not None
    written = occurrences(indices, levels)
    numbers = {"bits_entropy": entropy(written)} | index_use(written.sum(0))
    if not data.all_as_test:
        known = encoded(model, data, "train").indices
        assert known is not None
        numbers["bits_coded"] = code_length(written, occurrences(known, levels))
    return numbers


def through(codec: Codec, batch: Batch) -> Tensor:
    """Examples encoded and decoded, `(B, *shape)` on the CPU."""
    there = batch._replace(
        x=batch.x.to(codec.device), target=batch.target.to(codec.device), label=batch.label.to(codec.device)
    )
    return codec.decode(codec.encode(there), there).cpu()


def sampled(model: Model, data: DataModule) -> dict[str, float]:
    """Rate and distortion of a VAE: KL in bits, and mse of decoding one seeded draw of the posterior.

    The mean of D_KL(q(z|x) || p(z)) over examples is a rate that bits-back or relative entropy coding approaches for
    codes drawn from q, and an upper bound on the mutual information of codes and examples (Alemi et al., 2018,
    equation 4). To transmit the posterior mean exactly would need infinitely many bits.
    """
    kl, squares, count = 0.0, torch.zeros(2, dtype=torch.float64), 0
    for batch in data.batches("test", model.device):
        condition = model.condition_of(batch)
        draw = model.draw(batch._replace(x=batch.target), name="sampled")
        assert draw.rate is not None
        z = model.latent.flat([group.z.squeeze(1) for group in draw.groups])
        kl += float(draw.rate.cpu().double().sum())
        squares += squared_error(model.decode(z, condition), batch, data.spec)
        count += len(z)
    return {"bits_kl": kl / count / log(2), "mse_sampled": mean_of(squares)}


def _side_by_side(data: DataModule, positions: Tensor, codecs: dict[str, Codec]) -> Any:
    """A figure with originals above their reconstructions, for these indices of the test split, in this order."""
    batch = next(data.batches("test", "cpu", len(positions), positions))
    rows = {"original": batch.clean}
    for name, codec in codecs.items():
        decoded = through(codec, batch)
        rows[f"{name}\nmse {float((decoded - batch.clean).square().mean()):.2g}"] = decoded
    return reconstructions(rows)
