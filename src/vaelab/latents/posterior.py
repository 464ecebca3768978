"""What a posterior is, and the simplest: a point."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.spec import LatentGroup

NoiseKind = Literal["normal", "uniform"]
Scheduled = Mapping[str, float | Tensor]  # numbers, or what a compiled function gets for them


class Posterior(nn.Module, ABC):
    """q(z|x) of one latent variable, made from the encoder's output.

    Attributes:
        noise: what a draw needs for each number of z: `normal` or `uniform` numbers, or nothing.
        continuous_point: whether z is a point in a continuous space, which has no rate and no density.
        begins_with_mean: whether the encoder gives the mean of z, then log-variances if there are more numbers, so that
            a linear path can be added to it; see `vaelab.models.Shortcut`.
        normal: whether q(z|x) is a `DiagonalGaussian`.
        discrete: whether z takes finitely many values; see `vaelab.latents.quantizers`.
        grids: whether z may be a grid.
        start_examples: how many train examples `start` wants to see.
        batch_terms: names of those of its penalties that are statistics of a whole batch; see `Model.batch_terms`.
    """

    noise: ClassVar[NoiseKind | None] = None
    continuous_point: ClassVar[bool] = False
    normal: ClassVar[bool] = True
    discrete: ClassVar[bool] = False
    begins_with_mean: ClassVar[bool] = False
    grids: ClassVar[bool] = True
    start_examples: int = 0
    batch_terms: frozenset[str] = frozenset()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Posterior":
        """Leave buffers in single precision at least: in less, a moving average or a count stands still."""
        own = {id(buffer) for buffer in self.buffers(recurse=False)}

        def moved(tensor: Tensor) -> Tensor:
            found = fn(tensor)
            narrower = found.dtype.itemsize < tensor.dtype.itemsize <= 4
            return tensor.to(found.device) if id(tensor) in own and narrower else found

        return super()._apply(moved, recurse)

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """The latent variable for z of this `shape`.

        Raises:
            ConfigError: z cannot have this shape.
        """
        return LatentGroup(shape)

    def bind(self, group: LatentGroup) -> None:
        """Take which variable it is for, once: a posterior with weights or codebooks makes them here."""

    def start(self, codes: Tensor) -> None:
        """Begin at what the encoder gives for `start_examples` train examples, `(N, *code_shape)`, in a new run."""

    def code_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What the encoder gives for z of this `shape`."""
        return shape

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the noise of one draw of z."""
        return shape

    @abstractmethod
    def forward(self, code: Tensor) -> Any:
        """The encoder's output `(B, *code_shape)` to q: a record with the fields and methods of `Point`."""

    @abstractmethod
    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """Draws of z and what they cost.

        Args:
            q: from `forward`.
            p: from `Prior.distribution`.
            noise: `(B, S, *noise_shape)`; None where none is needed.
            samples: S.
            scheduled: the numbers of `scheduled` at this step, in training. Empty in evaluation, where a draw does not
                depend on the step.
        """

    def batch_penalties(self, q: Any, weight: float) -> dict[str, Tensor]:
        """Terms that are statistics of a whole batch, `(B,)` each, by name, as they enter the loss.

        Args:
            q: from `forward`.
            weight: `Batch.weight`, which `gathered` takes.
        """
        return {}

    def scheduled(self, step: int) -> dict[str, float]:
        """Numbers that change over the steps, such as a temperature: `draw` takes them, and they are logged."""
        return {}

    def moves(self) -> dict[str, tuple[str, ...]]:
        """Which of `encoder` and `posterior` a term sends a gradient to, by the name of the term.

        To be said for penalties of the posterior, and for other terms that train weights of its own.
        """
        return {}

    def from_indices(self, indices: Tensor) -> Tensor:
        """Of a discrete code: `(N, *indices)` int64 to z, `(N, *shape)`."""
        raise TypeError(f"{type(self).__name__} has no indices")

    def statistics(self, q: Any) -> dict[str, Tensor]:
        """Sums over a training batch that `update` takes, by name."""
        return {}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Change the state of the posterior after an optimizer step."""

    def diagnostics(self) -> dict[str, float]:
        """Numbers of its state, for the log."""
        return {}

    def mutual_information(self, q: Any, seed: int = 0) -> float | None:
        """I_q(x; z) in nats over the examples of `q`; None where it has no estimate."""
        return None


class PointMass(NamedTuple):
    """q(z|x) that is one point, `mean: (B, *shape)`."""

    mean: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: a point has none."""
        return None


class Point(Posterior):
    """z is what the encoder gives: the code of an autoencoder."""

    continuous_point = True
    normal = False
    begins_with_mean = True

    def forward(self, code: Tensor) -> PointMass:
        """See `Posterior.forward`."""
        return PointMass(code)

    def draw(self, q: PointMass, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """The point, `(B, 1, *shape)`, without a rate."""
        return GroupDraw(q.mean.unsqueeze(1))
