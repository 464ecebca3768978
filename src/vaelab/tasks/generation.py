"""Generation: how likely data is under the model, and how close its samples are to data."""

import json
from math import isfinite, log
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from torchmetrics import MeanMetric, Metric

from vaelab.baselines import BaselineCache
from vaelab.baselines.no_latent import no_latent
from vaelab.data import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.data.music.music import Music
from vaelab.data.spec import present_steps
from vaelab.errors import ConfigError
from vaelab.features import Choice, ExtractorName, refuse_absent
from vaelab.figures.rates import rate_bars
from vaelab.models import VAE, Model, Prediction
from vaelab.samplers import SAMPLERS, Mixture, Sampler, StandardNormal, train_latents
from vaelab.tasks.active_units import RATE, VARIANCE
from vaelab.tasks.aggregate_posterior import AggregatePosterior, aggregate_posterior
from vaelab.tasks.generation_examples import show_examples
from vaelab.tasks.generation_figures import generation_figures
from vaelab.tasks.generation_music import measure_music
from vaelab.tasks.mutual_information import measure_mutual_information
from vaelab.tasks.sample_quality import SampleQuality, not_measurable, sample_count
from vaelab.tasks.task import Constant, Findings, Task
from vaelab.tasks.token_rates import token_rates, update_token_rates

SamplerName = Literal["standard_normal", "gaussian", "mixture"]
FITTED_TO = {True: "draws of the train posteriors", False: "train codes"}


