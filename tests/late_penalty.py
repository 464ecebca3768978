"""Models of a user's own whose penalty begins at the tenth step."""

from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from vaelab.core import Batch
from vaelab.models import AE, Terms
from vaelab.models.schedules import Scheduled

BEGINS = 10


class Late(AE):
    """The squared norm of the code, a penalty that is named from the first step and weighs nothing before the tenth."""

    def scheduled(self, step: int) -> dict[str, float]:
        return {"late_weight": 1e-3 * (step >= BEGINS)}

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        weight = (self.scheduled(self.step) if scheduled is None else scheduled)["late_weight"]
        return self._with(super().terms(batch, scheduled), weight * self.encode(batch.x).square().sum(1))

    def _with(self, terms: Terms, penalty: Tensor) -> Terms:
        return terms._replace(loss=terms.loss + penalty, penalties=dict(terms.penalties) | {"late": penalty})


class NamedLate(Late):
    """The same, named only where it weighs something, by a model that asks for the step itself."""

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        if self.step < BEGINS:
            return AE.terms(self, batch)
        return self._with(AE.terms(self, batch), 1e-3 * self.encode(batch.x).square().sum(1))


class StopAt(Callback):
    """As Ctrl-C after an optimizer step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


class Labelled(AE):
    """Penalties that say what is in the batch."""

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        terms: Any = super().terms(batch)
        label = batch.label.to(terms.loss.dtype)
        seen = {"label": label, "clean": batch.clean.flatten(1).sum(1), "weight": batch.weight + 0 * terms.loss}
        return terms._replace(penalties=dict(terms.penalties) | seen)
