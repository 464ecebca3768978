"""Compiled functions of a model."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.core import Batch, Noise
from vaelab.errors import UserError
from vaelab.models import Model, Terms
from vaelab.terminal import console


class Compiled:
    """A function compiled by torch at its first call, for the shapes of that call.

    Args:
        function: a function of tensors only.
        what: its name in messages.
        mode: of `torch.compile`.
        required: whether a failed compilation ends the run. Otherwise a note is printed and the function runs
            uncompiled.
    """

    def __init__(self, function: Callable[..., Any], what: str, mode: str, required: bool) -> None:
        self._plain, self._what, self._required = function, what, required
        self._fast: Callable[..., Any] | None = torch.compile(function, mode=mode, dynamic=False)

    def __call__(self, *arguments: Any) -> Any:
        """The function's result, up to rounding."""
        if self._fast is None:
            return self._plain(*arguments)
        try:
            return self._fast(*arguments)
        except _compiler_errors() as error:
            self.give_up(" ".join(str(error).split("\n")[:2]).strip(), error)  # the compiler and its error
            return self._plain(*arguments)

    def give_up(self, reason: str, error: Exception | None = None) -> None:
        """Use the uncompiled function from now on.

        Raises:
            UserError: compilation is required.
        """
        message = f"{self._what} could not be compiled ({reason})"
        if self._required:
            raise UserError(f"{message}; compile=false runs without compilation") from error
        console(stderr=True).print(f"note: {message}; the run continues without compilation", soft_wrap=True)
        self._fast = None


class CompiledObjective:
    """`Model.terms`, compiled for the size of the first batch; batches of other sizes run uncompiled.

    Random number generators cannot be traced. The first batch records which noise the objective uses; from then on the
    noise is drawn before the call, with the same values. Scheduled numbers are inputs too, so that a new beta does not
    need a new compilation. An objective that reads the step would be compiled again at each step, so it is not
    compiled.
    """

    def __init__(self, model: Model, mode: str, required: bool) -> None:
        self._model = model
        self._shape: torch.Size | None = None
        self._streams: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._weights: dict[float, Tensor] = {}
        self._compiled = Compiled(self._terms, "the objective", mode, required)
        self._fits = True

    def __call__(self, batch: Batch) -> Terms:
        """The objective of each example."""
        if self._shape is None:
            self._shape = batch.x.shape
            return self._first(batch)
        if batch.x.shape != self._shape or not self._fits:
            return self._model.terms(batch)
        device = batch.x.device
        draws = {name: getattr(batch.noise, kind)(name, shape, device) for name, (kind, shape) in self._streams.items()}
        scheduled = {name: torch.tensor(value, device=device) for name, value in self._scheduled().items()}
        terms: Terms = self._compiled(*batch[:4], self._weight(batch), draws, scheduled)
        return terms

    def _first(self, batch: Batch) -> Terms:
        """Run uncompiled and record which noise and step the objective uses."""
        noise, scheduled = _Asked(batch.noise), self._scheduled()
        reads = self._model.step_reads
        terms = self._model.terms(batch._replace(noise=noise), scheduled)
        self._streams = noise.streams
        if self._model.step_reads > reads:
            self._fits = False
            self._compiled.give_up("it reads the step; what changes over the steps should come from scheduled()")
        return terms

    def _scheduled(self) -> dict[str, float]:
        return self._model.scheduled(self._model.step)

    def _weight(self, batch: Batch) -> Tensor:
        """The weight of this device's rows as an input, so that another weight needs no new compilation."""
        if batch.weight not in self._weights:
            self._weights[batch.weight] = torch.tensor(batch.weight, device=batch.x.device)
        return self._weights[batch.weight]

    def _terms(
        self,
        x: Tensor,
        target: Tensor,
        label: Tensor,
        clean: Tensor,
        weight: Any,
        draws: dict[str, Tensor],
        scheduled: dict[str, Tensor],
    ) -> Terms:
        return self._model.terms(Batch(x, target, label, clean, _Drawn(draws), weight), scheduled)


class CompiledWeights:
    """`Model.log_weights`, compiled for as many z as the first call has; other calls run uncompiled."""

    def __init__(self, model: Model, mode: str, required: bool) -> None:
        self._model = model
        self._shapes: list[torch.Size] | None = None
        self._compiled = Compiled(model.log_weights, "the importance weights", mode, required)

    def __call__(self, inferred: Any, noise: dict[str, Tensor], target: Tensor, condition: Tensor | None) -> Tensor:
        """log p(x, z) - log q(z|x), `(B, K)`."""
        shapes = [values.shape for values in (target, *noise.values())]
        if self._shapes is None:
            self._shapes = shapes
        weigh = self._compiled if shapes == self._shapes else self._model.log_weights
        weights: Tensor = weigh(inferred, noise, target, condition)
        return weights


def _compiler_errors() -> tuple[type[Exception], ...]:
    """Errors of tracing and compiling; importing them takes seconds, which most runs do not need."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    return TorchDynamoException, InductorError


class _Asked:
    """Passes noise on and records which streams were used."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self.streams: dict[str, tuple[str, tuple[int, ...]]] = {}

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        self.streams[stream] = ("normal", tuple(shape))
        return self._noise.normal(stream, shape, device)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        self.streams[stream] = ("uniform", tuple(shape))
        return self._noise.uniform(stream, shape, device)


class _Drawn:
    """Noise that was drawn before the call."""

    def __init__(self, draws: dict[str, Tensor]) -> None:
        self._draws = draws

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._draws[stream]

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._draws[stream]
