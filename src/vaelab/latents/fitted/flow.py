"""A normalizing flow fitted to codes."""

from collections.abc import Mapping
from math import cos, pi
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents.fitted.fitted_prior import Codes, FittedPrior
from vaelab.latents.flows import FlowPrior, Widths
from vaelab.latents.prior import standard_normal_numbers
from vaelab.latents.spec import LatentGroup, LatentSpec

CHUNK = 4_096
CHECKS = 20  # evaluations of the validation codes in a fit
LARGEST_STEP = 5.0  # norm that a gradient is clipped to
MOST_WIDTHS, MOST_TRANSFORMS = 16, 64  # upper bounds for a saved file


class FittedFlow(FittedPrior):
    """N(0, I) transformed by a flow, fitted to codes by maximum likelihood (Papamakarios et al., 2017).

    Codes are standardised first. The weights with the highest likelihood of validation codes are kept. It needs zuko,
    as `prior=flow` does, which trains the same kind of flow with the model.

        python train.py data=fashion_mnist model=ae fitted_prior=flow

    Args:
        transforms, hidden, kind: see `vaelab.latents.FlowPrior`.
        steps: of Adam; the learning rate falls from `lr` to 0 on a cosine schedule.
        batch_size: number of codes in a step.
        lr: learning rate at the first step.
    """

    name: ClassVar[str] = "flow"
    keeps_weights: ClassVar[bool] = True

    def __init__(
        self,
        transforms: Annotated[int, Ge(1)],
        hidden: Widths,
        kind: Literal["affine", "spline"],
        steps: Annotated[int, Ge(1)],
        batch_size: Annotated[int, Gt(0)],
        lr: Annotated[float, Gt(0)],
    ) -> None:
        self.transforms, self.hidden, self.kind = transforms, list(hidden), kind
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self._size = 0
        self._network: _Standardised | None = None
        FlowPrior(transforms, self.hidden, kind)  # reports a missing zuko before training

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`."""
        return {
            "transforms": self.transforms, "hidden": self.hidden, "kind": self.kind,
            "steps": self.steps, "batch_size": self.batch_size, "lr": self.lr,
        }  # fmt: skip

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return self._size

    def fit(self, codes: Codes) -> Self:
        """Train the flow, with the run's seed."""
        with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(mix(codes.seed, self.name))
            network = self._made(codes.train.shape[1])
            train, val = codes.train.clone().float(), codes.val.clone().float()
            network.mean.copy_(train.mean(0))
            spread = train.std(0, correction=0)
            network.scale.copy_(spread.where(spread > 0, 1.0))
            self._train(network.to(codes.device), train, val if len(val) else train, codes)
        return self

    def _train(self, network: "_Standardised", train: Tensor, val: Tensor, codes: Codes) -> None:
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
        generator = torch.Generator().manual_seed(mix(codes.seed, "codes of a flow"))
        best = -torch.inf
        kept: dict[str, Tensor] = {}
        every = max(1, self.steps // CHECKS)
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.lr * 0.5 * (1 + cos(pi * step / self.steps))
            rows = torch.randint(len(train), (min(self.batch_size, len(train)),), generator=generator)
            loss = -network(train[rows].to(codes.device)).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), LARGEST_STEP)
            optimizer.step()
            if (step + 1) % every == 0 or step + 1 == self.steps:
                found = float(self.log_prob(val.to(codes.device)).mean())
                codes.say(f"fitted_prior={self.name}: step {step + 1} of {self.steps}")
                if found > best:
                    best, kept = found, {name: value.clone() for name, value in network.state_dict().items()}
        if not kept:
            raise ConfigError(
                f"fitted_prior.lr={self.lr:g}: the flow's likelihood is not finite; use a lower learning rate"
            )
        network.load_state_dict(kept)
        network.eval().requires_grad_(False)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `FittedPrior.sample`; the temperature multiplies the base noise."""
        noise = temperature * standard_normal_numbers(count, (self._size,), seed)
        return torch.cat([self._fitted.from_noise(part).float().cpu() for part in noise.split(CHUNK)])

    @torch.no_grad()
    def log_prob(self, codes: Tensor) -> Tensor:
        """See `FittedPrior.log_prob`."""
        network = self._fitted.to(codes.device)
        return torch.cat([network(part.float()) for part in codes.split(CHUNK)]).to(codes.dtype)

    @property
    def _fitted(self) -> "_Standardised":
        if self._network is None:
            raise RuntimeError("the flow is not fitted")
        return self._network

    def _made(self, size: int) -> "_Standardised":
        self._size, self._network = size, _Standardised(FlowPrior(self.transforms, self.hidden, self.kind), size)
        return self._network

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        return {"fitted_prior": self.name, "dimensions": self._size} | self.settings

    def weights(self) -> dict[str, Tensor]:
        """See `FittedPrior.weights`."""
        return dict(self._fitted.state_dict())

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        names = ("transforms", "hidden", "kind", "steps", "batch_size", "lr")
        transforms, hidden, kind, steps, batch_size, lr = (about[name] for name in names)
        whole = [transforms, steps, batch_size, *(hidden if isinstance(hidden, list) and hidden else [0])]
        if any(type(number) is not int or number < 1 for number in whole) or type(lr) is not float or not lr > 0:
            raise ValueError("transforms, hidden, steps, batch_size and lr should be numbers above 0")
        if transforms > MOST_TRANSFORMS or len(hidden) > MOST_WIDTHS or kind not in ("affine", "spline"):
            raise ValueError("the flow cannot be built")
        if about["dimensions"] != latent.size:
            raise ValueError(f"is for codes of {about['dimensions']} dimensions, and the model has {latent.size}")
        made = cls(transforms, hidden, kind, steps, batch_size, lr)
        made._made(latent.size).eval().requires_grad_(False)
        return made

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `FittedPrior.load_weights`.

        Raises:
            RuntimeError: they do not fit.
        """
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise RuntimeError("a weight is not finite")
        if not bool((weights["scale"] > 0).all()):
            raise RuntimeError("scales should be above 0")
        self._fitted.load_state_dict(dict(weights))


class _Standardised(nn.Module):
    """A flow of standardised codes: minus their mean, divided by their scale."""

    mean: Tensor
    scale: Tensor

    def __init__(self, prior: FlowPrior, size: int) -> None:
        super().__init__()
        prior.bind_group(LatentGroup((size,)))
        self.prior = prior
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, codes: Tensor) -> Tensor:
        """`(N, size)` codes to nats, `(N,)`."""
        standard = (codes - self.mean) / self.scale
        return self.prior.distribution().log_prob(standard) - self.scale.log().sum()

    def from_noise(self, noise: Tensor) -> Tensor:
        """`(N, size)` standard normal noise to codes."""
        return self.prior.transformed(noise) * self.scale + self.mean
