"""The adversarial autoencoder (Makhzani et al., 2016): a critic of codes carries q(z) to the prior."""

from typing import Annotated, Any, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.core import Batch
from vaelab.latents import Draw
from vaelab.models import AE, AESettings, Phase, Terms

CRITIC = "critic"


class AdversarialAE(AE):
    """An autoencoder whose encoder deceives a critic, which tells codes from draws of N(0, I).

    Args:
        weight: of the term for deceiving the critic.
        hidden: width of the critic.
        critic_start: the first step at which the critic is trained and deceived.
        settings: see `AE`.
    """

    def __init__(
        self,
        weight: Annotated[float, Gt(0)] = 1.0,
        hidden: Annotated[int, Gt(0)] = 64,
        critic_start: Annotated[int, Ge(0)] = 0,
        **settings: Unpack[AESettings],
    ) -> None:
        super().__init__(**settings)
        self.weight = weight
        layers = nn.Linear(self.latent.size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        self.critic = nn.Sequential(*layers, nn.Linear(hidden, 1))
        self.critic_start = critic_start
        self.extra_phases = (Phase(CRITIC, (CRITIC,), critic_start),)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """The encoder learns to deceive the critic."""
        return super().moves() | {"deception": ("encoder",)}

    def scheduled(self, step: int) -> dict[str, float]:
        """The weight of the term for deceiving the critic."""
        return super().scheduled(step) | {"deception_weight": self.weight * (step >= self.critic_start)}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Any) -> dict[str, Tensor]:
        """What the encoder minimises: -log of the critic's chance that the code is a draw of the prior."""
        deception = scheduled["deception_weight"] * F.softplus(-self._score(self.code(inferred)))
        return super().penalties(batch, inferred, draw, scheduled) | {"deception": deception}

    def phase_terms(self, phase: str, batch: Batch, scheduled: Any = None) -> Terms:
        """What the critic minimises: the cross-entropy of both kinds."""
        if phase != CRITIC:
            return super().phase_terms(phase, batch, scheduled)
        with torch.no_grad():
            code = self.encode(batch.x, self.condition_of(batch))
        drawn = batch.noise.normal("prior", (self.latent.size,), batch.x.device)
        return Terms.loss_alone(F.softplus(-self._score(drawn)) + F.softplus(self._score(code)))

    def _score(self, code: Tensor) -> Tensor:
        """`(B, size)` to `(B,)`: high for draws of the prior."""
        score: Tensor = self.critic(code.to(self.dtype))
        return score.squeeze(1).float()
