"""The objective that all models share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import log
from typing import Any, ClassVar, Literal, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from vaelab.backbones.backbone import Decoder, Encoder
from vaelab.core.batch import Batch
from vaelab.core.noise import Noise
from vaelab.core.spec import MASKED, observed_mask
from vaelab.errors import ConfigError
from vaelab.latents import Draw, LabelCondition, LatentSpec, Point, Posterior, Prior, StandardNormal, Uniform
from vaelab.latents.condition import appended
from vaelab.latents.draw import NONE
from vaelab.latents.fitted import FittedPrior
from vaelab.likelihoods import Likelihood
from vaelab.models.adversary import Adversary, adaptive_weight
from vaelab.models.phases import ADVERSARY, MAIN, Phase
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import Prediction, Start, Terms

Condition = Literal["label"]
Streams = dict[str, tuple[str, tuple[int, ...]]]  # of noise: `normal` or `uniform`, and the shape for one example


class ModelParts(TypedDict):
    """Arguments of every model that the run gives; see `Model`.

    A subclass with settings of its own takes them first, and hands the others on:

        class MyVAE(VAE):
            def __init__(self, weight: float = 1.0, **settings: Unpack[VAESettings]) -> None:
                super().__init__(**settings)
    """

    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood
    latent: LatentSpec


class Inferred(NamedTuple):
    """What the encoder says of a batch, and the prior as it is now: enough for any number of draws."""

    q: Any
    p: Any


class Model(nn.Module, ABC):
    """An objective over an encoder, a decoder and a likelihood: a plain module, which draws nothing by itself.

    A subclass says what its loss is (`terms`), or adds named terms to that of its parent (`penalties`). It has one
    latent variable unless it says otherwise: a hierarchy overrides `latent_spec`, `encoder_shape`, `infer`, `streams`,
    `draw_from`, `code`, `variance` and `sample_latent`, and all measurements follow.

    Args:
        encoder: gives what the posterior reads.
        decoder: z, with the embedded condition as more channels, to `(P, *shape)`.
        likelihood: of the data.
        latent: what the code is; a whole number stands for a vector of that size.
        posterior: makes q(z|x) of what the encoder gives.
        prior: p(z).
        condition: `label` gives the model the label of each example.
        condition_size: numbers of the vector that a label is embedded as.
        condition_dropout: chance in training that a label is taken away, so that the null is learned.

    Attributes:
        monitor: what the best checkpoint watches unless the task says, and its direction.
        takes: which of `posterior` and `prior` may be chosen for the model; the others are its own.
        extra_phases: updates on each batch beside that of the first phase.
        inference: names of the modules that z is made by, from x on; the gradient of a reconstruction reaches them.
        batch_terms: names of terms that are statistics of a whole batch. They need the batch of all devices
            (`gathered`) and refuse accumulation, since a part of a batch has another statistic.
        step: optimizer steps taken, set by the trainer.
        adversary: tells reconstructions from data, in a phase of its own; set when the model is built.
        fitted: a prior that was fitted to the codes of the trained model; see `vaelab.latents.fitted`.
        architecture: plain data that the model was built from, kept in checkpoints.
    """

    monitor: ClassVar[tuple[str, str]]
    takes: ClassVar[frozenset[str]] = frozenset()
    extra_phases: tuple[Phase, ...] = ()
    inference: ClassVar[tuple[str, ...]] = ("encoder", "posterior")
    batch_terms: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent: LatentSpec | int,
        posterior: Posterior | None = None,
        prior: Prior | None = None,
        condition: Condition | None = None,
        condition_size: int = 0,
        condition_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.latent = LatentSpec.vector(latent) if isinstance(latent, int) else latent
        self.posterior = posterior or self.own_posterior()
        self.prior = prior or self.own_prior(self.posterior)
        self.condition = LabelCondition(likelihood.spec, condition_size) if condition else None
        self.condition_dropout = condition_dropout
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros(likelihood.offset_shape))
        self.architecture: dict[str, Any] = {}
        self.weigh: Callable[..., Tensor] | None = None  # `log_weights` in a faster form, where there is one
        self._step = self.step_reads = 0
        self.fitted: FittedPrior | None = None
        self.adversary: Adversary | None = None
        self._decodes_steps = isinstance(decoder, Decoder) and decoder.autoregressive
        self._encodes_condition = isinstance(encoder, Encoder) and encoder.takes_condition
        self._bind(condition_size if condition else 0)

    def _bind(self, condition_size: int) -> None:
        """Tell posterior and prior what they are for.

        Raises:
            ConfigError: it is none of this code, or needs a condition.
        """
        if self.prior.conditional and not condition_size:
            raise ConfigError("prior: it is p(z|c), and the model has no condition; add model.condition=label")
        if self.posterior.discrete and not self.prior.discrete:
            raise ConfigError("prior: the code is discrete, and this prior is one of real numbers; use prior=uniform")
        self.posterior.bind(self.latent.finest)
        self.prior.bind(self.latent.finest, self.likelihood.spec, self._encode_unconditioned, condition_size)

    # What a model is made of

    @classmethod
    def own_posterior(cls) -> Posterior:
        """The posterior of a model for which none is chosen."""
        return Point()

    @classmethod
    def own_prior(cls, posterior: Posterior) -> Prior:
        """The prior of a model for which none is chosen: N(0, I), or uniform where the code is discrete."""
        return Uniform() if posterior.discrete else StandardNormal()

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """What the code is.

        Args:
            shape: of z, as the group `latent` says.
            posterior: of the model.
            settings: of the model, as in its config.
        """
        return LatentSpec((posterior.group(shape),))

    @classmethod
    def encoder_shape(cls, latent: LatentSpec, posterior: Posterior, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """What the encoder gives for one example; see `latent_spec`."""
        return posterior.code_shape(latent.finest.shape)

    @classmethod
    def decoder_shape(cls, latent: LatentSpec, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """What the decoder reads for one example: z and the embedded condition."""
        more = settings.get("condition_size", 0) if settings.get("condition") else 0
        return (latent.finest.shape[0] + more, *latent.finest.shape[1:])

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Updates on each batch, in order; nearly all models have one."""
        adversary = () if self.adversary is None else (Phase(ADVERSARY, ("adversary",), self.adversary.begins),)
        return (Phase(MAIN), *self.extra_phases, *adversary)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """Which modules each term sends a gradient to in its phase, by name; a term with none moves nothing.

        It has every term that is logged but `loss` and `elbo`, which are made of others, and `<phase>_loss` of every
        phase but the first.
        """
        shown = (*self.inference, "decoder", "condition")
        moved = {"reconstruction": (*shown, "likelihood")} | self._rate_moves()
        for term, names in self.posterior.moves().items():
            moved[term] = (*moved.get(term, ()), *names)
        if self.adversary is not None:
            moved |= {"adversarial": shown, "adversarial_weight": (), f"{ADVERSARY}_loss": ("adversary",)}
        return {term: self._parts(*dict.fromkeys(names)) for term, names in moved.items()}

    def _rate_moves(self) -> dict[str, tuple[str, ...]]:
        """The same for the KL, where the loss has one."""
        return {}

    def _inferring(self) -> tuple[str, ...]:
        """The modules that q(z|x) comes from: the condition is one where the encoder takes it."""
        return self._parts(*self.inference, *(("condition",) if self._encodes_condition else ()))

    def _parts(self, *names: str) -> tuple[str, ...]:
        """Those of these modules that have weights."""
        modules = dict(self.named_children())
        return tuple(name for name in names if name in modules and any(True for _ in modules[name].parameters()))

    @property
    def has_rate(self) -> bool:
        """Whether a code has a rate, so that the model has a bound on log p(x): not so for a point of real numbers."""
        return not self.posterior.continuous_point

    @property
    def deterministic(self) -> bool:
        """Whether the code of an example is not drawn."""
        return not self.streams(1)

    @property
    def autoregressive(self) -> bool:
        """Whether the decoder predicts each step from those before it."""
        return self._decodes_steps

    @property
    def conditional(self) -> bool:
        """Whether the model is given labels."""
        return self.condition is not None

    @property
    def takes_gradients(self) -> bool:
        """Whether a term of the objective is itself a gradient."""
        return False

    @property
    def latent_dim(self) -> int:
        """Numbers of the flat code."""
        return self.latent.size

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.offset.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.offset.dtype

    @property
    def step(self) -> int:
        """Optimizer steps taken, as far as the trainer has said; schedules are functions of it."""
        self.step_reads += 1
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step

    def scheduled(self, step: int) -> dict[str, float]:
        """Scheduled numbers at a step, for the loss and for the log."""
        return self.posterior.scheduled(step)

    def scheduled_now(self) -> Scheduled:
        """The same at the current step, which is read only where anything is scheduled."""
        return self.scheduled(self.step) if self.scheduled(0) else {}

    def diagnostics(self) -> dict[str, float]:
        """Numbers of the state of the model that enter no loss, for the log, such as the perplexity of a codebook."""
        return self.posterior.diagnostics()

    def remedies(self) -> list[str]:
        """What to type where the code is hardly used, the likeliest to help first."""
        return []

    # Before and between steps

    @property
    def start_examples(self) -> int:
        """Train examples that `start` wants to see."""
        return self.prior.start_examples

    def start(self, start: Start) -> None:
        """Let an untrained decoder give about the mean of the data, which it then need not learn first.

        Burda et al. (2016) do so with the last bias of their decoder. From zero, the first steps carry one
        large gradient, the same for all examples, through every layer, and latent dimensions die of it.
        """
        self.offset.copy_(self.likelihood.raw_at(start.mean))
        if self.prior.start_examples:
            self.prior.start(start.examples)

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Change the state of the model after an optimizer step, by the statistics of its batches on all devices."""
        self.posterior.update(statistics)

    # The objective

    @abstractmethod
    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """The objective of each example; fresh noise comes from the batch.

        Args:
            batch: see `Batch`.
            scheduled: the scheduled numbers; those of the current step if None.
        """

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """Named terms that the loss has beside reconstruction and KL, `(B,)` each, as they enter the loss.

        A subclass returns `super().penalties(...) | {"name": value}`, and says in `moves` what they train. All are
        named at each step, with 0 where they do not count.

        Args:
            batch: see `Batch`.
            inferred: from `infer`.
            draw: from `draw_from`; that of an autoencoder is its code.
            scheduled: see `terms`.
        """
        return draw.penalties

    def statistics(self, inferred: Any) -> Mapping[str, Tensor]:
        """Sums over a training batch that `update` takes, by name."""
        return self.posterior.statistics(inferred.q) if isinstance(inferred, Inferred) else NONE

    def phase_terms(self, phase: str, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """The objective of one phase in training: of the first, `terms`, with the adversarial term if there is one.

        A model with `extra_phases` overrides it, and leaves all others to this. `Terms.loss_alone` is enough for them.
        """
        if phase == MAIN:
            terms = self.terms(batch, scheduled)
            return terms if self.adversary is None else self._deceiving(terms, batch, self.adversary)
        if phase == ADVERSARY and self.adversary is not None:
            with torch.no_grad():
                terms = self.terms(batch, scheduled)
                reconstruction = self.likelihood.mean(self._output(terms, batch))
            loss = self.adversary.loss(batch.target, reconstruction)
            return Terms(loss, terms.log_likelihood, None)
        raise NotImplementedError(f"{type(self).__name__} has no objective for the phase {phase}")

    def _deceiving(self, terms: Terms, batch: Batch, adversary: Adversary) -> Terms:
        """With the term for deceiving an adversary, in proportion to the gradient of the reconstruction."""
        if self.step < adversary.begins:
            zero = torch.zeros_like(terms.loss)
            return terms._replace(penalties=dict(terms.penalties) | {"adversarial": zero, "adversarial_weight": zero})
        each = adversary.deceived(self.likelihood.mean(self._output(terms, batch)))
        share = batch.weight  # of this device's rows, so that the mean over devices is that of the whole batch
        likelihood, deceived = -terms.log_likelihood.mean() * share, each.mean() * share
        weight = adversary.weight * adaptive_weight(likelihood, deceived, self.last_layer())
        shown = {"adversarial": weight * each, "adversarial_weight": weight.expand_as(each)}
        return terms._replace(loss=terms.loss + weight * each, penalties=dict(terms.penalties) | shown)

    def _output(self, terms: Terms, batch: Batch) -> Tensor:
        """Raw parameters of a reconstruction, `(B, P, *shape)`: of the draw in the terms, if they have it."""
        if terms.output is not None:
            return terms.output
        condition = self.condition_of(batch)
        return self._decoded(self.decoder_latent(self.encode(batch.x, condition)), batch.target, condition)

    def last_layer(self) -> nn.Parameter:
        """The weights of the decoder's last layer."""
        return [weight for weight in self.decoder.parameters() if weight.dim() > 1][-1]

    def forward(self, batch: Batch) -> Terms:
        """The objective of each example."""
        return self.terms(batch)

    # From x to z

    def condition_of(self, batch: Batch) -> Tensor | None:
        """The labels that the model is given, `(B,)`; in training some are taken away. None without a condition."""
        if self.condition is None:
            return None
        if not (self.training and self.condition_dropout):
            return batch.label
        dropped = batch.noise.uniform("condition", (), batch.label.device) < self.condition_dropout
        return batch.label.masked_fill(dropped, -1)

    def infer(self, x: Tensor, condition: Tensor | None = None) -> Any:
        """What is needed to draw z for `x: (B, *shape)`: `Inferred`, unless the model is a hierarchy.

        Args:
            x: what the model sees.
            condition: `(B,)` labels; None or -1 for none.
        """
        embedded = self._embedded(condition, x)
        return Inferred(self.posterior(self._encoded(x, embedded)), self.prior.distribution(embedded))

    def streams(self, samples: int, name: str = "posterior") -> Streams:
        """The noise that S = `samples` draws of all latent variables need, by stream."""
        if self.posterior.noise is None:
            return {}
        shape = self.posterior.noise_shape(self.latent.finest.shape)
        return {name: (self.posterior.noise, (samples, *shape))}

    def draw_from(
        self,
        inferred: Any,
        noise: Mapping[str, Tensor],
        condition: Tensor | None = None,
        scheduled: Scheduled = NONE,
    ) -> Draw:
        """Draws of all latent variables.

        Args:
            inferred: from `infer`.
            noise: `(B, S, ...)` for each stream, in the order of `streams`.
            condition: `(B,)` labels; None or -1 for none.
            scheduled: in training; see `Posterior.draw`.
        """
        drawn = next(iter(noise.values()), None)
        samples = 1 if drawn is None else drawn.shape[1]
        return Draw((self.posterior.draw(inferred.q, inferred.p, drawn, samples, scheduled),))

    def draw(self, batch: Batch, samples: int = 1, name: str = "posterior") -> Draw:
        """S = `samples` draws of z for each example, by the noise of the batch."""
        condition = self.condition_of(batch)
        noise = drawn(self.streams(samples, name), batch.noise, batch.x.device)
        return self.draw_from(self.infer(batch.x, condition), noise, condition)

    def code(self, inferred: Any) -> Tensor:
        """The flat code that stands for an example, `(B, size)`: the posterior mean, or the point itself."""
        mean: Tensor = inferred.q.mean
        return mean.flatten(1)

    def variance(self, inferred: Any) -> Tensor | None:
        """The variances of q(z|x) around `code`, `(B, size)`; None where it has none."""
        variance: Tensor | None = inferred.q.variance
        return None if variance is None else variance.flatten(1)

    def mutual_information(self, inferred: Any) -> float | None:
        """I_q(x; z) in nats over the examples of `inferred`; None where it has no estimate."""
        return self.posterior.mutual_information(inferred.q) if isinstance(inferred, Inferred) else None

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`x: (B, *shape)` to the flat code or posterior mean, `(B, size)`."""
        return self.code(self.infer(x, condition))

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """`(count, size)` draws of the model's own prior, flat, on the model's device.

        Args:
            count: of draws.
            seed, temperature: see `Prior.sample`.
            condition: `(count,)` labels; None or -1 for none.
        """
        embedded, group = self._embedded(condition, self.offset.new_zeros(count)), self.latent.finest
        drawn = self.prior.sample(count, group.indices or group.shape, seed, temperature, embedded).to(self.device)
        return self.from_indices(drawn) if group.discrete else drawn.flatten(1)

    def indices(self, inferred: Any) -> Tensor:
        """Of a discrete code: `(B, *indices)` int64, those of `code`."""
        found: Tensor = inferred.q.indices
        return found

    def from_indices(self, indices: Tensor) -> Tensor:
        """Of a discrete code: `(N, *indices)` int64 to flat codes, `(N, size)`."""
        return self.posterior.from_indices(indices).flatten(1).to(self.dtype)

    # From z to x

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Flat codes `z: (B, size)` to the mean of x, `(B, *shape)` in the data's range.

        A decoder that predicts step by step gives the sequence whose every step is the likeliest given those
        before it.
        """
        if self.autoregressive:
            return self.generated(z, self.likelihood.mode, condition)
        return self.likelihood.mean(self._decoded(self.decoder_latent(z), None, condition))

    def reconstruct(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """What evaluation compares with `target: (B, *shape)`: the mean of x for flat codes `z: (B, size)`.

        A decoder that predicts step by step reads the true steps before each (teacher forcing).
        """
        return self.likelihood.mean(self._decoded(self.decoder_latent(z), target, condition))

    def restore(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """The likeliest original of a corrupted `x: (B, *shape)`, from its code; the same shape.

        Of tokens those that are masked are chosen, one after the other, given the code and all before them.
        """
        z = self.encode(x, condition)
        if self.likelihood.spec.support != "categories":
            return self.decode(z, condition)
        if self.autoregressive:
            return self.generated(z, self.likelihood.mode, condition, known=x)
        return x.where(x != MASKED, self.decode(z, condition)[..., : x.shape[-1]])

    def log_likelihood(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(target|z) in nats for flat codes `z: (B, size)`, `(B,)`."""
        return self.likelihood.log_prob(self._decoded(self.decoder_latent(z), target, condition), target)

    def value_log_likelihood(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p of each value of `target: (B, *shape)`, none missing, in nats; the same shape."""
        return self.likelihood.value_log_prob(self._decoded(self.decoder_latent(z), target, condition), target)

    def sample(self, z: Tensor, generator: torch.Generator | None = None, condition: Tensor | None = None) -> Tensor:
        """Flat codes `z: (B, size)` to a draw of p(x|z), `(B, *shape)`."""
        if self.autoregressive:
            return self.generated(z, lambda raw: self.likelihood.sample(raw, generator), condition)
        return self.likelihood.sample(self._decoded(self.decoder_latent(z), None, condition), generator)

    def decoder_latent(self, code: Tensor) -> Tensor:
        """The part of flat codes `(B, size)` that the decoder reads, `(B, *shape)`: the finest latent variable."""
        return self.latent.split(code)[-1]

    # Measurements

    def predict(self, batch: Batch, scheduled: Scheduled | None = None) -> Prediction:
        """Terms, code and reconstruction, without drawing anything that is not tied to the example."""
        condition = self.condition_of(batch)
        terms = self.terms(batch, scheduled)
        code = self.encode(batch.x, condition)
        return Prediction(terms, code, self.reconstruct(code, batch.target, condition))

    def log_weights(
        self, inferred: Any, noise: Mapping[str, Tensor], target: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """log p(x, z) - log q(z|x) at the draws of some noise, in nats, `(B, S)`."""
        draw = self.draw_from(inferred, noise, condition)
        ratio = draw.log_ratio
        if ratio is None:
            raise TypeError(f"{type(self).__name__} has no bound on log p(x): its code is a point")
        return self._log_likelihood(draw.groups[-1].z, target, target, condition)[0] + ratio

    def fitted_log_weights(
        self,
        prior: FittedPrior,
        inferred: Any,
        noise: Mapping[str, Tensor],
        target: Tensor,
        condition: Tensor | None = None,
    ) -> Tensor:
        """`log_weights` with a fitted prior in place of the model's own, `(B, S)`."""
        draw = self.draw_from(inferred, noise, condition)
        log_q = draw.log_q
        if log_q is None:
            raise TypeError(f"{type(self).__name__} has no bound on log p(x): its code is a point")
        if prior.discrete:
            indices = draw.groups[-1].indices
            assert indices is not None
            log_p = prior.log_prob(indices.flatten(0, 1).flatten(1)).view(log_q.shape)
        else:
            codes = self.latent.flat([group.z.flatten(0, 1) for group in draw.groups])
            log_p = prior.log_prob(codes).view(log_q.shape)
        return self._log_likelihood(draw.groups[-1].z, target, target, condition)[0] + log_p - log_q

    def log_evidence(
        self,
        batch: Batch,
        samples: int,
        noise: Noise | None = None,
        chunk: int = 2_048,
        prior: FittedPrior | None = None,
    ) -> Tensor:
        """The importance-weighted bound on log p(x) (Burda et al., 2016, equation 8), in nats, `(B,)`.

        It is a lower bound whose expectation does not fall as `samples` grows. A deterministic code has one draw.

        Args:
            batch: `x` is what the posterior sees, `target` what is explained.
            samples: K, drawn for each example.
            noise: where draws come from; the batch's own if None.
            chunk: z decoded at a time; changes memory and time, not the result.
            prior: a fitted one in place of the model's own.
        """
        condition = self.condition_of(batch)
        inferred = self.infer(batch.x, condition)
        draws = drawn(self.streams(samples, "evidence"), noise or batch.noise, batch.x.device)
        step = max(1, chunk // max(1, len(batch.x)))
        weigh = (self.weigh or self.log_weights) if prior is None else partial(self.fitted_log_weights, prior)
        log_weights = [weigh(inferred, part, batch.target, condition) for part in _chunks(draws, step)]
        counted = torch.cat(log_weights, dim=1)
        return torch.logsumexp(counted, dim=1) - log(counted.shape[1])

    # Within

    def _encode_unconditioned(self, x: Tensor) -> Any:
        """q(z|x) without a condition, for a prior that needs the encoder."""
        return self.posterior(self._encoded(x, self._embedded(None, x)))

    def _embedded(self, condition: Tensor | None, like: Tensor) -> Tensor | None:
        """Labels `(B,)` as vectors `(B, E)`, or as the null where there are none; None for a model without."""
        if self.condition is None:
            return None
        if condition is None:
            condition = torch.full((len(like),), -1, device=like.device)
        embedded: Tensor = self.condition(condition)
        return embedded

    def _encoded(self, x: Tensor, embedded: Tensor | None) -> Tensor:
        """The encoder's output, in a precision that nats can be summed in."""
        if embedded is not None and self._encodes_condition:
            return at_least_single(self.encoder(self._cast(x), embedded))
        return at_least_single(self.encoder(self._cast(x)))

    def _decoded(self, z: Tensor, given: Tensor | None, condition: Tensor | None = None) -> Tensor:
        """The decoder's output, in a precision that nats can be summed in; `given` is read by teacher forcing.

        `z: (N, *shape)` of the finest latent variable, `condition: (N,)` labels.
        """
        z = appended(z, self._embedded(condition, z)).to(self.dtype)
        forced = (self._cast(given),) if self.autoregressive and given is not None else ()
        return at_least_single(self.decoder(z, *forced)) + self.offset

    def _log_likelihood(
        self, z: Tensor, target: Tensor, forced: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p(x|z) for `z: (B, S, *shape)`, in nats, `(B, S)`, and the raw parameters, `(B * S, P, *shape)`.

        `forced` is what a decoder of steps reads.
        """
        samples = z.shape[1]
        if samples > 1:
            target, forced = (values.repeat_interleave(samples, dim=0) for values in (target, forced))
            condition = None if condition is None else condition.repeat_interleave(samples, dim=0)
        raw = self._decoded(z.flatten(0, 1), forced, condition)
        return self.likelihood.log_prob(raw, target).view(-1, samples), raw

    def generated(
        self, z: Tensor, choose: Callable[[Tensor], Tensor], condition: Tensor | None = None, **settings: Tensor
    ) -> Tensor:
        """Flat codes `z: (B, size)` to sequences, step after step, each chosen of its raw parameters."""
        decoder: Any = self.decoder
        latent = self.decoder_latent(z)
        latent = appended(latent, self._embedded(condition, latent)).to(self.dtype)
        return decoder.generate(latent, lambda raw: choose(at_least_single(raw) + self.offset), **settings)

    def _cast(self, values: Tensor) -> Tensor:
        """Numbers in the precision of the weights; tokens as they are."""
        return values.to(self.dtype) if values.is_floating_point() else values

    def _teacher_forcing(self, batch: Batch) -> Tensor:
        """What an autoregressive decoder reads before each step: the target, in training with some tokens masked."""
        chance = self.decoder.word_dropout if isinstance(self.decoder, Decoder) else 0.0
        if not (self.training and chance):
            return batch.target
        hidden = batch.noise.uniform("word_dropout", batch.target.shape[1:], batch.target.device) < chance
        return batch.target.masked_fill(hidden & observed_mask(batch.target), MASKED)


def drawn(streams: Streams, noise: Noise, device: torch.device) -> dict[str, Tensor]:
    """The noise of some streams for a batch, `(B, ...)` each."""
    return {
        name: (noise.normal if kind == "normal" else noise.uniform)(name, shape, device)
        for name, (kind, shape) in streams.items()
    }


def _chunks(draws: dict[str, Tensor], size: int) -> Iterator[dict[str, Tensor]]:
    """At most `size` of S draws at a time, `(B, size, ...)` each; once nothing, where nothing is drawn."""
    if not draws:
        yield {}
        return
    for parts in zip(*(values.split(size, dim=1) for values in draws.values()), strict=True):
        yield dict(zip(draws, parts, strict=True))


def at_least_single(values: Tensor) -> Tensor:
    """Half-precision outputs of layers as float32; any other as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
