"""Encoding and decoding, common to all models."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

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
from vaelab.likelihoods import Likelihood
from vaelab.models.schedules import Scheduled
from vaelab.models.shortcut import Shortcut

Condition = Literal["label"]
Streams = dict[str, tuple[str, tuple[int, ...]]]  # kind (`normal` or `uniform`) and shape per example, by stream


class ModelParts(TypedDict):
    """Arguments of every model that are built from the run's config; see `Model`.

    A subclass declares its own settings first, and passes the others on:

        class MyVAE(VAE):
            def __init__(self, weight: float = 1.0, **settings: Unpack[VAESettings]) -> None:
                super().__init__(**settings)
    """

    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood
    latent: LatentSpec


class Inferred(NamedTuple):
    """The posterior for a batch, and the current prior: enough for any number of draws."""

    q: Any
    p: Any


class Coder(nn.Module):
    """Encoder, posterior, prior, decoder and likelihood together, without losses or training.

    All noise is passed in. It has one latent variable. A hierarchy has several; it overrides `latent_spec`,
    `encoder_shape`, `infer`, `streams`, `draw_from`, `code`, `variance` and `sample_latent`. If its decoder reads more
    than the finest variable, it also overrides `decoder_shape` and `decoder_latent`, and its draws have a `state`.
    Measurements work without changes.

    Args:
        encoder: gives the input of the posterior.
        decoder: maps z, with the embedded condition as additional channels, to `(P, *shape)`.
        likelihood: of the data.
        latent: layout of the code; an integer stands for a vector of that size.
        posterior: makes q(z|x) from the encoder's output.
        prior: p(z).
        condition: `label` gives the model the label of each example; null gives it none.
        condition_size: dimension of the label embedding.
        condition_dropout: probability in training that a label is replaced by the null label, so that its embedding
            is learned.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent: LatentSpec | int,
        posterior: Posterior | None,
        prior: Prior | None,
        condition: Condition | None,
        condition_size: int,
        condition_dropout: float,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.latent = LatentSpec.vector(latent) if isinstance(latent, int) else latent
        self.posterior = posterior or self.own_posterior()
        self.prior = prior or self.own_prior(self.posterior)
        self.condition = LabelCondition(likelihood.spec, condition_size) if condition else None
        self.condition_dropout = condition_dropout
        self.shortcut: Shortcut | None = None  # set when the model is built
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros(likelihood.offset_shape))
        self._decodes_steps = isinstance(decoder, Decoder) and decoder.autoregressive
        self._encodes_condition = isinstance(encoder, Encoder) and encoder.takes_condition
        self._bind(condition_size if condition else 0)

    def _bind(self, condition_size: int) -> None:
        """Give posterior and prior the shape of the code.

        Raises:
            ConfigError: posterior and prior do not fit the code or each other, or the prior needs a condition.
        """
        if self.prior.conditional and not condition_size:
            raise ConfigError("prior: is p(z|c), and the model has no condition; add model.condition=label")
        if self.posterior.noise not in (None, "normal", "uniform"):
            name = type(self.posterior).__name__
            raise ConfigError(f"posterior: {name}.noise={self.posterior.noise}: should be normal, uniform or None")
        if self.posterior.discrete and not self.prior.discrete:
            raise ConfigError("prior: the code is discrete, and this prior is continuous; use prior=uniform")
        if self.prior.of_posteriors and (self.posterior.discrete or not self.posterior.normal):
            raise ConfigError("prior=vampprior: is a mixture of normal posteriors; use posterior=gaussian")
        self.posterior.bind(self.latent.finest)
        self.prior.bind(self.latent.finest, self.likelihood.spec, self._encode_unconditioned, condition_size)

    @classmethod
    def own_posterior(cls) -> Posterior:
        """The default posterior of this model."""
        return Point()

    @classmethod
    def own_prior(cls, posterior: Posterior) -> Prior:
        """The default prior of this model: N(0, I), or uniform for a discrete code."""
        return Uniform() if posterior.discrete else StandardNormal()

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """The layout of the code.

        Args:
            shape: of z, from the group `latent`.
            posterior: of the model.
            settings: of the model, as in its config, and `spec`, the data.
        """
        return LatentSpec((posterior.group(shape),))

    @classmethod
    def encoder_shape(cls, latent: LatentSpec, posterior: Posterior, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of the encoder's output for one example; see `latent_spec`."""
        return posterior.code_shape(latent.finest.shape)

    @classmethod
    def decoder_shape(cls, latent: LatentSpec, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of the decoder's input for one example: z and the embedded condition."""
        more = settings.get("condition_size", 0) if settings.get("condition") else 0
        return (latent.finest.shape[0] + more, *latent.finest.shape[1:])

    @property
    def has_rate(self) -> bool:
        """Whether the KL is defined, so that the model has a bound on log p(x). A deterministic real code has no KL."""
        return not self.posterior.continuous_point

    @property
    def deterministic(self) -> bool:
        """Whether the code of an example is deterministic."""
        return not self.streams(1)

    @property
    def autoregressive(self) -> bool:
        """Whether the decoder is autoregressive: it predicts each step from the steps before it."""
        return self._decodes_steps

    @property
    def conditional(self) -> bool:
        """Whether the model is given labels."""
        return self.condition is not None

    @property
    def draws_by_label(self) -> bool:
        """Whether codes can be drawn for a label, because the model is conditional or its code contains the label."""
        return self.conditional

    @property
    def standard_prior(self) -> bool:
        """Whether there is one latent variable, with the prior N(0, I)."""
        return self.prior.standard and len(self.latent.groups) == 1

    @property
    def latent_dim(self) -> int:
        """Number of dimensions of the flat code."""
        return self.latent.size

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.offset.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.offset.dtype

    # From x to z

    def condition_of(self, batch: Batch) -> Tensor | None:
        """The labels given to the model, `(B,)`, with condition dropout in training. None without a condition."""
        if self.condition is None:
            return None
        if not (self.training and self.condition_dropout):
            return batch.label
        dropped = batch.noise.uniform("condition", (), batch.label.device) < self.condition_dropout
        return batch.label.masked_fill(dropped, -1)

    def infer(self, x: Tensor, condition: Tensor | None = None) -> Any:
        """Everything needed to draw z for `x: (B, *shape)`: `Inferred`, unless the model is a hierarchy.

        Args:
            x: the encoder's input.
            condition: `(B,)` labels; None or -1 for no label.
        """
        embedded = self.embed(condition, x)
        return Inferred(self.posterior(self.features(x, embedded)), self.prior.distribution(embedded))

    def streams(self, samples: int, name: str = "posterior") -> Streams:
        """The noise needed for S = `samples` draws of all latent variables, by stream."""
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
            condition: `(B,)` labels; None or -1 for no label.
            scheduled: scheduled numbers, in training; see `Posterior.draw`.
        """
        drawn = next(iter(noise.values()), None)
        samples = 1 if drawn is None else drawn.shape[1]
        return Draw((self.posterior.draw(inferred.q, inferred.p, drawn, samples, scheduled),))

    def draw(self, batch: Batch, samples: int = 1, name: str = "posterior") -> Draw:
        """S = `samples` draws of z for each example, with the batch's noise."""
        condition = self.condition_of(batch)
        noise = drawn(self.streams(samples, name), batch.noise, batch.x.device)
        return self.draw_from(self.infer(batch.x, condition), noise, condition)

    def code(self, inferred: Any) -> Tensor:
        """The flat code of each example, `(B, size)`: the posterior mean, or the deterministic code."""
        mean: Tensor = inferred.q.mean
        return mean.flatten(1)

    def variance(self, inferred: Any) -> Tensor | None:
        """The variances of q(z|x), whose mean is `code`, `(B, size)`; None for a deterministic code."""
        variance: Tensor | None = inferred.q.variance
        return None if variance is None else variance.flatten(1)

    def mutual_information(self, inferred: Any) -> float | None:
        """I_q(x; z) in nats over the examples of `inferred`; None if there is no estimate."""
        return self.posterior.mutual_information(inferred.q) if isinstance(inferred, Inferred) else None

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`x: (B, *shape)` to the flat code or posterior mean, `(B, size)`."""
        return self.code(self.infer(x, condition))

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """`(count, size)` flat draws of the model's own prior, on the model's device.

        Args:
            count: number of draws.
            seed, temperature: see `Prior.sample`.
            condition: `(count,)` labels; None or -1 for no label.
        """
        embedded, group = self.embed(condition, self.offset.new_zeros(count)), self.latent.finest
        drawn = self.prior.sample(count, group.indices or group.shape, seed, temperature, embedded).to(self.device)
        return self.from_indices(drawn) if group.discrete else drawn.flatten(1)

    def indices(self, inferred: Any) -> Tensor:
        """For a discrete code: the indices of `code`, `(B, *indices)` int64."""
        found: Tensor = inferred.q.indices
        return found

    def from_indices(self, indices: Tensor) -> Tensor:
        """For a discrete code: `(N, *indices)` int64 to flat codes, `(N, size)`."""
        return self.posterior.from_indices(indices).flatten(1).to(self.dtype)

    # From z to x

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Flat codes `z: (B, size)` to the mean of x, `(B, *shape)` in the data's range.

        An autoregressive decoder takes the most likely value at each step (greedy decoding). For a piano roll, each
        frame has its most likely notes, as many as expected.
        """
        if self.autoregressive:
            return self.generated(z, self.likelihood.mode, condition)
        return self.likelihood.mean(self.raw(self.decoder_latent(z), None, condition))

    def reconstruct(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """The reconstruction that evaluation compares with `target: (B, *shape)`: the mean of x for `z: (B, size)`.

        An autoregressive decoder reads the true previous steps (teacher forcing).
        """
        return self.likelihood.mean(self.raw(self.decoder_latent(z), target, condition))

    def restore(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """The most likely original of a corrupted `x: (B, *shape)`, decoded from its code; the same shape.

        Of tokens, the masked ones are filled in from left to right, given the code and all tokens before.
        """
        z = self.encode(x, condition)
        if self.likelihood.spec.support != "categories":
            return self.decode(z, condition)
        if self.autoregressive:
            return self.generated(z, self.likelihood.mode, condition, known=x)
        return x.where(x != MASKED, self.decode(z, condition)[..., : x.shape[-1]])

    def log_likelihood(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(target|z) in nats for flat codes `z: (B, size)`, `(B,)`."""
        return self.likelihood.log_prob(self.raw(self.decoder_latent(z), target, condition), target)

    def value_log_likelihood(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p of each value of `target: (B, *shape)`, without missing values, in nats; the same shape."""
        return self.likelihood.value_log_prob(self.raw(self.decoder_latent(z), target, condition), target)

    def sample(self, z: Tensor, generator: torch.Generator | None = None, condition: Tensor | None = None) -> Tensor:
        """Flat codes `z: (B, size)` to a draw of p(x|z), `(B, *shape)`."""
        if self.autoregressive:
            return self.generated(z, lambda raw: self.likelihood.sample(raw, generator), condition)
        return self.likelihood.sample(self.raw(self.decoder_latent(z), None, condition), generator)

    def decoder_latent(self, code: Tensor) -> Tensor:
        """The decoder's input for flat codes `(B, size)`, `(B, *shape)`: the finest latent variable."""
        return self.latent.split(code)[-1]

    def generated(
        self, z: Tensor, choose: Callable[[Tensor], Tensor], condition: Tensor | None = None, **settings: Tensor
    ) -> Tensor:
        """Flat codes `z: (B, size)` to sequences, generated step by step; `choose` maps raw parameters to a step."""
        decoder: Any = self.decoder
        latent = self.decoder_latent(z)
        latent = appended(latent, self.embed(condition, latent)).to(self.dtype)
        return decoder.generate(latent, lambda raw: choose(at_least_single(raw) + self.offset), **settings)

    # For objectives

    def embed(self, condition: Tensor | None, like: Tensor) -> Tensor | None:
        """Embeddings `(B, E)` of labels `(B,)`, or of the null label; None for an unconditional model."""
        if self.condition is None:
            return None
        if condition is None:
            condition = torch.full((len(like),), -1, device=like.device)
        embedded: Tensor = self.condition(condition)
        return embedded

    def features(self, x: Tensor, embedded: Tensor | None) -> Tensor:
        """The encoder's output, in a precision that is sufficient for sums of nats."""
        given = () if embedded is None or not self._encodes_condition else (embedded,)
        features = at_least_single(self.encoder(self._cast(x), *given))
        return features if self.shortcut is None else at_least_single(self.shortcut.encoded(x, features))

    def raw(self, z: Tensor, given: Tensor | None, condition: Tensor | None = None) -> Tensor:
        """The decoder's output, in a precision that is sufficient for sums of nats; `given` is for teacher forcing.

        `z: (N, *shape)` from `decoder_latent` or `Draw.decoded`, `condition: (N,)` labels.
        """
        z = appended(z, self.embed(condition, z)).to(self.dtype)
        forced = (self._cast(given),) if self.autoregressive and given is not None else ()
        around = self.offset if self.shortcut is None else self.shortcut.raw(z, self.likelihood)
        return at_least_single(self.decoder(z, *forced)) + around

    def log_likelihood_of_draws(
        self, z: Tensor, target: Tensor, forced: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p(x|z) for `z: (B, S, *shape)`, in nats, `(B, S)`, and the raw parameters, `(B * S, P, *shape)`.

        `forced` is the input of an autoregressive decoder, see `teacher_forcing`.
        """
        samples = z.shape[1]
        if samples > 1:
            target, forced = (values.repeat_interleave(samples, dim=0) for values in (target, forced))
            condition = None if condition is None else condition.repeat_interleave(samples, dim=0)
        raw = self.raw(z.flatten(0, 1), forced, condition)
        return self.likelihood.log_prob(raw, target).view(-1, samples), raw

    def teacher_forcing(self, batch: Batch) -> Tensor:
        """The input of an autoregressive decoder: the target, with some tokens masked in training (word dropout)."""
        chance = self.decoder.word_dropout if isinstance(self.decoder, Decoder) else 0.0
        if not (self.training and chance):
            return batch.target
        hidden = batch.noise.uniform("word_dropout", batch.target.shape[1:], batch.target.device) < chance
        return batch.target.masked_fill(hidden & observed_mask(batch.target), MASKED)

    def _encode_unconditioned(self, x: Tensor) -> Any:
        """q(z|x) without a condition, for a prior that uses the encoder."""
        return self.posterior(self.features(x, self.embed(None, x)))

    def _cast(self, values: Tensor) -> Tensor:
        """Values in the dtype of the weights; tokens unchanged."""
        return values.to(self.dtype) if values.is_floating_point() else values


def drawn(streams: Streams, noise: Noise, device: torch.device) -> dict[str, Tensor]:
    """The noise of the given streams for a batch, `(B, ...)` each."""
    return {
        name: (noise.normal if kind == "normal" else noise.uniform)(name, shape, device)
        for name, (kind, shape) in streams.items()
    }


def at_least_single(values: Tensor) -> Tensor:
    """Half-precision outputs as float32; others unchanged."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
