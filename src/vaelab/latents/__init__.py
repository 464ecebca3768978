"""Latent codes: their shape, posteriors q(z|x) and priors p(z)."""

from vaelab.latents.condition import LabelCondition
from vaelab.latents.draw import Draw, GroupDraw
from vaelab.latents.flows import FlowPosterior, FlowPrior
from vaelab.latents.gaussian import (
    DiagonalGaussian,
    Gaussian,
    StandardNormal,
    gaussian_draw,
    gaussian_kl,
    gaussian_product,
)
from vaelab.latents.gumbel import GumbelSoftmax
from vaelab.latents.layouts import Grid, Layout, Vector
from vaelab.latents.lookup_free import LFQ
from vaelab.latents.mixtures import Mixture, VampPrior
from vaelab.latents.posterior import Point, PointMass, Posterior
from vaelab.latents.prior import Prior, standard_normal_numbers
from vaelab.latents.quantizers import FSQ, Quantizer
from vaelab.latents.spec import LatentGroup, LatentSpec
from vaelab.latents.uniform import Uniform
from vaelab.latents.vector_quantizer import VQ

__all__ = [
    "FSQ",
    "LFQ",
    "VQ",
    "DiagonalGaussian",
    "Draw",
    "FlowPosterior",
    "FlowPrior",
    "Gaussian",
    "Grid",
    "GroupDraw",
    "GumbelSoftmax",
    "LabelCondition",
    "LatentGroup",
    "LatentSpec",
    "Layout",
    "Mixture",
    "Point",
    "PointMass",
    "Posterior",
    "Prior",
    "Quantizer",
    "StandardNormal",
    "Uniform",
    "VampPrior",
    "Vector",
    "gaussian_draw",
    "gaussian_kl",
    "gaussian_product",
    "standard_normal_numbers",
]
