"""Task generation: the likelihood of data under the model, and the similarity of its samples to data."""

from math import log
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from torchmetrics import MeanMetric, Metric

from vaelab.config.nearest import did_you_mean
from vaelab.core import Batch, DataSpec
from vaelab.core.spec import observed_steps
from vaelab.data.module import DataModule
from vaelab.data.music.music import Music
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError
from vaelab.evaluation.active_units import RATE, VARIANCE
from vaelab.evaluation.aggregate_posterior import AggregatePosterior, aggregate_posterior
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.limits import held_in_memory, rows_used
from vaelab.evaluation.baselines.no_latent import no_latent
from vaelab.evaluation.encoded import encoded
from vaelab.evaluation.features import Choice, ExtractorName, refuse_absent
from vaelab.evaluation.features.classifier import Classifier
from vaelab.evaluation.mutual_information import measure_mutual_information
from vaelab.evaluation.sample_quality import SampleQuality, not_measurable, sample_count
from vaelab.evaluation.sources import Source
from vaelab.evaluation.token_rates import token_rates, update_token_rates
from vaelab.figures.rates import rate_bars
from vaelab.latents.fitted import FittedPrior, FullGaussian, FullMixture, LabelledPrior
from vaelab.latents.quantizers import index_use
from vaelab.models import Model, Prediction
from vaelab.tasks.generation.classes import measure_classes
from vaelab.tasks.generation.examples import show_examples, usual_count
from vaelab.tasks.generation.figures import generation_figures
from vaelab.tasks.generation.music import measure_music
from vaelab.tasks.generation.tables import TableQuality, measure_table
from vaelab.tasks.task import Baseline, Constant, Findings, PicturesEvery, Say, Task

SamplerName = Literal["standard_normal", "gaussian", "mixture"]
FITTED_TO = {True: "draws of the train posteriors", False: "train codes"}
SAMPLERS = {"gaussian": FullGaussian, "mixture": FullMixture}


