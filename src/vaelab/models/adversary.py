"""Adversaries: networks that learn to tell reconstructions from data, in a phase of their own."""

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

MOST_ADAPTIVE = 1e4  # of the adaptive weight
SMALL = 1e-4  # of a gradient that the adaptive weight divides by


class Adversary(nn.Module, ABC):
    """Tells reconstructions from data. The model has a term for deceiving it.

    Args:
        weight: of that term, beside the adaptive weight.
        start: the first step at which the adversary takes part.
    """

    def __init__(self, weight: float, start: int) -> None:
        super().__init__()
        self.weight, self.begins = weight, start

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *shape)` to scores `(B, N)`: high for data, low for reconstructions."""

    def deceived(self, reconstruction: Tensor) -> Tensor:
        """What the model minimises: -D(x^), a mean over patches, `(B,)`."""
        return -self(reconstruction).flatten(1).mean(1)

    def loss(self, data: Tensor, reconstruction: Tensor) -> Tensor:
        """What the adversary minimises: the hinge loss (Lim and Ye, 2017), `(B,)`."""
        real, false = self(data).flatten(1), self(reconstruction).flatten(1)
        return 0.5 * (F.relu(1 - real).mean(1) + F.relu(1 + false).mean(1))


def adaptive_weight(likelihood: Tensor, adversarial: Tensor, last: nn.Parameter) -> Tensor:
    """How much the adversarial term weighs, so that its gradient is as large as that of the reconstruction.

    |d nll / d w| / (|d adversarial / d w| + 1e-4), at most 1e4, for the weights w of the decoder's last layer (Esser et
    al., 2021, equation 7). Gradients are those of the whole batch, over all devices.

    Args:
        likelihood: the mean of -log p(x|z) over this device's rows, times `Batch.weight`.
        adversarial: that of the adversarial term.
        last: w.
    """
    norms = []
    for term in (likelihood, adversarial):
        (gradient,) = torch.autograd.grad(term, last, retain_graph=True)
        norms.append(mean_over_devices(gradient.float()).norm())
    return (norms[0] / (norms[1] + SMALL)).clamp(max=MOST_ADAPTIVE).detach()


class PatchDiscriminator(Adversary):
    """Convolutions that score each patch of an image (Isola et al., 2017).

    Group normalisation takes the place of theirs over the batch, so that examples do not meet.

    Args:
        spec: of the data.
        widths: channels of the stride-2 convolutions; more of them make larger patches.
        weight, start: see `Adversary`.

    Raises:
        ConfigError: the data are no images.
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
            raise ConfigError(f"adversary=patch: fits images; {spec.name} is {spec.kind} data, leave adversary out")
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
