"""Features of a small classifier, trained once on the data's own labels."""

import hashlib
import json
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.atomic_write import replacing
from vaelab.careful_read import DIGEST, Weights, digest
from vaelab.data.module import DataModule
from vaelab.errors import CheckpointError
from vaelab.evaluation.features.extractor import Extractor, weights_hash
from vaelab.evaluation.features.resize import limit_side, limited_size

FORMAT = 1  # raise it when the network or its training changes
FEATURES, LONGEST, BATCH, MOST = 64, 64, 128, 60_000
STEPS = (300, 1_500)  # minimum and maximum; three epochs in between


class Classifier(Extractor):
    """The 64 activations before the last nonlinearity of a network with two strided convolutional layers.

    They are standardised over the train split, since the kernel distance depends on their scale. The network is trained
    on the labelled train examples (60,000 of them at most), seeded, and cached in `folder` under a hash of the data, so
    that all runs on the same data share one, including runs that hide labels. Images whose longer side is above 64
    pixels are shrunk to 64.
    """

    def __init__(self, data: DataModule, folder: Path, device: torch.device) -> None:
        super().__init__(device)
        spec, self._path = data.spec, folder / f"classifier-{_key(data)}.safetensors"
        classes = int(data.labels_for_measuring("train").max()) + 1
        self._net = _network(spec.shape[0], limited_size(spec.shape[1:], LONGEST), classes)
        facts = self._read()
        if facts is None:
            facts = self._train(data)
            self._write(facts)
        self._net.to(device).eval()
        height, width = limited_size(spec.shape[1:], LONGEST)
        kept = (height, width) == tuple(spec.shape[1:])
        self.about = {
            "extractor": "classifier",
            "features": FEATURES,
            "resize": f"none ({height} x {width})" if kept else f"{height} x {width}, bilinear, antialiased",
            "weights": weights_hash(self._net.state_dict()),
            **facts,
        }

    def features(self, examples: Tensor) -> Tensor:
        """See `Extractor.features`."""
        return self._net[0](limit_side(examples, LONGEST))

    def maps(self, examples: Tensor) -> list[Tensor]:
        """Outputs of its two convolutional layers for `(B, C, H, W)`, `(B, F, H', W')` each, with gradients."""
        first_conv, silu, second_conv = list(self._net[0].children())[:3]
        first = silu(first_conv(limit_side(examples, LONGEST)))
        return [first, silu(second_conv(first))]

    def freeze(self) -> None:
        """Disable gradients of its weights."""
        self._net.requires_grad_(False)

    def move(self, device: torch.device) -> None:
        """Move the network to a device."""
        self.device = device
        self._net.to(device)

    def classes(self, examples: Tensor) -> Tensor:
        """The most likely class of `(B, C, H, W)` examples, `(B,)` on the CPU."""
        return self._net(limit_side(examples.to(self.device), LONGEST)).argmax(1).cpu()

    def _train(self, data: DataModule) -> dict[str, Any]:
        labels = data.labels_for_measuring("train")[:MOST]
        labelled = labels >= 0
        images = limit_side(data.clean("train", MOST)[labelled], LONGEST).float()
        labels = labels[labelled]
        steps = int(min(max(3 * len(labels) / BATCH, STEPS[0]), STEPS[1]))
        with torch.inference_mode(False), torch.enable_grad():
            _fit(self._net.to(self.device), images, labels, steps)
        return {
            "trained_on": f"{len(labels)} labelled train examples of {data.spec.name}, {steps} steps",
            "test_accuracy": round(self._accuracy(data), 4),
        }

    def _accuracy(self, data: DataModule) -> float:
        labels = data.labels("test")
        parts = data.clean_parts("test")
        scores = [self._net(limit_side(part.to(self.device), LONGEST)).cpu() for part in parts]
        right = torch.cat(scores).argmax(1) == labels
        return right[labels >= 0].double().mean().item() if (labels >= 0).any() else 0.0

    def _read(self) -> dict[str, Any] | None:
        try:
            kept = Weights(self._path)
            facts = dict(json.loads(kept.metadata["about"]))
            kept.refuse_others(self._net.state_dict(), "this network")
            self._net.load_state_dict(kept.load())
        except (CheckpointError, KeyError, TypeError, ValueError):
            return None
        return facts

    def _write(self, facts: dict[str, Any]) -> None:
        """Write completely or not at all; on a read-only disk the network is trained again each time."""
        with suppress(OSError, SafetensorError):
            weights = {name: value.cpu().contiguous() for name, value in self._net.state_dict().items()}
            with replacing(self._path) as partial:
                save_file(weights, partial, {"about": json.dumps(facts), DIGEST: digest(weights)})


def can_classify(data: DataModule) -> bool:
    """Whether there are images with labels of more than one class."""
    labels = data.labels_for_measuring("train")
    return data.spec.kind == "image" and len(labels[labels >= 0].unique()) > 1


def _network(channels: int, size: tuple[int, int], classes: int) -> nn.Sequential:
    """Two parts, `(B, C, H, W)` to features and features to scores; the same initial weights at each call."""
    pooled = tuple(min(4, ceil(side / 4)) for side in size)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(pooled),
            nn.Flatten(),
            nn.Linear(64 * pooled[0] * pooled[1], FEATURES),
            nn.BatchNorm1d(FEATURES, momentum=0.05, affine=False),
        )
        return nn.Sequential(body, nn.Sequential(nn.SiLU(), nn.Linear(FEATURES, classes)))


def _fit(net: nn.Module, images: Tensor, labels: Tensor, steps: int) -> None:
    """Adam on the cross entropy, with a learning rate that rises and falls once; batches depend on the seed."""
    net.train()
    device = next(net.parameters()).device
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    taken = 0
    for _ in range(steps):
        if taken and taken + BATCH > len(order):  # full batches only, unless there are too few examples for one
            order, taken = torch.randperm(len(images), generator=generator), 0
        rows = order[taken : taken + BATCH]
        taken += BATCH
        loss = F.cross_entropy(net(images[rows].to(device)), labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()


def _key(data: DataModule) -> str:
    """A hash of its train and test data; corruption and dynamic binarization do not change it."""
    key = [FORMAT, data.spec.name, list(data.spec.shape), data.fingerprint(for_measuring=True)]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