class Generation(Task):
    """nll, bpd, active units and rates of a VAE; fid, kid, precision and recall of samples of any model.

    For images, rfid is the fid of reconstructions.

    nll is the negative importance-weighted bound with K = `nll_samples`, in nats. bpd, bits per dimension, is
    measured where the likelihood is a probability of discrete values; it does not exist for a density. An autoencoder
    has no nll, bpd or rate, and the metadata says so.

    Args:
        nll_samples: K.
        sampler: an older option; `gaussian` or `mixture` is the same as `fitted_prior=gaussian` or `mixture`.
        components: number of components of that mixture.
        temperatures: of the samples in the figure `temperatures`.
        extractor: the feature extractor; see `vaelab.evaluation.features.Choice`.
        inception: path of the TorchScript file for the extractor `inception`.
        fid_samples: N, the number of real and of generated examples; null for the size of the test split, but at most
            10,000.
        data_dir: folder in whose subfolder `.vaelab` the classifier and baselines are kept.
        no_latent_baseline: whether the decoder is also trained without a latent, for as many steps as the run, as a
            baseline of nll; `auto` does so for a VAE on text. It needs an autoregressive decoder.
        target: the column of a table that `tstr` predicts; null for the label, or else the last column with few
            categories, or else the last numeric column.
        samples: number of generated examples that are written to files; null for 1,000 rows of a table; for series,
            music and text null is the size of the test split, but at most 1,000.
        monitor, baselines: see `Task`.
    """

    models_label = True

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
        monitor: str | None,
        no_latent_baseline: Literal["auto"] | bool,
        target: str | int | None,
        samples: Annotated[int, Ge(1)] | None,
        baselines: bool,
        pictures_every: PicturesEvery,
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        self.nll_samples, self.fid_samples = nll_samples, fid_samples
        self.sampler, self.components, self.temperatures = sampler, components, temperatures
        self.folder = Path(data_dir) / ".vaelab" / "features"
        self.no_latent_baseline = no_latent_baseline
        self.target = None if target is None else str(target)
        self.samples = samples
        self.extractor = Choice(extractor, Path(inception), self.folder)

    def check_data(self, data: DataModule) -> None:
        """A target must be a column of a table, or its label; samples of images are not written to separate files."""
        if self.samples is not None and data.spec.kind == "image":
            raise ConfigError(
                f"task.samples={self.samples}: applies to tables, series, music and text; samples of images are drawn "
                "as figures, and a model loaded by vaelab.load draws more"
            )
        if self.target is None:
            return
        if not isinstance(data, Table):
            raise ConfigError(f"task.target={self.target}: applies to tables (data=table); {data.spec.name} is not one")
        if self.target not in (names := [column.name for column in data.spec.columns]) and self.target != data.label:
            raise ConfigError(
                f"task.target={self.target}: {data.spec.name} has no such column; {did_you_mean(self.target, names)}"
            )

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """The target column and the feature extractor must exist, and the decoder must fit `no_latent_baseline`."""
        if self.target is not None and not model.draws_by_label and self.target not in (c.name for c in spec.columns):
            raise ConfigError(
                f"task.target={self.target}: is the label, which this model does not generate; set "
                "data.label_as_column=true or model.condition=label to generate it, or name another column"
            )
        refuse_absent(self.extractor, spec)
        if self.no_latent_baseline is True and not (model.has_rate and model.autoregressive):
            raise ConfigError(
                "task.no_latent_baseline=true: needs model=vae and an autoregressive decoder, such as decoder=gru on "
                "text"
            )

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """Those of every task in validation; all metrics in test."""
        metrics = super().metrics(stage, model, spec)
        if stage == "test" and model.has_rate:
            metrics["nll_samples"] = Constant(1 if model.deterministic else self.nll_samples)
            for suffix in _suffixes(model):
                metrics[f"nll{suffix}"] = MeanMetric()
                if model.likelihood.is_mass and not spec.has_missing:
                    metrics[f"bpd{suffix}"] = MeanMetric()
            each = ({"nll_per_step": MeanMetric()} if spec.sequential else {}) | token_rates(spec)
            metrics |= {name + _given(model): metric for name, metric in each.items()}
        return metrics

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Add one batch to the metrics."""
        super().update(metrics, model, prediction, batch)
        for suffix, prior in _suffixes(model).items() if "nll_samples" in metrics else ():
            nll = -model.log_evidence(batch, self.nll_samples, prior=prior)
            metrics[f"nll{suffix}"].update(nll)
            if f"bpd{suffix}" in metrics:
                metrics[f"bpd{suffix}"].update(nll / (batch.target[0].numel() * log(2)))
            if prior is not None:
                continue
            if f"nll_per_step{suffix}" in metrics:  # total nats over total steps, since lengths differ
                steps = observed_steps(batch.target).sum(1)
                metrics[f"nll_per_step{suffix}"].update(nll / steps, steps)
            update_token_rates(metrics, nll, batch.target, model.likelihood.spec, suffix)

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Rates, code usage, the quality of samples from each prior, and figures."""
        aggregate = aggregate_posterior(model, data, "test")
        found = Findings()
        self._likelihood(found, model)
        if model.latent.discrete:
            _indices(found, model, data)
        else:
            _latents(found, aggregate, model.standard_prior)
        self._sequences(found, model, data, baselines)
        sources = {"": Source.of_model(model, data)}
        if model.fitted is not None:
            sources["_fitted"] = Source.of_model(model, data, model.fitted)
        self._quality(found, model, data, baselines, sources)
        shown = list(sources.values())[-1]
        if data.spec.kind == "image":
            found.figures |= generation_figures(model, data, shown, aggregate, self.temperatures)
        else:
            samples = show_examples(found, model, data, shown, self.samples)
            if isinstance(data, Table):
                count = sample_count(data, self.fid_samples)
                measure_table(found, TableQuality(data, self.target, model.draws_by_label, count, baselines), sources)
            if isinstance(data, Music):
                measure_music(found, data, samples[: usual_count(data)], baselines)
        return found

    def fitted_prior(self) -> FittedPrior | None:
        """The prior that the option `task.sampler` names."""
        if self.sampler == "mixture":
            return FullMixture(self.components)
        return FullGaussian() if self.sampler == "gaussian" else None

    def _likelihood(self, found: Findings, model: Model) -> None:
        if not model.has_rate:
            missing = {"not measured": "an autoencoder defines no p(x) and no q(z|x)"}
            found.metadata |= {f"test/{name}": missing for name in ("nll", "bpd", "active_units", "kl")}
            return
        bound = "importance-weighted" if not model.deterministic else "log p(x|z) + log p(z) of the deterministic code"
        for suffix in _suffixes(model):
            about = {"bound": bound, "samples": 1 if model.deterministic else self.nll_samples, "unit": "nats"}
            found.metadata[f"test/nll{suffix}"] = about
        if not model.likelihood.is_mass:
            found.metadata["test/bpd"] = {"not measured": "the likelihood is a density, for which bits do not exist"}

    def _sequences(self, found: Findings, model: Model, data: DataModule, baselines: BaselineCache) -> None:
        """Mutual information, which shows whether a decoder of tokens uses the latent, and the no-latent baseline."""
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
                "decoder": "the run's decoder with the latent fixed at 0, without word dropout",
                "trained": "with the run's optimizer, schedule, examples and number of steps; best on validation",
                "nll": "exact, not a bound",
            }

            def measure(say: Say) -> Findings:
                return Findings(no_latent(model, data, baselines, say), metadata={"baseline/no_latent": about})

            found.baselines.append(Baseline("no_latent", measure))

    def _quality(
        self, found: Findings, model: Model, data: DataModule, baselines: BaselineCache, sources: dict[str, Source]
    ) -> None:
        if reason := not_measurable(data.spec, len(data.split["test"])):
            found.metadata["test/fid"] = {"not measured": reason}
            return
        if data.all_as_test and not self.extractor.trainless(data, model.device):
            found.metadata["test/fid"] = {
                "not measured": "the features are trained on, or standardised by, the train split, and the model was "
                "not trained on these data; task.extractor=inception needs no train split"
            }
            return
        extractor = self.extractor.build(data, model.device)
        count = sample_count(data, self.fid_samples)
        quality = SampleQuality(data, extractor, count, self.folder, baselines)
        for suffix, source in sources.items():
            numbers, details = quality.measured(source)
            about = quality.about | _described(source, model.has_rate)
            for name, value in numbers.items():
                found.numbers[f"test/{name}{suffix}"] = value
                found.metadata[f"test/{name}{suffix}"] = about | details.get(name, {})
            if source.shown_labels and isinstance(extractor, Classifier):
                measure_classes(found, source, data, extractor, about, suffix)
        if data.spec.kind == "image":
            found.numbers["test/rfid"] = quality.of_reconstructions(model)
            found.metadata["test/rfid"] = quality.about | {"generated": f"{count}, the same examples reconstructed"}
        if not data.all_as_test:
            found.baselines += _beside(quality, data, model.latent_dim)


