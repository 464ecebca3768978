"""Classical image denoisers: non-local means and total variation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from torch import Tensor

Settings = Mapping[str, float]


@dataclass(frozen=True)
class ImageDenoiser:
    """A denoiser of scikit-image, followed by a linear map, both fitted to pairs of noisy and clean images.

    Clipped noise makes dark regions lighter and light ones darker; salt and pepper moves all values towards grey. A
    denoiser alone does not correct this, but `gain` times its output plus `offset` does (about 1.8 dB for Gaussian
    noise of sigma 0.3 on Fashion-MNIST).

    Attributes:
        name: in metrics and files.
        label: in figures.
        grid: settings to choose from.
        restore: `(H, W, C)` values in [0, 1] and settings to an estimate, `(H, W, C)`.
    """

    name: str
    label: str
    grid: tuple[Settings, ...]
    restore: Callable[..., np.ndarray]

    def fit(self, noisy: Tensor, clean: Tensor) -> dict[str, float]:
        """The settings, `gain` and `offset` with the highest mean psnr over `(N, C, H, W)` images."""
        found = []
        for settings in self.grid:
            restored = self._restored(noisy, settings)
            gain, offset = _line(restored, clean)
            error = ((gain * restored + offset).clamp(0, 1) - clean).square().flatten(1).mean(1)
            error = error.clamp(min=1e-6)  # 60 dB, where psnr is capped
            found.append((error.log().mean().item(), {**settings, "gain": gain, "offset": offset}))
        return min(found, key=lambda pair: pair[0])[1]

    def __call__(self, noisy: Tensor, fitted: Settings) -> Tensor:
        """`(N, C, H, W)` images to their estimates in [0, 1], on the CPU."""
        settings = {name: fitted[name] for name in self.grid[0]}
        return (fitted["gain"] * self._restored(noisy, settings) + fitted["offset"]).clamp(0, 1)

    def _restored(self, noisy: Tensor, settings: Settings) -> Tensor:
        images = noisy.detach().cpu().permute(0, 2, 3, 1).double().numpy()
        restored = np.stack([self.restore(image, **settings) for image in images]).reshape(images.shape)
        return torch.from_numpy(restored).permute(0, 3, 1, 2).to(noisy.dtype)


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Gain and offset of the least-squares line from x to y; if x is constant, gain 0 and the mean of y."""
    x, y = x.double(), y.double()
    spread = (x - x.mean()).square().mean().item()
    gain = ((x - x.mean()) * (y - y.mean())).mean().item() / spread if spread > 1e-12 else 0.0
    return gain, (y.mean() - gain * x.mean()).item()


def _non_local_means(image: np.ndarray, h: float, sigma: float) -> np.ndarray:
    return denoise_nl_means(image, patch_size=5, patch_distance=6, h=h, sigma=sigma, fast_mode=True, channel_axis=-1)


def _total_variation(image: np.ndarray, weight: float) -> np.ndarray:
    return denoise_tv_chambolle(image, weight=weight, channel_axis=-1)


# Buades, Coll and Morel (2005), with patches of 5 x 5 in a neighbourhood of 13 x 13: h is the cut-off distance of
# patches, and sigma the expected standard deviation of the noise.
NON_LOCAL_MEANS = ImageDenoiser(
    "nlm",
    "non-local means",
    tuple({"h": h, "sigma": ratio * h} for h, ratio in product((0.05, 0.1, 0.15, 0.2, 0.3), (0.0, 1.0, 1.5))),
    _non_local_means,
)
# Rudin, Osher and Fatemi (1992), by Chambolle's projection (2004).
TOTAL_VARIATION = ImageDenoiser(
    "tv",
    "total variation",
    tuple({"weight": w} for w in (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)),
    _total_variation,
)
IMAGE_DENOISERS = (NON_LOCAL_MEANS, TOTAL_VARIATION)
