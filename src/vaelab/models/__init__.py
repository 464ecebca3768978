"""The objectives: plain modules, which know nothing of trainers, tasks or files."""

from vaelab.models.adversarial_ae import AdversarialAE
from vaelab.models.adversary import Adversary, PatchDiscriminator
from vaelab.models.ae import AE, AESettings
from vaelab.models.coder import ModelParts
from vaelab.models.dip_vae import DIPVAE
from vaelab.models.hierarchical_vae import HierarchicalVAE
from vaelab.models.importance_weighted import ImportanceWeighted
from vaelab.models.ladder_vae import LadderVAE
from vaelab.models.m2 import M2
from vaelab.models.mmd import WAE, InfoVAE
from vaelab.models.model import Model
from vaelab.models.phases import Phase
from vaelab.models.regularized_ae import RAE
from vaelab.models.shortcut import Shortcut
from vaelab.models.terms import Prediction, Start, Terms
from vaelab.models.topk_ae import TopKAE
from vaelab.models.total_correlation import BetaTCVAE, FactorVAE
from vaelab.models.vae import VAE, VAESettings

__all__ = [
    "AE",
    "DIPVAE",
    "M2",
    "RAE",
    "VAE",
    "WAE",
    "AESettings",
    "AdversarialAE",
    "Adversary",
    "BetaTCVAE",
    "FactorVAE",
    "HierarchicalVAE",
    "ImportanceWeighted",
    "InfoVAE",
    "LadderVAE",
    "Model",
    "ModelParts",
    "PatchDiscriminator",
    "Phase",
    "Prediction",
    "Shortcut",
    "Start",
    "Terms",
    "TopKAE",
    "VAESettings",
]
