"""Interpolation between latents."""

import torch
from torch import Tensor


def lerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` equidistant points on the straight line between `(latent_dim,)` latents, both ends included."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device).unsqueeze(1))


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` equidistant points on the great arc between `(latent_dim,)` latents (Shoemake, 1985; White, 2016).

    If both ends have the same norm, all points between them have it too. In many dimensions almost all of N(0, I) has
    a norm near sqrt(latent_dim), and the middle of a straight line has a smaller norm than any data. If the ends are
    collinear with the origin, or one is the origin, there is no unique great arc; the straight line is used.
    """
    t = torch.linspace(0, 1, steps, dtype=torch.float64).unsqueeze(1)
    a, b = start.cpu().double(), end.cpu().double()
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = cosine.arccos()
    if angle.sin() < 1e-6 or not a.any() or not b.any():
        return lerp(start, end, steps)
    points = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return points.to(start.dtype).to(start.device)  # in this order, because not every device supports float64
