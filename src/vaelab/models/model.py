"""The objective that all models share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelab.core.batch import Batch
from vaelab.core.noise import Noise
from vaelab.latents import Draw, LatentSpec, Posterior, Prior
from vaelab.latents.draw import NONE
from vaelab.latents.fitted import FittedPrior, log_prob_given
from vaelab.likelihoods import Likelihood
from vaelab.models.adversary import Adversary, adaptive_weight
from vaelab.models.coder import Coder, Condition, Inferred, drawn
from vaelab.models.perceptual import Perceptual
from vaelab.models.phases import ADVERSARY, MAIN, Phase
from vaelab.models.schedules import Scheduled
from vaelab.models.shortcut import shrink_last_layer
from vaelab.models.terms import Prediction, Start, Terms


class Model(Coder, ABC):
    """The base class of all models: an objective on top of the parts of a `Coder`, a plain module.

    A subclass defines its loss (`terms`), or adds named terms to the loss of its parent (`penalties`).

    Args: see `Coder`.

    Attributes:
        monitor: the metric that selects the best checkpoint unless the task names one, and its direction.
        grids, vectors: whether codes may be grids, and whether they may be vectors.
        takes: which of `posterior` and `prior` the user can choose; the others are fixed by the model.
        extra_phases: updates on each batch after that of the first phase.
        inference: names of the modules that compute z from x; the gradient of a reconstruction reaches them.
        infers_label: whether the label is a variable of the model, observed for some training examples and inferred by
            q(y|x) for the others.
        labelled_share: see `DataModule.labelled_share`.
        batch_terms: names of terms that are statistics of a whole batch. They need the batch of all devices
            (`gathered`) and do not support gradient accumulation, since the statistic of a part of a batch differs.
        step: number of optimizer steps taken, set by the trainer.
        adversary: distinguishes reconstructions from data, trained in its own phase; set when the model is built.
        perceptual: a perceptual term for training; set by the run.
        fitted: a prior fitted to the codes of the trained model; see `vaelab.latents.fitted`.
        architecture: the plain data that the model was built from, kept in checkpoints.
    """

    monitor: ClassVar[tuple[str, str]]
    takes: ClassVar[frozenset[str]] = frozenset()
    grids: ClassVar[bool] = True
    vectors: ClassVar[bool] = True
    extra_phases: tuple[Phase, ...] = ()
    inference: ClassVar[tuple[str, ...]] = ("encoder", "posterior")
    infers_label: ClassVar[bool] = False
    labelled_share: ClassVar[float] = 0.0
    batch_terms: frozenset[str] = frozenset()

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
        super().__init__(
            encoder, decoder, likelihood, latent, posterior, prior, condition, condition_size, condition_dropout
        )
        if self.posterior.batch_terms:
            self.batch_terms = self.batch_terms | self.posterior.batch_terms
        self.architecture: dict[str, Any] = {}
        self.weigh: Callable[..., Tensor] | None = None  # a compiled `log_weights`, if there is one
        self._step = self.step_reads = 0
        self.fitted: FittedPrior | None = None
        self.adversary: Adversary | None = None
        self.perceptual: Perceptual | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Updates on each batch, in order; most models have one."""
        adversary = () if self.adversary is None else (Phase(ADVERSARY, ("adversary",), self.adversary.begins),)
        return (Phase(MAIN), *self.extra_phases, *adversary)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """The modules that each term trains in its phase, by name of the term; empty for a term without a gradient.

        All logged terms are listed except `loss` and `elbo`, which are sums of others, and `<phase>_loss` of every
        phase but the first.
        """
        shown = (*self.inference, "shortcut", "decoder", "condition")
        moved = {"reconstruction": (*shown, "likelihood")} | self.rate_moves()
        for term, names in self.posterior.moves().items():
            of_model = [self.inferring() if name == "encoder" else (name,) for name in names]
            moved[term] = (*moved.get(term, ()), *(name for some in of_model for name in some))
        if self.perceptual is not None:
            moved["perceptual"] = shown
        if self.adversary is not None:
            moved |= {"adversarial": shown, "adversarial_weight": (), f"{ADVERSARY}_loss": ("adversary",)}
        return {term: self._parts(*dict.fromkeys(names)) for term, names in moved.items()}

    def rate_moves(self) -> dict[str, tuple[str, ...]]:
        """The modules that the KL trains; empty if the loss has no KL."""
        return {}

    def inferring(self) -> tuple[str, ...]:
        """The modules that compute q(z|x); they include the condition if the encoder reads it."""
        return self._parts(*self.inference, "shortcut", *(("condition",) if self._encodes_condition else ()))

    def _parts(self, *names: str) -> tuple[str, ...]:
        """Those of the named modules that have weights."""
        modules = dict(self.named_children())
        return tuple(name for name in names if name in modules and any(True for _ in modules[name].parameters()))

    @property
    def pace(self) -> float:
        """A factor of the learning rate of all phases."""
        return 1.0 if self.shortcut is None else self.shortcut.pace

    @property
    def takes_gradients(self) -> bool:
        """Whether a term of the objective contains a gradient."""
        return False

    @property
    def step(self) -> int:
        """Number of optimizer steps taken, set by the trainer; schedules are functions of it."""
        self.step_reads += 1
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step

    def scheduled(self, step: int) -> dict[str, float]:
        """The scheduled numbers at a step, for the loss and for the log."""
        return self.posterior.scheduled(step)

    def scheduled_now(self) -> Scheduled:
        """The scheduled numbers at the current step, which is read only if anything is scheduled."""
        return self.scheduled(self.step) if self.scheduled(0) else {}

    def diagnostics(self) -> dict[str, float]:
        """Numbers about the model's state that are logged and not part of a loss, such as a codebook's perplexity."""
        return self.posterior.diagnostics()

    def remedies(self) -> list[str]:
        """Overrides to try if the code is hardly used, the most promising first."""
        return []

    # Before and between steps

    @property
    def start_examples(self) -> int:
        """Number of train examples that `start` needs."""
        shortcut = 0 if self.shortcut is None else self.shortcut.examples
        return max(self.prior.start_examples, self.posterior.start_examples, shortcut)

    def start(self, start: Start) -> None:
        """Initialise the output of an untrained decoder near the mean of the data, which it then need not learn.

        Burda et al. (2016) initialise the last bias of their decoder in this way. Without it, the first steps have a
        large gradient, the same for all examples, in every layer, and latent dimensions become inactive.
        """
        self.offset.copy_(self.likelihood.raw_at(start.mean))
        if self.shortcut is not None:
            self.likelihood.start(self.shortcut.start(start.examples, self.posterior.continuous_point))
            for network in (self.encoder, self.decoder):
                shrink_last_layer(network)
        if self.posterior.start_examples:
            examples = start.examples[: self.posterior.start_examples]
            with torch.no_grad():
                self.posterior.start(self.features(examples, self.embed(None, examples)))
        if self.prior.start_examples:
            self.prior.start(start.examples[: self.prior.start_examples])

    def count_labels(self, examples: int, labelled: int, repeats: int) -> None:
        """Set the number of labelled train examples; called in every run, also in a resumed one.

        Args:
            examples: number of train examples.
            labelled: number of those with a label.
            repeats: how often each labelled example occurs in an epoch; all others occur once.
        """

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Change the model's state after an optimizer step, from the statistics of its batches on all devices."""
        self.posterior.update(statistics)

    # The objective

    @abstractmethod
    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """The objective of each example; noise comes from the batch.

        Args:
            batch: see `Batch`.
            scheduled: the scheduled numbers; those of the current step if None.
        """

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """Named terms of the loss in addition to reconstruction and KL, `(B,)` each, multiplied by their weights.

        A subclass returns `super().penalties(...) | {"name": value}`, and lists in `moves` what they train. All terms
        are returned at each step; a term that is not in use is 0.

        Args:
            batch: see `Batch`.
            inferred: from `infer`.
            draw: from `draw_from`; for an autoencoder its code.
            scheduled: see `terms`.
        """
        of_batch = self.posterior.batch_penalties(inferred.q, batch.weight) if isinstance(inferred, Inferred) else {}
        return draw.penalties | of_batch

    def statistics(self, inferred: Any) -> Mapping[str, Tensor]:
        """Sums over a training batch that are passed to `update`, by name."""
        return self.posterior.statistics(inferred.q) if isinstance(inferred, Inferred) else NONE

    def phase_terms(self, phase: str, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """The objective of one phase in training. That of the first is `terms`, plus perceptual and adversarial terms.

        A model with `extra_phases` overrides this for its phases, with `Terms.loss_alone`, and calls it for others.
        """
        if phase == MAIN:
            terms = self.terms(batch, scheduled)
            if self.perceptual is not None:
                terms = self._perceived(terms, batch, self.perceptual)
            return terms if self.adversary is None else self._deceiving(terms, batch, self.adversary)
        if phase == ADVERSARY and self.adversary is not None:
            with torch.no_grad():
                terms = self.terms(batch, scheduled)
                reconstruction = self.likelihood.mean(self._output(terms, batch))
            loss = terms.weighed(self.adversary.loss(batch.target, reconstruction))
            return Terms(loss, terms.log_likelihood, None)
        raise NotImplementedError(f"{type(self).__name__} has no objective for the phase {phase}")

    @property
    def keeps_output(self) -> bool:
        """Whether `terms` keep the raw parameters of a reconstruction, for terms that need it."""
        return self.adversary is not None or self.perceptual is not None

    def _perceived(self, terms: Terms, batch: Batch, perceptual: Perceptual) -> Terms:
        """The terms with the perceptual term added."""
        each = terms.weighed(perceptual.term(self.likelihood.mean(self._output(terms, batch)), batch))
        return terms._replace(loss=terms.loss + each, penalties=dict(terms.penalties) | {"perceptual": each})

    def _deceiving(self, terms: Terms, batch: Batch, adversary: Adversary) -> Terms:
        """The terms with the adversarial term added, weighted by the gradient of the reconstruction."""
        if self.step < adversary.begins:
            zero = torch.zeros_like(terms.loss)
            return terms._replace(penalties=dict(terms.penalties) | {"adversarial": zero, "adversarial_weight": zero})
        each = terms.weighed(adversary.deceived(self.likelihood.mean(self._output(terms, batch))))
        share = batch.weight  # of this device's rows: makes the mean over devices that of the whole batch
        likelihood, deceived = -terms.weighed(terms.log_likelihood).mean() * share, each.mean() * share
        weight = adversary.weight * adaptive_weight(likelihood, deceived, self.last_layer())
        shown = {"adversarial": weight * each, "adversarial_weight": weight.expand_as(each)}
        return terms._replace(loss=terms.loss + weight * each, penalties=dict(terms.penalties) | shown)

    def _output(self, terms: Terms, batch: Batch) -> Tensor:
        """Raw parameters of a reconstruction, `(B, P, *shape)`: of the draw kept in the terms, if there is one."""
        if terms.output is not None:
            return terms.output
        condition = self.condition_of(batch)
        return self.raw(self.decoder_latent(self.encode(batch.x, condition)), batch.target, condition)

    def last_layer(self) -> nn.Parameter:
        """The weights of the decoder's last layer."""
        return [weight for weight in self.decoder.parameters() if weight.dim() > 1][-1]

    def forward(self, batch: Batch) -> Terms:
        """The objective of each example."""
        return self.terms(batch)

    # Measurements

    def predict(self, batch: Batch, scheduled: Scheduled | None = None) -> Prediction:
        """Terms, code and reconstruction, with the fixed noise of each example only."""
        condition = self.condition_of(batch)
        terms = self.terms(batch, scheduled)
        code = self.encode(batch.x, condition)
        return Prediction(terms, code, self.reconstruct(code, batch.target, condition))

    def class_probabilities(self, x: Tensor) -> Tensor:
        """q(y|x) of a model that infers labels, for `x: (B, *shape)`; `(B, K)`."""
        raise TypeError(f"{type(self).__name__} infers no labels")

    def log_weights(
        self, inferred: Any, noise: Mapping[str, Tensor], target: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """log p(x, z) - log q(z|x) for the draws given by `noise`, in nats, `(B, S)`."""
        draw = self.draw_from(inferred, noise, condition)
        ratio = draw.log_ratio
        if ratio is None:
            raise TypeError(f"{type(self).__name__} has no bound on log p(x): its code has no distribution")
        return self.log_likelihood_of_draws(draw.decoded, target, target, condition)[0] + ratio

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
            raise TypeError(f"{type(self).__name__} has no bound on log p(x): its code has no distribution")
        if prior.discrete:
            indices = draw.groups[-1].indices
            assert indices is not None
            codes = indices.flatten(0, 1).flatten(1)
        else:
            codes = self.latent.flat([group.z.flatten(0, 1) for group in draw.groups])
        label = None if condition is None else condition.repeat_interleave(log_q.shape[1])
        log_p = log_prob_given(prior, codes, label).view(log_q.shape)
        each, _ = self.log_likelihood_of_draws(draw.decoded, target, target, condition)
        return each + log_p - log_q

    def log_evidence(
        self,
        batch: Batch,
        samples: int,
        noise: Noise | None = None,
        chunk: int = 2_048,
        prior: FittedPrior | None = None,
    ) -> Tensor:
        """The importance-weighted bound on log p(x) (Burda et al., 2016, equation 8), in nats, `(B,)`.

        It is a lower bound whose expectation does not decrease with `samples`. For a deterministic code one draw is
        used.

        Args:
            batch: `x` is the posterior's input, `target` is the x of log p(x).
            samples: K, draws for each example.
            noise: noise of the draws; the batch's own if None.
            chunk: number of z decoded at a time; changes memory and time, not the result.
            prior: a fitted prior in place of the model's own.
        """
        condition = self.condition_of(batch)
        inferred = self.infer(batch.x, condition)
        draws = drawn(self.streams(samples, "evidence"), noise or batch.noise, batch.x.device)
        step = max(1, chunk // max(1, len(batch.x)))
        weigh = (self.weigh or self.log_weights) if prior is None else partial(self.fitted_log_weights, prior)
        log_weights = [weigh(inferred, part, batch.target, condition) for part in _chunks(draws, step)]
        counted = torch.cat(log_weights, dim=1)
        return torch.logsumexp(counted, dim=1) - log(counted.shape[1])


def _chunks(draws: dict[str, Tensor], size: int) -> Iterator[dict[str, Tensor]]:
    """At most `size` of S draws at a time, `(B, size, ...)` each; a single empty chunk if there is no noise."""
    if not draws:
        yield {}
        return
    for parts in zip(*(values.split(size, dim=1) for values in draws.values()), strict=True):
        yield dict(zip(draws, parts, strict=True))
