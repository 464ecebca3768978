"""Ways from one latent to another."""

import torch
from torch import Tensor


def lerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` points at even distances on the straight line between `(latent_dim,)` latents, both ends included."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device).unsqueeze(1))


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` points on the great arc between `(latent_dim,)` latents (Shoemake, 1985; White, 2016).

    Where both ends have one norm, so have all points between them: in many dimensions nearly all of
    N(0, I) lies at norm sqrt(latent_dim), and the middle of a straight line lies where no data is.
    Ends on one line through the origin, or in it, have no single great arc: the straight line is taken.
    """
    t = torch.linspace(0, 1, steps, dtype=torch.float64).unsqueeze(1)
    a, b = start.cpu().double(), end.cpu().double()
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = cosine.arccos()
    if angle.sin() < 1e-6 or not a.any() or not b.any():
        return lerp(start, end, steps)
    points = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    return points.to(start.dtype).to(start.device)  # in this order: not every device has float64