class Generation(Task):
    """nll, bpd, active units and rates of a VAE; fid, kid, precision and recall of samples of any model.

    nll is the importance-weighted bound with K = `nll_samples`, in nats. bpd, bits per dimension, is
    given where the likelihood is a probability of discrete values; a density has no bits. An autoencoder
    defines neither, nor a rate, and the metadata says so.

    Args:
        nll_samples: K.
        sampler: where the latents of samples come from; `fid_prior` is given beside another than N(0, I).
        components: of the mixture.
        temperatures: of the samples in the figure of that name.
        extractor: of features; see `vaelab.features.Choice`.
        inception: the TorchScript of the extractor `inception`.
        fid_samples: N, real and generated each; null for as many as the test split, at most 10,000.
        data_dir: where the classifier and baselines are kept, under `.vaelab`.
        no_latent_baseline: whether the decoder is trained without a latent too, as long as the run was, to compare
            nll with; `auto` does so for a VAE on text. It needs a decoder that is told the steps before each.
        monitor: see `Task`.
    """

    def __init__(
        self,
        nll_samples: Annotated[int, Gt(0)],
        sampler: SamplerName,
        components: Annotated[int, Ge(1)],
        temperatures: list[Annotated[float, Gt(0)]],
        extractor: ExtractorName,
        inception: str,
        fid_samples: Annotated[int, Ge(4)] | None,
        data_dir: str,
        monitor: str | None = None,
        no_latent_baseline: Literal["auto"] | bool = "auto",
    ) -> None:
        super().__init__(monitor)
        self.nll_samples, self.fid_samples = nll_samples, fid_samples
        self.sampler, self.components, self.temperatures = sampler, components, temperatures
        self.folder = Path(data_dir) / ".vaelab" / "features"
        self.no_latent_baseline = no_latent_baseline
        self.extractor = Choice(extractor, Path(inception), self.folder)

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """What is named must be there."""
        refuse_absent(self.extractor, spec)
        if self.no_latent_baseline is True and not (isinstance(model, VAE) and model.autoregressive):
            raise ConfigError(
                "task.no_latent_baseline=true: needs model=vae and a decoder that predicts each step from those before "
                "it, such as gru on text"
            )

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """mse in validation; everything in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test" and isinstance(model, VAE):
            metrics |= {
                "nll": MeanMetric(),
                "nll_samples": Constant(self.nll_samples),
            }
            if spec.sequential:
                metrics["nll_per_step"] = MeanMetric()
            metrics |= token_rates(spec)
            if model.likelihood.is_mass and not spec.gaps:
                metrics["bpd"] = MeanMetric()
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Count one batch."""
        super().update(metrics, model, prediction, batch)
        if "nll" in metrics and isinstance(model, VAE):
            nll = -model.log_evidence(batch, self.nll_samples)
            metrics["nll"].update(nll)
            if "nll_per_step" in metrics:  # all nats over all steps, whatever the lengths
                steps = present_steps(batch.target).sum(1)
                metrics["nll_per_step"].update(nll / steps, steps)
            update_token_rates(metrics, nll, batch.target, model.likelihood.spec)
            if "bpd" in metrics:
                metrics["bpd"].update(nll / (batch.target[0].numel() * log(2)))

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Rates, the aggregate posterior, the sampler and the quality of its samples, and figures."""
        aggregate = aggregate_posterior(model, data, "test")
        sampler = self._fitted(model, data)
        found = Findings(files={"model/sampler.json": json.dumps(sampler.to_json())})
        self._likelihood(found, model)
        _latents(found, aggregate)
        self._sequences(found, model, data, baselines)
        self._quality(found, model, data, baselines, sampler)
        if data.spec.kind == "image":
            found.figures |= generation_figures(model, data, sampler, aggregate.spread, self.temperatures)
        else:
            samples = show_examples(found, model, data, sampler)
            if isinstance(data, Music):
                measure_music(found, data, samples, baselines)
        for name in [name for name, value in found.numbers.items() if not isfinite(value)]:
            del found.numbers[name]
            found.metadata[name] = {"not measured": "the result is no finite number"}
        return found

    def _fitted(self, model: Model, data: DataModule) -> Sampler:
        if self.sampler == StandardNormal.name:
            return StandardNormal(model.latent_dim)
        sampler = Mixture(self.components) if self.sampler == Mixture.name else SAMPLERS[self.sampler]()
        return sampler.fit(train_latents(model, data))

    def _likelihood(self, found: Findings, model: Model) -> None:
        if not isinstance(model, VAE):
            missing = {"not measured": "an autoencoder defines no p(x) and no q(z|x)"}
            found.metadata |= {f"test/{name}": missing for name in ("nll", "bpd", "active_units", "kl")}
            return
        found.metadata["test/nll"] = {"bound": "importance-weighted", "samples": self.nll_samples, "unit": "nats"}
        if not model.likelihood.is_mass:
            found.metadata["test/bpd"] = {"not measured": "the likelihood is a density, which has no bits"}

    def _sequences(self, found: Findings, model: Model, data: DataModule, baselines: BaselineCache) -> None:
        """What shows whether a decoder of tokens asks its code at all, and what it reaches without."""
        if not isinstance(model, VAE):
            return
        if data.spec.kind == "tokens":
            value, examples = measure_mutual_information(model, data, "test")
            found.numbers["test/mutual_information"] = value
            found.metadata["test/mutual_information"] = {
                "estimate": "I_q(x; z), one draw of each posterior (Hoffman and Johnson, 2016)",
                "at most": f"{log(examples):.4g}, the log of {examples} examples",
                "unit": "nats",
            }
        asked = self.no_latent_baseline
        if asked is True or (asked == "auto" and data.spec.characters and model.autoregressive):
            found.numbers |= no_latent(model, data, baselines)
            found.metadata["baseline/no_latent"] = {
                "decoder": "the run's, its latent always 0, without word dropout",
                "trained": "with the run's optimizer, schedule, examples and number of steps; best on validation",
                "nll": "exact, not a bound",
            }

    def _quality(
        self, found: Findings, model: Model, data: DataModule, baselines: BaselineCache, sampler: Sampler
    ) -> None:
        if reason := not_measurable(data.spec, len(data.split["test"])):
            found.metadata["test/fid"] = {"not measured": reason}
            return
        extractor = self.extractor.build(data, model.device)
        count = sample_count(data, self.fid_samples)
        quality = SampleQuality(data, extractor, count, self.folder, baselines)
        numbers, details = quality.of(model, sampler)
        about = quality.about | _described(sampler, isinstance(model, VAE))
        for name, value in numbers.items():
            found.numbers[f"test/{name}"] = value
            found.metadata[f"test/{name}"] = about | details.get(name, {})
        if sampler.fits:
            prior = StandardNormal(model.latent_dim)
            found.numbers["test/fid_prior"] = quality.frechet(model, prior)
            found.metadata["test/fid_prior"] = quality.about | _described(prior, isinstance(model, VAE))
        found.numbers |= quality.baseline_numbers(model.latent_dim)
        found.metadata["baseline/pca_gaussian"] = {
            "samples of": "a full-covariance Gaussian on the codes of as many principal components as latents",
            "compared as": "test/fid",
        }
        found.metadata["baseline/train_split"] = {
            "samples of": "the train split: what a perfect sampler would get",
            "compared as": "test/fid",
        }


def _latents(found: Findings, aggregate: AggregatePosterior) -> None:
    found.numbers["test/aggregate_kl"] = aggregate.kl_to_prior()
    found.metadata["test/aggregate_kl"] = {
        "estimate": "KL(N(mean, covariance of q(z)) || N(0, I)), the least that these moments allow",
        "samples": aggregate.count,
        "unit": "nats",
    }
    found.files["latent_dimensions.csv"] = aggregate.to_csv()
    if aggregate.rates is not None and aggregate.active is not None:
        found.numbers["test/active_units"] = float(aggregate.active.sum())
        found.metadata["test/active_units"] = {
            "of": len(aggregate.active),
            "active": f"the posterior mean varies by more than {VARIANCE:g} and the rate is above {RATE:g} nats",
        }
        found.figures["rate_per_dimension"] = rate_bars(aggregate.rates, aggregate.active)


def _described(sampler: Sampler, has_posterior: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"sampler": sampler.name}
    if sampler.fits:
        facts["fitted_to"] = FITTED_TO[has_posterior]
    if isinstance(sampler, Mixture):
        facts |= {"components": sampler.components, "converged": sampler.converged}
    return facts
