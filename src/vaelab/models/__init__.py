"""The objectives: plain modules, which know nothing of trainers, tasks or files."""

from vaelab.models.adversary import Adversary, PatchDiscriminator
from vaelab.models.ae import AE, AESettings
from vaelab.models.coder import ModelParts
from vaelab.models.ladder_vae import LadderVAE
from vaelab.models.model import Model
from vaelab.models.phases import Phase
from vaelab.models.shortcut import Shortcut
from vaelab.models.terms import Prediction, Start, Terms
from vaelab.models.vae import VAE, VAESettings

__all__ = [
    "AE",
    "VAE",
    "AESettings",
    "Adversary",
    "LadderVAE",
    "Model",
    "ModelParts",
    "PatchDiscriminator",
    "Phase",
    "Prediction",
    "Shortcut",
    "Start",
    "Terms",
    "VAESettings",
]
