"""The LightningModule that AE and VAE share."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import lightning.pytorch as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from vaelab.data import Batch
from vaelab.data.spec import MASKED, observed_mask
from vaelab.likelihoods import Likelihood
from vaelab.models.loss import LossTerms, Prediction
from vaelab.models.schedules import Scheduled
from vaelab.training.meter import TermMeter
from vaelab.training.optimization import Optimization


class Model(L.LightningModule):
    """An objective over an encoder, a decoder and a likelihood. It draws nothing and knows no task.

    A subclass says how many numbers its encoder gives (`code_size`), what its loss is (`terms`) and
    what it makes of a batch in evaluation (`predict`).
    """

    monitor: ClassVar[tuple[str, str]]  # what the best checkpoint watches unless the task says, and its direction

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, latent_dim: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.latent_dim = latent_dim
        self.offset: Tensor
        self.register_buffer("offset", torch.zeros(likelihood.offset_shape))
        self.optimization: Optimization | None = None  # set by the run
        self.objective: Callable[[Batch], LossTerms] | None = None  # `terms` in a faster form, where there is one
        self.architecture: dict[str, Any] = {}  # plain data, set by the run, kept in checkpoints
        self._meter, self._eval_meter = TermMeter(), TermMeter("val")

    @staticmethod
    @abstractmethod
    def code_size(latent_dim: int) -> int:
        """Numbers that the encoder gives for one example."""

    @abstractmethod
    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> LossTerms:
        """The objective of each example; fresh noise comes from the batch.

        Args:
            batch: see `Batch`.
            scheduled: the scheduled numbers; those of the current step if None.
        """

    @abstractmethod
    def predict(self, batch: Batch) -> Prediction:
        """Terms, code and reconstruction, without drawing anything that is not tied to the example."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """`x: (B, *shape)` to the code or posterior mean, `(B, latent_dim)`."""

    def start_at(self, mean: Tensor) -> None:
        """Let an untrained decoder give about the data's `mean: (*shape)`, which it then need not learn first.

        Burda et al. (2016) do so with the last bias of their decoder. From zero, the first steps carry one
        large gradient, the same for all examples, through every layer, and latent dimensions die of it.
        """
        self.offset.copy_(self.likelihood.raw_at(mean))

    def decode(self, z: Tensor) -> Tensor:
        """`z: (B, latent_dim)` to the mean of x, `(B, *shape)` in the data's range.

        A decoder that predicts step by step gives the sequence whose every step is the likeliest given those
        before it.
        """
        if self.autoregressive:
            return self._generated(z, self.likelihood.mode)
        return self.likelihood.mean(self._decoded(z, None))

    def reconstruct(self, z: Tensor, target: Tensor) -> Tensor:
        """What evaluation compares with `target: (B, *shape)`: the mean of x.

        A decoder that predicts step by step reads the true steps before each (teacher forcing).
        """
        return self.likelihood.mean(self._decoded(z, target))

    def restore(self, x: Tensor) -> Tensor:
        """The likeliest original of a corrupted `x: (B, *shape)`, from its code; the same shape.

        Of tokens those that are masked are chosen, one after the other, given the code and all before them.
        """
        z = self.encode(x)
        if self.likelihood.spec.support != "categories":
            return self.decode(z)
        if self.autoregressive:
            return self._generated(z, self.likelihood.mode, known=x)
        return x.where(x != MASKED, self.decode(z)[..., : x.shape[-1]])

    def log_likelihood(self, z: Tensor, target: Tensor) -> Tensor:
        """log p(target|z) in nats for `z: (B, latent_dim)`, `(B,)`."""
        return self.likelihood.log_prob(self._decoded(z, target), target)

    def value_log_likelihood(self, z: Tensor, target: Tensor) -> Tensor:
        """log p of each value of `target: (B, *shape)`, none missing, in nats; the same shape."""
        return self.likelihood.value_log_prob(self._decoded(z, target), target)

    def sample(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`z: (B, latent_dim)` to a draw of p(x|z), `(B, *shape)`."""
        if self.autoregressive:
            return self._generated(z, lambda raw: self.likelihood.sample(raw, generator))
        return self.likelihood.sample(self._decoded(z, None), generator)

    @property
    def autoregressive(self) -> bool:
        """Whether the decoder predicts each step from those before it."""
        return bool(getattr(self.decoder, "autoregressive", False))

    def _generated(self, z: Tensor, choose: Callable[[Tensor], Tensor], **settings: Tensor) -> Tensor:
        decoder: Any = self.decoder
        return decoder.generate(z.to(self.dtype), lambda raw: choose(at_least_single(raw) + self.offset), **settings)

    def _encoded(self, x: Tensor) -> Tensor:
        """The encoder's output, in a precision that nats can be summed in."""
        return at_least_single(self.encoder(self._cast(x)))

    def _decoded(self, z: Tensor, given: Tensor | None) -> Tensor:
        """The decoder's output, in a precision that nats can be summed in; `given` is read by teacher forcing."""
        forced = (self._cast(given),) if self.autoregressive and given is not None else ()
        return at_least_single(self.decoder(z.to(self.dtype), *forced)) + self.offset

    def _cast(self, values: Tensor) -> Tensor:
        """Numbers in the precision of the weights; tokens as they are."""
        return values.to(self.dtype) if values.is_floating_point() else values

    def _teacher_forcing(self, batch: Batch) -> Tensor:
        """What an autoregressive decoder reads before each step: the target, in training with some tokens masked."""
        chance = getattr(self.decoder, "word_dropout", 0.0)
        if not (self.training and chance):
            return batch.target
        hidden = batch.noise.uniform("word_dropout", batch.target.shape[1:], batch.target.device) < chance
        return batch.target.masked_fill(hidden & observed_mask(batch.target), MASKED)

    @property
    def takes_gradients(self) -> bool:
        """Whether a term of the objective is itself a gradient."""
        return False

    def scheduled(self) -> dict[str, float]:
        """Scheduled numbers at the current step, for the log."""
        return {}

    @property
    def step(self) -> int:
        """Optimizer steps taken; 0 without a trainer."""
        return self._trainer.global_step if self._trainer is not None else 0

    def forward(self, batch: Batch) -> LossTerms:
        """The objective of each example."""
        return self.terms(batch)

    # Lightning's hooks

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Built from plain data, so that nothing but numbers reaches a checkpoint."""
        if self.optimization is None:
            raise RuntimeError("set Model.optimization before training")
        return self.optimization.configure(self, int(self.trainer.estimated_stepping_batches))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss over the whole batch, this device's share of it."""
        terms = (self.objective or self.terms)(batch)
        self._meter.add(terms.named(), self.step, counts=batch.weight > 0)
        if (batch_idx + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            means = self._meter.window(self.trainer.strategy) | self.scheduled()
            for logger in self.loggers:
                logger.log_metrics({f"train/{name}_step": value for name, value in means.items()}, self.step)
        loss = terms.loss.mean()
        return loss if batch.weight == 1 else loss * batch.weight

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means; `self.log` would cost an epoch of small data some percent of its time."""
        means = self._meter.epoch(self.trainer.strategy)
        named = {f"train/{name}": value for name, value in (means | self.scheduled()).items()}
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in named.items()})
        for logger in self.loggers:
            logger.log_metrics(named | {"epoch": self.current_epoch}, self.step - 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> Prediction:  # type: ignore[override]
        """Evaluate a batch; the task measures what is returned."""
        return self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Prediction:  # type: ignore[override]
        """Evaluate a batch; the task measures what is returned."""
        return self._evaluate(batch)

    def _evaluate(self, batch: Batch) -> Prediction:
        prediction = self.predict(batch)
        self._eval_meter.add(prediction.terms.named(), self.step)
        return prediction

    def on_validation_epoch_start(self) -> None:
        """Count from nothing; a training loss that is no number stops the run here, before any checkpoint."""
        self._meter.window(self.trainer.strategy)
        self._eval_meter = TermMeter("val")

    def on_test_epoch_start(self) -> None:
        """Count from nothing."""
        self._eval_meter = TermMeter("test")

    def on_validation_epoch_end(self) -> None:
        """Log means over the split."""
        self._log_split("val")

    def on_test_epoch_end(self) -> None:
        """Log means over the split."""
        self._log_split("test")

    def _log_split(self, stage: str) -> None:
        means = self._eval_meter.epoch(self.trainer.strategy)
        self.log_dict({f"{stage}/{name}": value for name, value in means.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the architecture; refuse to write weights that are no numbers over good ones."""
        self._meter.check_weights(self.state_dict(), self.step)
        checkpoint["architecture"] = self.architecture
        checkpoint["train_terms"] = self._meter.state(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the means of an interrupted epoch."""
        if "train_terms" in checkpoint:  # a checkpoint may have been stripped to what inference needs
            self._meter.load_state(checkpoint["train_terms"], self.trainer.strategy)


def at_least_single(values: Tensor) -> Tensor:
    """Half-precision outputs of layers as float32; any other as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
