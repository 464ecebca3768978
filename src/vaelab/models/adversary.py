"""Adversaries: networks that learn to distinguish reconstructions from data, trained in their own phase."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge, Gt, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.backbones.group_norm import group_norm
from vaelab.backbones.halvings import convolution, halvings
from vaelab.core.devices import mean_over_devices
from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError

MOST_ADAPTIVE = 1e4  # upper bound of the adaptive weight
SMALL = 1e-4  # added to the gradient norm that the adaptive weight is divided by


class Adversary(nn.Module, ABC):
    """Distinguishes reconstructions from data. The model's loss has a term for deceiving it.

    Args:
        weight: weight of that term, multiplied by the adaptive weight.
        start: the first step at which the adversary is trained and its term is used.
    """

    def __init__(self, weight: float, start: int) -> None:
        super().__init__()
        self.weight, self.begins = weight, start

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *shape)` to scores `(B, N)`: high for data, low for reconstructions."""

    def deceived(self, reconstruction: Tensor) -> Tensor:
        """The model's adversarial term: -D(x^), a mean over patches, `(B,)`."""
        return -self(reconstruction).flatten(1).mean(1)

    def loss(self, data: Tensor, reconstruction: Tensor) -> Tensor:
        """The adversary's loss: the hinge loss (Lim and Ye, 2017), `(B,)`."""
        real, false = self(data).flatten(1), self(reconstruction).flatten(1)
        return 0.5 * (F.relu(1 - real).mean(1) + F.relu(1 + false).mean(1))


def adaptive_weight(likelihood: Tensor, adversarial: Tensor, last: nn.Parameter) -> Tensor:
    """The adaptive weight, which makes the gradient of the adversarial term as large as that of the reconstruction.

    |d nll / d w| / (|d adversarial / d w| + 1e-4), at most 1e4, for the weights w of the decoder's last layer (Esser et
    al., 2021, equation 7). Gradients are those of the whole batch, over all devices.

    Args:
        likelihood: the mean of -log p(x|z) over this device's rows, times `Batch.weight`.
        adversarial: the mean of the adversarial term, in the same way.
        last: w.
    """
    norms = []
    for term in (likelihood, adversarial):
        (gradient,) = torch.autograd.grad(term, last, retain_graph=True)
        norms.append(mean_over_devices(gradient.float()).norm())
    return (norms[0] / (norms[1] + SMALL)).clamp(max=MOST_ADAPTIVE).detach()


class PatchDiscriminator(Adversary):
    """A convolutional network that scores each patch of an image (Isola et al., 2017).

    It uses group normalisation instead of batch normalisation, so that examples of a batch do not affect each other.

    Args:
        spec: the data.
        widths: channels of the stride-2 convolutions; more of them give larger patches.
        weight, start: see `Adversary`.

    Raises:
        ConfigError: the data are not images.
    """

    def __init__(
        self,
        spec: DataSpec,
        widths: Annotated[list[Annotated[int, Gt(0)]], MinLen(1)],
        weight: Annotated[float, Gt(0)],
        start: Annotated[int, Ge(0)],
    ) -> None:
        super().__init__(weight, start)
        if spec.kind != "image":
            raise ConfigError(f"adversary=patch: needs images; {spec.name} is {spec.kind} data, leave adversary out")
        sizes = halvings(spec.shape[1], spec.shape[2], len(widths))
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(zip([spec.shape[0], *widths], widths, strict=False)):
            layers.append(convolution(before, after, sizes[number], halves=True))
            layers += [group_norm(after)] * bool(number) + [nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """See `Adversary.forward`."""
        scores: Tensor = self.net(x.to(next(self.parameters()).dtype))
        return scores.flatten(1).float()
