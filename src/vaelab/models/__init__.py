"""The objectives: plain modules, which know nothing of trainers, tasks or files."""

from vaelab.models.adversary import Adversary, PatchDiscriminator
from vaelab.models.ae import AE
from vaelab.models.ladder_vae import LadderVAE
from vaelab.models.model import Model
from vaelab.models.phases import Phase
from vaelab.models.terms import Prediction, Start, Terms
from vaelab.models.vae import VAE

__all__ = [
    "AE",
    "VAE",
    "Adversary",
    "LadderVAE",
    "Model",
    "PatchDiscriminator",
    "Phase",
    "Prediction",
    "Start",
    "Terms",
]
