"""Generation: how likely data is under the model, and how close its samples are to data."""

import json
from math import log
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from torchmetrics import MeanMetric, Metric

from vaelab.baselines import BaselineCache
from vaelab.baselines.limits import held_in_memory, rows_used
from vaelab.baselines.no_latent import no_latent
from vaelab.data import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.data.music.music import Music
from vaelab.data.spec import observed_steps
from vaelab.errors import ConfigError
from vaelab.features import Choice, ExtractorName, refuse_absent
from vaelab.figures.rates import rate_bars
from vaelab.models import Model, Prediction
from vaelab.samplers import SAMPLERS, Mixture, Sampler, StandardNormal, load_sampler, train_latents
from vaelab.tasks.active_units import RATE, VARIANCE
from vaelab.tasks.aggregate_posterior import AggregatePosterior, aggregate_posterior
from vaelab.tasks.generation_examples import show_examples
from vaelab.tasks.generation_figures import generation_figures
from vaelab.tasks.generation_music import measure_music
from vaelab.tasks.mutual_information import measure_mutual_information
from vaelab.tasks.sample_quality import SampleQuality, not_measurable, sample_count
from vaelab.tasks.task import Baseline, Constant, Findings, Say, Task
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
            nll with; `auto` does so for a VAE on text. It needs a decoder that reads the steps before each.
        monitor, baselines: see `Task`.
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
        baselines: bool = True,
    ) -> None:
        super().__init__(monitor, baselines)
        self.nll_samples, self.fid_samples = nll_samples, fid_samples
        self.sampler, self.components, self.temperatures = sampler, components, temperatures
        self.folder = Path(data_dir) / ".vaelab" / "features"
        self.no_latent_baseline = no_latent_baseline
        self.extractor = Choice(extractor, Path(inception), self.folder)

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """What is named must be there."""
        refuse_absent(self.extractor, spec)
        if self.no_latent_baseline is True and not (model.has_rate and model.autoregressive):
            raise ConfigError(
                "task.no_latent_baseline=true: needs model=vae and a decoder that predicts each step from those before "
                "it, such as gru on text"
            )

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """mse in validation; everything in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test" and model.has_rate:
            metrics |= {
                "nll": MeanMetric(),
                "nll_samples": Constant(1 if model.deterministic else self.nll_samples),
            }
            if spec.sequential:
                metrics["nll_per_step"] = MeanMetric()
            metrics |= token_rates(spec)
            if model.likelihood.is_mass and not spec.has_missing:
                metrics["bpd"] = MeanMetric()
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Count one batch."""
        super().update(metrics, model, prediction, batch)
        if "nll" in metrics:
            nll = -model.log_evidence(batch, self.nll_samples)
            metrics["nll"].update(nll)
            if "nll_per_step" in metrics:  # all nats over all steps, whatever the lengths
                steps = observed_steps(batch.target).sum(1)
                metrics["nll_per_step"].update(nll / steps, steps)
            update_token_rates(metrics, nll, batch.target, model.likelihood.spec)
            if "bpd" in metrics:
                metrics["bpd"].update(nll / (batch.target[0].numel() * log(2)))

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Rates, the aggregate posterior, the sampler, the quality of its samples and figures; then baselines."""
        aggregate = aggregate_posterior(model, data, "test")
        sampler = self._fitted(model, data)
        found = Findings(files={"model/sampler.json": json.dumps(sampler.to_json())})
        self._likelihood(found, model)
        _latents(found, aggregate)
        self._sequences(found, model, data, baselines)
        self._quality(found, model, data, baselines, sampler)
        if data.spec.kind == "image":
            found.figures |= generation_figures(model, data, sampler, aggregate, self.temperatures)
        else:
            samples = show_examples(found, model, data, sampler)
            if isinstance(data, Music):
                measure_music(found, data, samples, baselines)
        return found

    def check_data(self, data: DataModule) -> None:
        """A sampler that is fitted to train latents must have been, where the data were not trained on."""
        if data.all_as_test and self.sampler != StandardNormal.name:
            self._saved_sampler()

    def _saved_sampler(self) -> Sampler:
        """The one that the run fitted."""
        saved = load_sampler(self.detector_from) if self.detector_from is not None else None
        if saved is None or saved.name != self.sampler:
            kept = "none" if saved is None else saved.name
            raise ConfigError(
                f"task.sampler={self.sampler}: is fitted to train latents, which are not among these data, and the run "
                f"keeps the sampler {kept}; use task.sampler={StandardNormal.name}"
            )
        if isinstance(saved, Mixture) and saved.components != self.components:
            raise ConfigError(
                f"task.components={self.components}: the mixture that the run keeps has {saved.components}, and cannot "
                "be fitted anew without its train split"
            )
        return saved

    def _fitted(self, model: Model, data: DataModule) -> Sampler:
        if self.sampler == StandardNormal.name:
            return StandardNormal(model.latent_dim)
        if data.all_as_test:
            return self._saved_sampler()
        sampler = Mixture(self.components) if self.sampler == Mixture.name else SAMPLERS[self.sampler]()
        return sampler.fit(train_latents(model, data))

    def _likelihood(self, found: Findings, model: Model) -> None:
        if not model.has_rate:
            missing = {"not measured": "an autoencoder defines no p(x) and no q(z|x)"}
            found.metadata |= {f"test/{name}": missing for name in ("nll", "bpd", "active_units", "kl")}
            return
        found.metadata["test/nll"] = {"bound": "importance-weighted", "samples": self.nll_samples, "unit": "nats"}
        if not model.likelihood.is_mass:
            found.metadata["test/bpd"] = {"not measured": "the likelihood is a density, which has no bits"}

    def _sequences(self, found: Findings, model: Model, data: DataModule, baselines: BaselineCache) -> None:
        """What shows whether a decoder of tokens asks its code at all, and what it reaches without."""
        if not model.has_rate:
            return
        if data.spec.kind == "tokens" and (measured := measure_mutual_information(model, data, "test")) is not None:
            value, examples = measured
            found.numbers["test/mutual_information"] = value
            found.metadata["test/mutual_information"] = {
                "estimate": "I_q(x; z), one draw of each posterior (Hoffman and Johnson, 2016)",
                "at most": f"{log(examples):.4g}, the log of {examples} examples",
                "unit": "nats",
            }
        asked = False if data.all_as_test else self.no_latent_baseline
        if asked is True or (asked == "auto" and data.spec.characters and model.autoregressive):
            about = {
                "decoder": "the run's, its latent always 0, without word dropout",
                "trained": "with the run's optimizer, schedule, examples and number of steps; best on validation",
                "nll": "exact, not a bound",
            }

            def measure(say: Say) -> Findings:
                return Findings(no_latent(model, data, baselines, say), metadata={"baseline/no_latent": about})

            found.baselines.append(Baseline("no_latent", measure))

    def _quality(
        self, found: Findings, model: Model, data: DataModule, baselines: BaselineCache, sampler: Sampler
    ) -> None:
        if reason := not_measurable(data.spec, len(data.split["test"])):
            found.metadata["test/fid"] = {"not measured": reason}
            return
        if data.all_as_test and not self.extractor.trainless(data, model.device):
            found.metadata["test/fid"] = {
                "not measured": "its features are learned from the train split, or standardised over it, and these "
                "data were not trained on; task.extractor=inception needs no train split"
            }
            return
        extractor = self.extractor.build(data, model.device)
        count = sample_count(data, self.fid_samples)
        quality = SampleQuality(data, extractor, count, self.folder, baselines)
        numbers, details = quality.measured(model, sampler)
        about = quality.about | _described(sampler, model.has_rate)
        for name, value in numbers.items():
            found.numbers[f"test/{name}"] = value
            found.metadata[f"test/{name}"] = about | details.get(name, {})
        if sampler.fits:
            prior = StandardNormal(model.latent_dim)
            found.numbers["test/fid_prior"] = quality.frechet(model, prior)
            found.metadata["test/fid_prior"] = quality.about | _described(prior, model.has_rate)
        if not data.all_as_test:
            found.baselines += _beside(quality, data, model.latent_dim)


def _beside(quality: SampleQuality, data: DataModule, latent_dim: int) -> list[Baseline]:
    train = len(data.split["train"])

    def pca_gaussian(say: Say) -> Findings:
        about = {
            "samples of": "a full-covariance Gaussian on the codes of as many principal components as latents",
            "fitted to": rows_used(held_in_memory(train, data.spec), train, "train"),
            "compared as": "test/fid",
        }
        return Findings(quality.pca_gaussian(latent_dim), metadata={"baseline/pca_gaussian": about})

    def train_split(say: Say) -> Findings:
        about = {
            "samples of": "the train split: what a perfect sampler would get",
            "samples": rows_used(min(quality.count, train), train, "train"),
            "compared as": "test/fid",
        }
        return Findings(quality.train_split(), metadata={"baseline/train_split": about})

    return [Baseline("pca_gaussian", pca_gaussian), Baseline("train_split", train_split)]


def _latents(found: Findings, aggregate: AggregatePosterior) -> None:
    found.files["latent_dimensions.csv"] = aggregate.to_csv()
    if aggregate.rates is not None and aggregate.active is not None:
        found.numbers["test/active_units"] = float(aggregate.active.sum())
        found.metadata["test/active_units"] = {
            "of": len(aggregate.active),
            "active": f"the posterior mean varies by more than {VARIANCE:g} and the rate is above {RATE:g} nats",
        }
        found.figures["rate_per_dimension"] = rate_bars(aggregate.rates, aggregate.active)
    if aggregate.count < 2:
        found.metadata["test/aggregate_kl"] = {"not measured": "a single example has no spread"}
        return
    found.numbers["test/aggregate_kl"] = aggregate.kl_to_prior()
    found.metadata["test/aggregate_kl"] = {
        "estimate": "KL(N(mean, covariance of q(z)) || N(0, I)), the least that these moments allow",
        "samples": aggregate.count,
        "unit": "nats",
    }


def _described(sampler: Sampler, has_posterior: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"sampler": sampler.name}
    if sampler.fits:
        facts["fitted_to"] = FITTED_TO[has_posterior]
    if isinstance(sampler, Mixture):
        facts |= {"components": sampler.components, "converged": sampler.converged}
    return facts
