"""Normalizing flows, built with zuko: as a prior, and on top of a normal posterior."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, MinLen
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.gaussian import DiagonalGaussian
from vaelab.latents.posterior import NoiseKind, Posterior, Scheduled
from vaelab.latents.prior import Prior, standard_normal_numbers
from vaelab.latents.spec import LatentGroup

MOST = 2**27  # weights of a flow at most
SPLINE = 23  # parameters of a spline with 8 bins
Widths = Annotated[list[Annotated[int, Gt(0)]], MinLen(1)]


def _zuko() -> Any:
    """The zuko package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import zuko
    except ModuleNotFoundError as error:
        raise ConfigError(f"flows need zuko ({error.name} is missing); pip install 'vaelab[flows]'") from error
    return zuko


def _built(build: Callable[[], nn.Module], inputs: int, hidden: Sequence[int], outputs: int, count: int) -> nn.Module:
    """A module built by `build`, on the default device of the moment.

    zuko reads tensor values while it builds, so the module is always built on the CPU first, even for an outline on the
    meta device. Its size is therefore checked before.

    Raises:
        ConfigError: it would have too many weights.
    """
    weights = count * sum(a * b for a, b in pairwise([inputs, *hidden, outputs]))
    if weights > MOST:
        raise ConfigError(f"hidden={list(hidden)}: gives a flow of {weights:,} weights; at most {MOST:,} are allowed")
    device = torch.get_default_device()
    with torch.device("cpu"):
        return build().to(device)


def _vector(group: LatentGroup, where: str) -> int:
    if group.discrete or len(group.shape) > 1:
        raise ConfigError(f"{where}=flow: needs a real vector; use latent=vector and no discrete posterior")
    return group.size


class _Flow(NamedTuple):
    """p(z) of a flow; `flow` is a zuko distribution."""

    flow: Any

    def log_prob(self, z: Tensor) -> Tensor:
        """`z: (B, S, D)` to `(B, S)` nats."""
        found: Tensor = self.flow.log_prob(z)
        return found

    def kl(self, q: Any) -> Tensor | None:
        """None: there is no closed form."""
        return None


class FlowPrior(Prior):
    """p(z) is N(0, I) transformed by a flow that is trained with the model (Papamakarios et al., 2017).

    Each of `transforms` transformations is autoregressive: from the dimensions before it, a masked network computes for
    each dimension of z a shift and a scale (`affine`), or a rational-quadratic spline (`spline`, Durkan et al., 2019).
    The density takes one pass of the network, a sample one pass for each dimension.

        python train.py data=mnist prior=flow prior.transforms=4

    Args:
        transforms: number of transformations.
        hidden: widths of their networks.
        kind: `affine` or `spline`.
    """

    grids = False

    def __init__(self, transforms: Annotated[int, Ge(1)], hidden: Widths, kind: Literal["affine", "spline"]) -> None:
        super().__init__()
        self.transforms, self.hidden, self.kind = transforms, tuple(hidden), kind
        _zuko()

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Build the transformations."""
        self.bind_group(group)

    def bind_group(self, group: LatentGroup) -> None:
        """Build the transformations for a code, without a model."""
        size = _vector(group, "prior")
        flow, each = (_zuko().flows.MAF, 2) if self.kind == "affine" else (_zuko().flows.NSF, SPLINE)
        self.flow = _built(
            lambda: flow(size, transforms=self.transforms, hidden_features=self.hidden),
            size, self.hidden, each * size, self.transforms,
        )  # fmt: skip

    def distribution(self, condition: Tensor | None = None) -> _Flow:
        """See `Prior.distribution`."""
        return _Flow(self.flow())

    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Prior.sample`; the temperature multiplies the base noise."""
        return self.transformed(temperature * standard_normal_numbers(count, shape, seed))

    def transformed(self, noise: Tensor) -> Tensor:
        """`(N, D)` standard normal noise to samples."""
        found: Tensor = self.flow().transform.inv(noise.to(next(self.parameters())))
        return found


class Flowed(NamedTuple):
    """q(z|x) for B examples: a normal base distribution, followed by transformations.

    Attributes:
        base: the base distribution, `(B, D)`.
        context: `(B, C)`, additional input of the transformations for each example.
        mean: `(B, D)`, the transformed mean of `base`, which is used as the code of the example.
    """

    base: DiagonalGaussian
    context: Tensor
    mean: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: there is no closed form."""
        return None


class FlowPosterior(Posterior):
    """q(z|x) is normal, followed by inverse autoregressive flows (Kingma et al., 2016, equations 10 and 11).

    The encoder gives a mean, a log-variance and `context` dimensions that all transformations read. A draw and its
    density take one pass through each transformation. The KL is estimated from the draws.

        python train.py data=mnist posterior=flow

    Args:
        transforms: number of transformations; each has the dimensions of z in the reverse order of the one before.
        hidden: widths of their networks.
        context: dimensions of the encoder's output that the transformations read.
    """

    noise: ClassVar[NoiseKind | None] = "normal"
    normal = False
    grids = False

    def __init__(self, transforms: Annotated[int, Ge(1)], hidden: Widths, context: Annotated[int, Ge(1)]) -> None:
        super().__init__()
        self.count, self.hidden, self.context = transforms, tuple(hidden), context
        _zuko()

    def bind(self, group: LatentGroup) -> None:
        """Build the transformations."""
        size = _vector(group, "posterior")
        of_zuko = _zuko().flows.autoregressive.MaskedAutoregressiveTransform

        def build() -> nn.Module:
            orders = [torch.arange(size), torch.arange(size).flip(0)]
            return nn.ModuleList(
                of_zuko(size, self.context, order=orders[number % 2], hidden_features=self.hidden)
                for number in range(self.count)
            )

        self.functions: Any = _built(build, size + self.context, self.hidden, 2 * size, self.count)

    def code_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Means, log-variances and the context."""
        if len(shape) > 1:
            raise ConfigError("posterior=flow: needs a real vector; use latent=vector")
        return (2 * shape[0] + self.context,)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """The encoder, and the weights of the transformations."""
        return {"reconstruction": ("posterior",), "kl": ("posterior",)}

    def forward(self, code: Tensor) -> Flowed:
        """See `Posterior.forward`."""
        numbers, context = code.split([code.shape[1] - self.context, self.context], dim=1)
        base = DiagonalGaussian.bounded(numbers, dim=1)
        mean, _ = self._through(base.mean.unsqueeze(1), context)
        return Flowed(base, context, mean.squeeze(1))

    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """See `Posterior.draw`; the rate is estimated."""
        assert noise is not None
        z, stretched = self._through(q.base.rsample(noise), q.context)
        log_q, log_p = q.base.log_prob_of_draw(noise) - stretched, p.log_prob(z)
        return GroupDraw(z, (log_q - log_p).mean(1), None, lambda: log_p, lambda: log_q)

    def _through(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """`z: (B, S, D)` through all transformations, and the log determinant of their Jacobian, `(B, S)`."""
        told = context.unsqueeze(1).expand(-1, z.shape[1], -1)
        stretched = z.new_zeros(z.shape[:2])
        for function in self.functions:
            z, more = function(told.to(z.dtype)).call_and_ladj(z)
            stretched = stretched + more
        return z, stretched
