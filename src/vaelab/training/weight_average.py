"""An exponential moving average of the weights of a model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vaelab.models import Model
from vaelab.training.phases import weights_of

PART = "averaged_weights"  # key in a checkpoint


@dataclass(frozen=True)
class Averaging:
    """The settings of `callbacks=ema`.

    Attributes:
        decay: of the average per optimizer step, once the average is old enough; see `kept`.
        start_step: the optimizer step after which the average begins. Until then it equals the weights.
        every_n_steps: optimizer steps between two updates of the average. An update uses the decay of all these steps.
    """

    decay: float
    start_step: int
    every_n_steps: int

    def kept(self, age: int, steps: int) -> float:
        """The share of the average that an update keeps.

        It is min(decay, (1 + age) / (10 + age)) ** steps. The first weights of a run are far from the last ones, so a
        young average forgets them quickly. With the decay alone, a run of 1,000 steps would keep .999 ** 1000 = 37 % of
        them.

        Args:
            age: of the average before the update, in optimizer steps.
            steps: optimizer steps since the previous update.
        """
        return min(self.decay, (1 + age) / (10 + age)) ** steps

    def __str__(self) -> str:
        every = f", every {self.every_n_steps} steps" if self.every_n_steps > 1 else ""
        return f"decay {self.decay:g}{every}" + (f", from step {self.start_step}" if self.start_step else "")


class WeightAverage:
    """The average of the weights that the first phase of training updates, on their device, in float32 or higher.

    Weights of later phases are not averaged. They belong to networks that are used only in training, such as a
    discriminator, and judge the current weights. Buffers are not averaged either: some are counts, and others are
    averages already. Evaluation uses them unchanged.

    All devices have the same weights after each step, so each computes the same average without communication.

    Args:
        model: the trained model.
        averaging: the settings.
    """

    def __init__(self, model: Model, averaging: Averaging) -> None:
        self.averaging = averaging
        self._names, self._weights = _named(model)
        self._values: list[Tensor] = []  # parallel to `_weights`; empty before the average begins
        self._step = 0  # of the last update
        self._trained: list[Tensor] | None = None  # the trained weights, while the model has the average

    @property
    def begun(self) -> bool:
        """Whether the average differs from the weights."""
        return bool(self._values)

    def update(self, step: int) -> None:
        """Update the average after `step` optimizer steps, if it is due; a second call for a step does nothing.

        While the model has the average, nothing is updated.
        """
        if self._trained is not None or step < self.averaging.start_step:
            return
        if not self._values:
            self._step = step
            with torch.inference_mode(False), torch.no_grad():  # the first update may be within a validation
                self._values = [_like(weight).copy_(weight) for weight in self._weights]
        elif step - self._step >= self.averaging.every_n_steps:
            age, since = self._step - self.averaging.start_step, step - self._step
            with torch.no_grad():
                now = [weight.to(value.dtype) for weight, value in zip(self._weights, self._values, strict=True)]
                torch._foreach_lerp_(self._values, now, 1 - self.averaging.kept(age, since))
            self._step = step

    @torch.no_grad()
    def put_in(self) -> None:
        """Load the average into the model, until `take_out`."""
        if self._values and self._trained is None:
            self._trained = [weight.detach().clone() for weight in self._weights]
            torch._foreach_copy_(self._weights, self._values)

    @torch.no_grad()
    def take_out(self) -> None:
        """Load the trained weights into the model, if it has the average."""
        if self._trained is not None:
            torch._foreach_copy_(self._weights, self._trained)
            self._trained = None

    @contextmanager
    def inside(self) -> Iterator[None]:
        """A context in which the model has the average."""
        had = self._trained is not None
        self.put_in()
        try:
            yield
        finally:
            if not had:
                self.take_out()

    # Checkpoints

    def trained(self) -> dict[str, Tensor]:
        """The trained weights by their names in the model, whether or not the model has the average."""
        return self._by_name(self._weights if self._trained is None else self._trained)

    def state(self, step: int) -> dict[str, Any]:
        """The state after `step` optimizer steps for a checkpoint: plain data, and the average by names of weights."""
        values, last = (self._values, self._step) if self._values else (self._weights, step)
        return {"weights": self._by_name(values), "step": last} | asdict(self.averaging)

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with an average that `state` gave."""
        self._step, self._values, self._trained = state["step"], [], None
        if self._step >= self.averaging.start_step:
            self._values = [_like(weight) for weight in self._weights]
            for name, place in self._names.items():
                self._values[place].copy_(state["weights"][name])

    def to_device(self) -> None:
        """Move the average to the device of the weights."""
        self._values = [
            value.to(weight.device) for value, weight in zip(self._values, self._weights, strict=bool(self._values))
        ]

    def _by_name(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        return {name: values[place].detach() for name, place in self._names.items()}


def averaged_names(model: Model) -> set[str]:
    """The names of all weights in an average of a model."""
    return set(_named(model)[0])


def in_evaluation(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights for evaluation in a checkpoint: the averaged ones if there are any."""
    averaged: dict[str, Tensor] = checkpoint.get(PART, {}).get("weights", {})
    return {**checkpoint["state_dict"], **averaged}


def _named(model: Model) -> tuple[dict[str, int], list[Tensor]]:
    """The weights to average, each once, and the index of each name's weight: a weight may have several names."""
    weights: list[Tensor] = [*weights_of(model, model.phases[0])]
    places = {id(weight): place for place, weight in enumerate(weights)}
    named = model.named_parameters(remove_duplicate=False)
    return {name: places[id(weight)] for name, weight in named if id(weight) in places}, weights


def _like(weight: Tensor) -> Tensor:
    """Memory for the average of a weight, with its layout; float32 for a half-precision weight."""
    return torch.empty_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32), requires_grad=False)
