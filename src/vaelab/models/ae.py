"""The autoencoder."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vaelab.data import Batch
from vaelab.likelihoods import Likelihood
from vaelab.models.loss import LossTerms, Prediction
from vaelab.models.model import Model
from vaelab.models.schedules import Scheduled


class AE(Model):
    """A deterministic code; minimises -log p(x|z) less its constant.

    Under the squared-error likelihood, the default, that is ||x - x^||^2, and the mean over the batch
    is the autoencoder's loss (1/N) sum_i ||x_i - x^_i||^2.

    Args:
        encoder, decoder, likelihood, latent_dim: from the run.
        sparsity: weight of the L1 norm of the code (Goodfellow et al., 2016, section 14.2.1).
        contraction: weight of the squared Frobenius norm of dz/dx (Rifai et al., 2011, equation 7),
            exact, at the cost of one backward pass through the encoder for each latent dimension.
    """

    monitor = ("val/reconstruction", "max")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent_dim: int,
        sparsity: Annotated[float, Ge(0)] = 0.0,
        contraction: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        super().__init__(encoder, decoder, likelihood, latent_dim)
        self.sparsity, self.contraction = sparsity, contraction

    @staticmethod
    def code_size(latent_dim: int) -> int:
        """The code itself."""
        return latent_dim

    @property
    def takes_gradients(self) -> bool:
        """True with a contraction."""
        return self.contraction > 0

    def encode(self, x: Tensor) -> Tensor:
        """`x: (B, *shape)` to the code, `(B, latent_dim)`."""
        return self._encoded(x)

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> LossTerms:
        """The objective of each example."""
        if not self.contraction:
            z = self.encode(batch.x)
            return self._terms(z, self._decoded(z, self._teacher_forcing(batch)), batch, {})
        with torch.inference_mode(False), torch.enable_grad():  # the penalty is a gradient in evaluation too
            x = batch.x.detach().clone().requires_grad_()
            with _twice_differentiable(self.encoder):
                z = self.encode(x)
            jacobian = self._squared_jacobian(z, x)
        return self._terms(
            z, self._decoded(z, self._teacher_forcing(batch)), batch, {"contraction": self.contraction * jacobian}
        )

    def _terms(self, z: Tensor, raw: Tensor, batch: Batch, penalties: dict[str, Tensor]) -> LossTerms:
        if self.sparsity:
            penalties = penalties | {"sparsity": self.sparsity * z.abs().sum(1)}
        reconstruction = self.likelihood.log_prob(raw, batch.target)
        loss = -reconstruction - self.likelihood.constant_of(batch.target)
        return LossTerms(sum(penalties.values(), loss), reconstruction, None, penalties)

    def _squared_jacobian(self, z: Tensor, x: Tensor) -> Tensor:
        """||dz/dx||_F^2 of each example, `(B,)`."""
        # Examples do not meet in the encoder, so the gradient of a column's sum is each example's own.
        rows = [
            torch.autograd.grad(z[:, d].sum(), x, create_graph=self.training, retain_graph=True)[0]
            for d in range(z.shape[1])
        ]
        return torch.stack([row.flatten(1).square().sum(1) for row in rows]).sum(0)

    def predict(self, batch: Batch) -> Prediction:
        """Terms, code and reconstruction."""
        terms = self.terms(batch)
        z = self.encode(batch.x)
        return Prediction(terms, z, self.reconstruct(z, batch.target))


@contextmanager
def _twice_differentiable(module: nn.Module) -> Iterator[None]:
    """Fused attention, and recurrent layers of cuDNN, have a first derivative only."""
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with sdpa_kernel(SDPBackend.MATH), cudnn:
        yield
