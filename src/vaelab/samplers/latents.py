"""The latents that a sampler is fitted to."""

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.data.noise import mix
from vaelab.models import Model


def train_latents(model: Model, data: DataModule, seed: int = 0) -> Tensor:
    """One latent of each train example, `(N, size)` on the CPU.

    For an AE they are its codes. For a VAE they are draws from each posterior, not the posterior
    means: the decoder was trained on draws of the aggregate posterior, and the means alone are
    narrower than it by the posteriors' own variances.
    """
    latents = []
    for number, batch in enumerate(data.batches("train", model.device)):
        condition = model.condition_of(batch)
        generator = torch.Generator().manual_seed(mix(seed, number))
        noise = {
            name: (torch.randn if kind == "normal" else torch.rand)(len(batch.x), *shape, generator=generator).to(
                model.device
            )
            for name, (kind, shape) in model.streams(1).items()
        }
        draw = model.draw_from(model.infer(batch.x, condition), noise, condition)
        latents.append(model.latent.flat([group.z.squeeze(1) for group in draw.groups]).cpu())
    return torch.cat(latents)
