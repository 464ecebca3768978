"""AE and VAE as LightningModules, for a plain `Trainer` and a plain `LightningDataModule`."""

from collections.abc import Callable
from itertools import islice
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer

from vaelab import models
from vaelab.data.module import mean_of
from vaelab.data.plain_batches import examples_of
from vaelab.models import Model, Start
from vaelab.training.module import TrainingModule
from vaelab.training.phases import weights_of

SEEN = 5_000  # train examples from which a model is initialised


class LightningModel(TrainingModule):
    """A model that is trained by a plain Trainer.

    Args:
        arguments, settings: those of `objective_class`.
        optimizer: makes the optimizer of some weights; AdamW at 1e-3 if None.

    Attributes:
        objective_class: the class of the model.
    """

    objective_class: ClassVar[type[Model]]

    def __init__(
        self, *arguments: Any, optimizer: Callable[[list[Any]], Optimizer] | None = None, **settings: Any
    ) -> None:
        super().__init__(self.objective_class(*arguments, **settings))
        self._make_optimizer = optimizer

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The given optimizer, one for each phase."""
        if self._make_optimizer is None:
            return super().configure_optimizers()
        return [self._make_optimizer(weights_of(self.model, phase)) for phase in self.model.phases]

    def on_train_start(self) -> None:
        """Initialise an untrained model from the train split; see `Model.start`."""
        if self.step or bool(self.model.offset.any()):
            return
        spec, wanted = self.model.likelihood.spec, max(SEEN, self.model.start_examples)
        loader: Any = self.trainer.train_dataloader
        shown: list[Tensor] = []
        for batch in islice(loader, len(loader)):
            shown.append(examples_of(batch, spec)[0].cpu())
            if sum(map(len, shown)) >= wanted:
                break
        examples = torch.cat(shown)[:wanted]
        batches = len(loader) * self.trainer.world_size
        mean = self.trainer.strategy.broadcast(mean_of(examples[:SEEN], spec))
        shown_first = self.trainer.strategy.broadcast(examples[: self.model.start_examples])
        device = self.model.device
        self.model.start(Start(batches * len(shown[0]), mean.to(device), shown_first.to(device)))


class AE(LightningModel):
    """`vaelab.models.AE`, trained by a plain Trainer.

    from vaelab import AE
    Trainer(max_epochs=10).fit(AE(encoder, decoder, likelihood, 16), datamodule=...)
    """

    objective_class = models.AE


class VAE(LightningModel):
    """`vaelab.models.VAE`, trained by a plain Trainer.

    from vaelab import VAE
    Trainer(max_epochs=10).fit(VAE(encoder, decoder, likelihood, 16, beta=4.0), datamodule=...)
    """

    objective_class = models.VAE
