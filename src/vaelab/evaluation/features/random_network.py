"""Features of an untrained random network."""

import torch
from torch import Tensor, nn

from vaelab.data.module import DataModule
from vaelab.data.plain import plain, plain_size
from vaelab.evaluation.features.extractor import Extractor, weights_hash
from vaelab.evaluation.features.moments import MOST, Moments
from vaelab.evaluation.features.resize import limit_side, limited_size

FEATURES, LONGEST = 64, 64


class RandomNetwork(Extractor):
    """64 seeded random features, for data without labels (Naeem et al., 2020, section 3.2, on random embeddings).

    For images: two strided convolutions with He's initialisation, pooled to at most 2 x 2 positions, then a random
    projection. For other data: a random projection of all values. Standardised over train.
    """

    def __init__(self, data: DataModule, device: torch.device) -> None:
        super().__init__(device)
        spec = data.spec
        self._spec, self._image = spec, spec.kind == "image"
        resize = "none"
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(0)
            if self._image:
                size = limited_size(spec.shape[1:], LONGEST)
                if size != tuple(spec.shape[1:]):
                    resize = f"{size[0]} x {size[1]}, bilinear, antialiased"
                body = _convolutions(spec.shape[0], size)
            else:
                body = nn.Sequential(nn.Linear(plain_size(spec), FEATURES, bias=False))
        self._net = body.to(device).eval()
        self.about = {
            "extractor": "random",
            "features": FEATURES,
            "resize": resize,
            "weights": weights_hash(body.state_dict()),
        }
        self._moments = Moments(torch.zeros(1, device=device), torch.ones(1, device=device))
        self._moments = Moments.from_rows(self.extract(data.clean("train", MOST).split(512)).to(device))

    def features(self, examples: Tensor) -> Tensor:
        """See `Extractor.features`."""
        seen = limit_side(examples, LONGEST) if self._image else plain(examples, self._spec)
        return self._moments.standardise(self._net(seen))


def _convolutions(channels: int, size: tuple[int, int]) -> nn.Sequential:
    places = tuple(min(2, -(-side // 4)) for side in size)
    layers = [
        nn.Conv2d(channels, 32, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(places),
        nn.Flatten(),
        nn.Linear(64 * places[0] * places[1], FEATURES, bias=False),
    ]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(*layers)