def _given(model: Model) -> str:
    """Suffix of nll, and of metrics computed from it, for a conditional model."""
    return "_given_label" if model.conditional else ""


def _suffixes(model: Model) -> dict[str, FittedPrior | None]:
    """Suffixes of nll and bpd with their priors. nll given a label is another quantity, so its name differs."""
    given = _given(model)
    return {given: None} | ({f"{given}_fitted": model.fitted} if model.fitted is not None else {})


def _beside(quality: SampleQuality, data: DataModule, latent_dim: int) -> list[Baseline]:
    train = len(data.split["train"])

    def pca_gaussian(say: Say) -> Findings:
        about = {
            "samples of": "a full-covariance Gaussian on PCA codes with as many components as latent dimensions",
            "fitted to": rows_used(held_in_memory(train, data.spec), train, "train"),
            "compared as": "test/fid",
        }
        numbers, ahead = quality.pca_gaussian(latent_dim), quality.ahead_of_pca_gaussian(latent_dim)
        named = {f"baseline/pca_gaussian/{name}": by for name, by in ahead.items()}
        return Findings(numbers, metadata={"baseline/pca_gaussian": about} | named)

    def train_split(say: Say) -> Findings:
        about = {
            "samples of": "the train split: what a perfect sampler would get",
            "samples": rows_used(min(quality.count, train), train, "train"),
            "compared as": "test/fid",
        }
        return Findings(quality.train_split(), metadata={"baseline/train_split": about})

    return [Baseline("pca_gaussian", pca_gaussian), Baseline("train_split", train_split)]


def _latents(found: Findings, aggregate: AggregatePosterior, standard_prior: bool) -> None:
    found.files["latent_dimensions.csv"] = aggregate.to_csv()
    if aggregate.rates is not None and aggregate.active is not None:
        found.numbers["test/active_units"] = float(aggregate.active.sum())
        found.metadata["test/active_units"] = {
            "of": len(aggregate.active),
            "active": f"the posterior mean varies by more than {VARIANCE:g} and the rate is above {RATE:g} nats",
        }
        found.figures["rate_per_dimension"] = rate_bars(aggregate.rates, aggregate.active)
    elif aggregate.rates is None:
        unknown = {"not measured": "the prior gives no rate per dimension"}
        found.metadata.setdefault("test/active_units", unknown)
    if aggregate.count < 2 or not standard_prior:
        why = "the model's own prior is not N(0, I)" if aggregate.count > 1 else "a single example has no variance"
        found.metadata["test/aggregate_kl"] = {"not measured": why}
        return
    found.numbers["test/aggregate_kl"] = aggregate.kl_to_prior()
    found.metadata["test/aggregate_kl"] = {
        "estimate": "KL(N(mean, covariance of q(z)) || N(0, I)), the smallest KL with these moments",
        "samples": aggregate.count,
        "unit": "nats",
    }


def _indices(found: Findings, model: Model, data: DataModule) -> None:
    """How many indices of the codebook are used in the test split."""
    indices, levels = encoded(model, data, "test").indices, model.latent.finest.levels
    assert indices is not None
    assert levels is not None
    counts = indices.flatten().bincount(minlength=levels)
    for name, value in index_use(counts).items():
        found.numbers[f"test/{name}"] = value
        found.metadata[f"test/{name}"] = {
            "indices": f"{indices.numel():,} of {levels} levels",
            "used": "at least a tenth as often as under equal use of all levels",
        }


def _described(source: Source, has_posterior: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"codes from": source.title}
    if source.fitted is not None:
        facts |= {"fitted_prior": source.fitted.name, "fitted_to": FITTED_TO[has_posterior], **source.fitted.settings}
    if isinstance(source.fitted, LabelledPrior):
        facts |= source.fitted.facts
    if isinstance(source.fitted, FullMixture):
        facts["converged"] = source.fitted.converged
    return facts
