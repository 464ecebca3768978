"""The latents that a sampler is fitted to."""

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.data.noise import mix
from vaelab.models import VAE, Model
from vaelab.samplers.sampler import noise


def train_latents(model: Model, data: DataModule, seed: int = 0) -> Tensor:
    """One latent of each train example, `(N, latent_dim)` on the CPU.

    For an AE they are its codes. For a VAE they are draws from each posterior, not the posterior
    means: the decoder was trained on draws of the aggregate posterior, and the means alone are
    narrower than it by the posteriors' own variances.
    """
    latents = []
    for number, batch in enumerate(data.batches("train", model.device)):
        if isinstance(model, VAE):
            posterior = model.posterior(batch.x)
            drawn = noise(len(batch.x), model.latent_dim, mix(seed, number)).to(model.device)
            latents.append(posterior.rsample(drawn.unsqueeze(1)).squeeze(1).cpu())
        else:
            latents.append(model.encode(batch.x).cpu())
    return torch.cat(latents)
