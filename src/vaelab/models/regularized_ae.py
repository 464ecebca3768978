"""The regularised autoencoder, which generates: small codes and a smooth decoder replace the noise of a VAE."""

from typing import Annotated, Any, Unpack

import torch
from annotated_types import Ge
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.latents import Draw
from vaelab.models.ae import AE, AESettings, refuse_what_is_no_number, twice_differentiable
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE


class RAE(AE):
    """Minimises ||x - x^||^2 + embedding / 2 ||z||^2 + a regulariser of the decoder (Ghosh et al., 2020, equation 11).

    It has no prior of its own. To generate, fit one to its codes after training: `fitted_prior=mixture`.

    Args:
        embedding: weight of the codes' squared norm, called beta in the paper.
        decoder_norm: weight of the squared norm of the decoder's weights: RAE-L2.
        decoder_gradient: weight of ||dx^/dz||_F^2: RAE-GP. The estimate is unbiased and uses one random direction of x^
            for each example, at the cost of one more pass through the decoder.
        **settings: see `AE`.

    Raises:
        ConfigError: `decoder_gradient` with categorical data.
    """

    def __init__(
        self,
        embedding: Annotated[float, Ge(0)],
        decoder_norm: Annotated[float, Ge(0)],
        decoder_gradient: Annotated[float, Ge(0)],
        **settings: Unpack[AESettings],
    ) -> None:
        super().__init__(**settings)
        if decoder_gradient:
            refuse_what_is_no_number(self.likelihood.spec, f"model.decoder_gradient={decoder_gradient:g}")
        self.embedding, self.decoder_norm, self.decoder_gradient = embedding, decoder_norm, decoder_gradient

    @property
    def takes_gradients(self) -> bool:
        """True if the decoder's gradient is penalised."""
        return super().takes_gradients or self.decoder_gradient > 0

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        moved: dict[str, tuple[str, ...]] = {"embedding": self.inferring() if self.embedding else ()}
        if self.decoder_norm:
            moved["decoder_norm"] = ("decoder",)
        if self.decoder_gradient:
            moved["decoder_gradient"] = (*self.inferring(), *self._parts("decoder", "condition"))
        return super().moves() | {name: tuple(dict.fromkeys(modules)) for name, modules in moved.items()}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        z = draw.groups[-1].z.squeeze(1)
        found = {"embedding": 0.5 * self.embedding * z.flatten(1).square().sum(1)}
        if self.decoder_norm:
            norm = torch.stack([weight.float().square().sum() for weight in self.decoder.parameters()]).sum()
            found["decoder_norm"] = (self.decoder_norm * norm).expand(len(z))
        if self.decoder_gradient:
            found["decoder_gradient"] = self.decoder_gradient * self._squared_gradient(z, batch)
        return super().penalties(batch, inferred, draw, scheduled) | found

    def _squared_gradient(self, z: Tensor, batch: Batch) -> Tensor:
        """||v' dx^/dz||^2 for one standard normal v per example, `(B,)`; its expectation is ||dx^/dz||_F^2."""
        condition, target = self.condition_of(batch), self.teacher_forcing(batch)
        with torch.inference_mode(False), torch.enable_grad(), twice_differentiable(self.decoder):
            z = z if z.requires_grad else z.detach().clone().requires_grad_()
            mean = self.likelihood.mean(self.raw(z, target, condition))
            direction = batch.noise.normal("decoder_gradient", mean.shape[1:], mean.device)
            (gradient,) = torch.autograd.grad((mean * direction).sum(), z, create_graph=self.training)
        return gradient.flatten(1).square().sum(1)
