"""The autoencoder."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vaelab.core.batch import Batch
from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.latents import LatentSpec
from vaelab.likelihoods import Likelihood
from vaelab.models.coder import Condition, ModelParts
from vaelab.models.model import Model
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE, Terms


class AESettings(ModelParts, total=False):
    """Arguments of `AE`, for the `**settings` of subclasses."""

    sparsity: Annotated[float, Ge(0)]
    contraction: Annotated[float, Ge(0)]
    condition: Condition | None
    condition_size: Annotated[int, Gt(0)]
    condition_dropout: Annotated[float, Ge(0), Lt(1)]


class AE(Model):
    """An autoencoder with a deterministic code; minimises -log p(x|z) without its constant.

    Under the default, the squared-error likelihood, this is ||x - x^||^2, and the mean over the batch is the usual
    loss of an autoencoder, (1/N) sum_i ||x_i - x^_i||^2.

    Args:
        encoder, decoder, likelihood, latent: built from the run's config.
        sparsity: weight of the L1 norm of the code (Goodfellow et al., 2016, section 14.2.1).
        contraction: weight of the squared Frobenius norm of dz/dx (Rifai et al., 2011, equation 7). It is exact, at the
            cost of one backward pass through the encoder for each latent dimension.
        condition, condition_size, condition_dropout: see `Model`.
    """

    monitor = ("val/reconstruction", "max")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent: LatentSpec | int,
        sparsity: Annotated[float, Ge(0)] = 0.0,
        contraction: Annotated[float, Ge(0)] = 0.0,
        condition: Condition | None = None,
        condition_size: Annotated[int, Gt(0)] = 16,
        condition_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__(
            encoder, decoder, likelihood, latent,
            condition=condition, condition_size=condition_size, condition_dropout=condition_dropout,
        )  # fmt: skip
        self.sparsity, self.contraction = sparsity, contraction

    @property
    def takes_gradients(self) -> bool:
        """True if `contraction` is used."""
        return self.contraction > 0

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        penalties = {"sparsity": self.sparsity, "contraction": self.contraction}
        return super().moves() | {name: self.inferring() for name, weight in penalties.items() if weight}

    def remedies(self) -> list[str]:
        """Weaker penalties."""
        penalties = {"sparsity": self.sparsity, "contraction": self.contraction}
        return [f"model.{name}={weight / 10:g}" for name, weight in penalties.items() if weight]

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """The objective of each example."""
        condition = self.condition_of(batch)
        if not self.contraction:
            return self._terms(self.infer(batch.x, condition), batch, condition, {}, scheduled)
        with torch.inference_mode(False), torch.enable_grad():  # the penalty needs gradients in evaluation too
            x = batch.x.detach().clone().requires_grad_()
            with twice_differentiable(self.encoder):
                inferred = self.infer(x, condition)
            jacobian = self._squared_jacobian(self.code(inferred), x)
        penalties = {"contraction": self.contraction * jacobian}
        return self._terms(inferred, batch, condition, penalties, scheduled)

    def _terms(
        self,
        inferred: Any,
        batch: Batch,
        condition: Tensor | None,
        penalties: dict[str, Tensor],
        scheduled: Scheduled | None,
    ) -> Terms:
        scheduled = self.scheduled_now() if scheduled is None else scheduled
        draw = self.draw_from(inferred, {}, condition, scheduled if self.training else NONE)
        z = draw.groups[-1].z.squeeze(1)
        raw = self.raw(z, self.teacher_forcing(batch), condition)
        if self.sparsity:
            penalties = penalties | {"sparsity": self.sparsity * z.flatten(1).abs().sum(1)}
        penalties = penalties | self.penalties(batch, inferred, draw, scheduled)
        statistics = self.statistics(inferred) if self.training else NONE
        log_likelihood = self.likelihood.log_prob(raw, batch.target)
        loss = -log_likelihood - self.likelihood.constant_of(batch.target)
        output = raw if self.keeps_output else None
        return Terms(
            sum(penalties.values(), loss), log_likelihood, None, penalties, statistics=statistics, output=output
        )

    def _squared_jacobian(self, z: Tensor, x: Tensor) -> Tensor:
        """||dz/dx||_F^2 of each example, `(B,)`, for `z: (B, size)`."""
        # The encoder treats examples separately, so the gradient of a column's sum has each example's own gradient.
        rows = [
            torch.autograd.grad(z[:, d].sum(), x, create_graph=self.training, retain_graph=True)[0]
            for d in range(z.shape[1])
        ]
        return torch.stack([row.flatten(1).square().sum(1) for row in rows]).sum(0)


def refuse_what_is_no_number(spec: DataSpec, setting: str) -> None:
    """Refuse categorical data, for a term that is a difference or a gradient of reconstructions.

    Raises:
        ConfigError: names `setting` and the data.
    """
    if spec.support in ("categories", "mixed"):
        kind = "tokens" if spec.support == "categories" else "columns with categories"
        raise ConfigError(f"{setting}: needs numeric reconstructions, and {spec.name} has {kind}")


@contextmanager
def twice_differentiable(module: nn.Module) -> Iterator[None]:
    """Use implementations that have a second derivative; fused attention and cuDNN's recurrent layers have none."""
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with sdpa_kernel(SDPBackend.MATH), cudnn:
        yield
