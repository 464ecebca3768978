"""An exponential moving average of the weights of a model."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vaelab.models import Model
from vaelab.training.phases import weights_of

PART = "averaged_weights"  # of a checkpoint


@dataclass(frozen=True)
class Averaging:
    """How weights are averaged: the settings of `callbacks=ema`.

    Attributes:
        decay: of the average per optimizer step, once the average is old enough; see `kept`.
        start_step: the optimizer step after which the average begins. Until then it is the weights themselves.
        every_n_steps: optimizer steps between two updates of the average. An update uses the decay of all these steps.
    """

    decay: float
    start_step: int
    every_n_steps: int

    def kept(self, age: int, steps: int) -> float:
        """The part of an average that an update keeps.

        It is min(decay, (1 + age) / (10 + age)) ** steps. The first weights of a run are far from the last ones. So a
        young average forgets them quickly: with the decay alone, a run of 1,000 steps would keep .999 ** 1000 = 37 % of
        them.

        Args:
            age: of the average before the update, in optimizer steps.
            steps: since the update before.
        """
        return min(self.decay, (1 + age) / (10 + age)) ** steps

    def __str__(self) -> str:
        every = f", every {self.every_n_steps} steps" if self.every_n_steps > 1 else ""
        return f"decay {self.decay:g}{every}" + (f", from step {self.start_step}" if self.start_step else "")


class WeightAverage:
    """The average of the weights that the first phase of training moves, on their device, in float32 or better.

    The weights of later phases are not averaged. They belong to networks that only training needs, such as a
    discriminator, which judges the weights as they are. Buffers are not averaged either: some of them count, and others
    are averages already. Evaluation uses them as they are.

    Each device has the same weights after each step, so each computes the same average, and nothing is sent.

    Args:
        model: that is trained.
        averaging: how.
    """

    def __init__(self, model: Model, averaging: Averaging) -> None:
        self.averaging = averaging
        self._names, self._weights = _named(model)
        self._values: list[Tensor] = []  # beside `_weights`; empty before the average begins
        self._step = 0  # of the last update
        self._trained: list[Tensor] | None = None  # the weights that are trained, while the model has the average

    @property
    def begun(self) -> bool:
        """Whether the average is something else than the weights."""
        return bool(self._values)

    def update(self, step: int) -> None:
        """Count the weights after `step` optimizer steps, if it is time; a second call for a step does nothing.

        While the model has the average, nothing is counted.
        """
        if self._trained is not None or step < self.averaging.start_step:
            return
        if not self._values:
            self._step = step
            with torch.inference_mode(False), torch.no_grad():  # validation may be where it begins
                self._values = [_like(weight).copy_(weight) for weight in self._weights]
        elif step - self._step >= self.averaging.every_n_steps:
            age, since = self._step - self.averaging.start_step, step - self._step
            with torch.no_grad():
                now = [weight.to(value.dtype) for weight, value in zip(self._weights, self._values, strict=True)]
                torch._foreach_lerp_(self._values, now, 1 - self.averaging.kept(age, since))
            self._step = step

    @torch.no_grad()
    def put_in(self) -> None:
        """Give the model the average, until `take_out`."""
        if self._values and self._trained is None:
            self._trained = [weight.detach().clone() for weight in self._weights]
            torch._foreach_copy_(self._weights, self._values)

    @torch.no_grad()
    def take_out(self) -> None:
        """Give the model the weights that are trained, if it has the average."""
        if self._trained is not None:
            torch._foreach_copy_(self._weights, self._trained)
            self._trained = None

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Within it, the model has the average."""
        had = self._trained is not None
        self.put_in()
        try:
            yield
        finally:
            if not had:
                self.take_out()

    # Checkpoints

    def trained(self) -> dict[str, Tensor]:
        """The weights that are trained, by their names in the model, whatever the model has at the moment."""
        return self._by_name(self._weights if self._trained is None else self._trained)

    def state(self, step: int) -> dict[str, Any]:
        """What a checkpoint keeps after `step` optimizer steps: plain data, and the average by names of weights."""
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
        """Follow the weights to the device where they are now."""
        self._values = [
            value.to(weight.device) for value, weight in zip(self._values, self._weights, strict=bool(self._values))
        ]

    def _by_name(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        return {name: values[place].detach() for name, place in self._names.items()}


def averaged_names(model: Model) -> set[str]:
    """The names of all weights that an average of a model has."""
    return set(_named(model)[0])


def in_evaluation(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights with which the model of a checkpoint is evaluated: averaged ones where there are such."""
    averaged: dict[str, Tensor] = checkpoint.get(PART, {}).get("weights", {})
    return {**checkpoint["state_dict"], **averaged}


def _named(model: Model) -> tuple[dict[str, int], list[Tensor]]:
    """The weights to be averaged, each once, and where each name finds its own: a weight may have several names."""
    weights: list[Tensor] = [*weights_of(model, model.phases[0])]
    places = {id(weight): place for place, weight in enumerate(weights)}
    named = model.named_parameters(remove_duplicate=False)
    return {name: places[id(weight)] for name, weight in named if id(weight) in places}, weights


def _like(weight: Tensor) -> Tensor:
    """Memory for the average of a weight, laid out as the weight is: that of a half-precision weight has float32."""
    return torch.empty_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32), requires_grad=False)
