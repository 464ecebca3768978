"""The adversarial autoencoder: a critic cannot distinguish its codes from draws of the prior."""

from typing import Annotated, Any, Unpack

import torch
from annotated_types import Gt, MinLen
from torch import Tensor
from torch.nn import functional as F

from vaelab.core.batch import Batch
from vaelab.latents import Draw
from vaelab.models.ae import AE, AESettings
from vaelab.models.phases import Phase
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE, Terms
from vaelab.models.total_correlation import CRITIC, critic_network


class AdversarialAE(AE):
    """Matches the distribution of codes to N(0, I) with a critic, trained in its own phase (Makhzani et al., 2016).

    The critic is trained with the cross entropy to distinguish draws of N(0, I) from codes. The encoder's loss has
    `weight` times log(1 + exp(-critic(z))), the non-saturating form of Goodfellow et al. (2014).

    Args:
        weight: weight of that term, relative to the reconstruction, which is a sum over all values.
        critic: widths of the critic's hidden layers.
        **settings: see `AE`.
    """

    extra_phases = (Phase(CRITIC, modules=(CRITIC,)),)

    def __init__(
        self,
        weight: Annotated[float, Gt(0)],
        critic: Annotated[list[Annotated[int, Gt(0)]], MinLen(1)],
        **settings: Unpack[AESettings],
    ) -> None:
        super().__init__(**settings)
        self.weight = weight
        self.critic = critic_network(self.latent.size, critic, 1)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return super().moves() | {"deception": self.inferring(), f"{CRITIC}_loss": (CRITIC,)}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        deception = self.weight * F.softplus(-self._scores(self.code(inferred)))
        return super().penalties(batch, inferred, draw, scheduled) | {"deception": deception}

    def phase_terms(self, phase: str, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """See `Model.phase_terms`."""
        if phase != CRITIC:
            return super().phase_terms(phase, batch, scheduled)
        with torch.no_grad():
            codes = self.encode(batch.x, self.condition_of(batch))
        drawn = batch.noise.normal(CRITIC, (self.latent.size,), batch.x.device)
        return Terms.loss_alone(F.softplus(-self._scores(drawn)) + F.softplus(self._scores(codes)))

    def _scores(self, codes: Tensor) -> Tensor:
        """The critic's logits, `(B,)`: high for draws of the prior, low for codes."""
        scores: Tensor = self.critic(codes.to(self.dtype)).float()[:, 0]
        return scores
