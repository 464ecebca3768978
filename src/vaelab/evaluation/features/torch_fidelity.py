"""Torchmetrics' own Inception-v3, from the package torch-fidelity."""

from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from vaelab.errors import ConfigError
from vaelab.evaluation.features.extractor import Extractor, weights_hash
from vaelab.evaluation.features.inception import FEATURES, eight_bits


class TorchFidelity(Extractor):
    """The network of `torchmetrics.image.fid`; torch-fidelity downloads its weights at the first use."""

    costly: ClassVar[bool] = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        try:
            self._net = FrechetInceptionDistance(FEATURES).inception.to(device)
        except (ModuleNotFoundError, OSError) as error:
            raise ConfigError(
                f"task.extractor=torchmetrics: its weights cannot be downloaded or read ({error}); "
                "use task.extractor=inception with a local file, or classifier"
            ) from error
        self.about = {
            "extractor": "torchmetrics",
            "features": FEATURES,
            "resize": "299 x 299, bilinear, antialiased, after rounding to 8 bits",
            "weights": weights_hash(self._net.state_dict()),
        }

    def features(self, examples: Tensor) -> Tensor:
        """See `Extractor.features`."""
        return torch.cat([self._net(eight_bits(part).to(torch.uint8)) for part in examples.split(64)])


def has_torch_fidelity() -> bool:
    """Whether the package is installed."""
    return find_spec("torch_fidelity") is not None
