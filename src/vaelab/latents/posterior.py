"""The interface of a posterior, and the simplest posterior: a point mass."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.spec import LatentGroup

NoiseKind = Literal["normal", "uniform"]
Scheduled = Mapping[str, float | Tensor]  # scheduled numbers, or the tensors that a compiled function gets for them


class Posterior(nn.Module, ABC):
    """q(z|x) of one latent variable, computed from the encoder's output.

    Attributes:
        noise: the noise of a draw, for each dimension of z: `normal`, `uniform`, or None.
        continuous_point: whether z is deterministic and continuous, so that it has no rate and no density.
        begins_with_mean: whether the encoder's output is the mean of z, followed by log-variances if it has more
            dimensions, so that a linear path can be added to it; see `vaelab.models.Shortcut`.
        normal: whether q(z|x) is a `DiagonalGaussian`.
        discrete: whether z takes finitely many values; see `vaelab.latents.quantizers`.
        grids: whether z may be a grid.
        start_examples: number of train examples that `start` needs.
        batch_terms: names of its penalties that are statistics of a whole batch; see `Model.batch_terms`.
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
        """Keep buffers in float32 or higher: in lower precision, moving averages and counts would stop changing."""
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
        """Set the latent variable, once; a posterior with weights or codebooks creates them here."""

    def start(self, codes: Tensor) -> None:
        """Initialise from encoder outputs for `start_examples` train examples, `(N, *code_shape)`, in a new run."""

    def code_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the encoder's output for z of this `shape`."""
        return shape

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the noise of one draw of z."""
        return shape

    @abstractmethod
    def forward(self, code: Tensor) -> Any:
        """The encoder's output `(B, *code_shape)` to q: a record with the fields and methods of `PointMass`."""

    @abstractmethod
    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """Draws of z and their rates.

        Args:
            q: from `forward`.
            p: from `Prior.distribution`.
            noise: `(B, S, *noise_shape)`; None if no noise is needed.
            samples: S.
            scheduled: the scheduled numbers of this step, in training. Empty in evaluation, where a draw does not
                depend on the step.
        """

    def batch_penalties(self, q: Any, weight: float) -> dict[str, Tensor]:
        """Terms that are statistics of a whole batch, `(B,)` each, by name, multiplied by their weights.

        Args:
            q: from `forward`.
            weight: `Batch.weight`, the argument of `gathered`.
        """
        return {}

    def scheduled(self, step: int) -> dict[str, float]:
        """Numbers that change over the steps, such as a temperature. `draw` uses them, and they are logged."""
        return {}

    def moves(self) -> dict[str, tuple[str, ...]]:
        """Which of `encoder` and `posterior` a term sends a gradient to, by the name of the term.

        Required for penalties of the posterior, and for other terms that train its weights.
        """
        return {}

    def from_indices(self, indices: Tensor) -> Tensor:
        """For a discrete code: `(N, *indices)` int64 to z, `(N, *shape)`."""
        raise TypeError(f"{type(self).__name__} has no indices")

    def statistics(self, q: Any) -> dict[str, Tensor]:
        """Sums over a training batch that are passed to `update`, by name."""
        return {}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Change the state of the posterior after an optimizer step."""

    def diagnostics(self) -> dict[str, float]:
        """Numbers about its state, for the log."""
        return {}

    def mutual_information(self, q: Any, seed: int = 0) -> float | None:
        """I_q(x; z) in nats over the examples of `q`; None if there is no estimate."""
        return None


class PointMass(NamedTuple):
    """q(z|x) concentrated on one point, `mean: (B, *shape)`."""

    mean: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: the code is deterministic."""
        return None


class Point(Posterior):
    """z is the encoder's output: the code of an autoencoder."""

    continuous_point = True
    normal = False
    begins_with_mean = True

    def forward(self, code: Tensor) -> PointMass:
        """See `Posterior.forward`."""
        return PointMass(code)

    def draw(self, q: PointMass, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """The point, `(B, 1, *shape)`, without a rate."""
        return GroupDraw(q.mean.unsqueeze(1))
