"""The extractor of a run: the one that is named, or the best one available for the data and the machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from vaelab.core.spec import DataSpec
from vaelab.data.module import DataModule
from vaelab.data.plain import plain_size
from vaelab.errors import ConfigError
from vaelab.evaluation.features.classifier import Classifier, can_classify
from vaelab.evaluation.features.extractor import Extractor
from vaelab.evaluation.features.inception import CONTRACT, Inception
from vaelab.evaluation.features.random_network import RandomNetwork
from vaelab.evaluation.features.torch_fidelity import TorchFidelity, has_torch_fidelity
from vaelab.evaluation.features.values import Values

ExtractorName = Literal["auto", "inception", "torchmetrics", "classifier", "random", "values"]
EXTRACTORS: tuple[str, ...] = get_args(ExtractorName)
FEW_VALUES = 256  # maximum size of an example for features that are the values themselves


@dataclass(frozen=True)
class Choice:
    """The extractor in the config.

    Attributes:
        name: of the extractor. `auto` is inception if its file exists and there is a GPU, else the classifier if images
            have labels, else values for small examples other than images, else random.
        inception: path of the TorchScript file.
        folder: where classifiers and features of real data are cached.
    """

    name: str
    inception: Path
    folder: Path

    def build(self, data: DataModule, device: torch.device) -> Extractor:
        """Build the extractor on `device`, or on the CPU if the device is Apple's GPU.

        Raises:
            ConfigError: it was named and is not available; says how to get it.
        """
        name = self._resolve(data, device)
        if device.type == "mps":  # lacks adaptive pooling to sizes that do not divide the input's, and some resizing
            device = torch.device("cpu")
        if name == "inception":
            refuse_absent(self, data.spec)
            return Inception(self.inception, device)
        if name == "torchmetrics":
            return TorchFidelity(device)
        if name == "classifier":
            if not can_classify(data):
                raise ConfigError(f"task.extractor=classifier: {_no_labels(data.spec)}")
            return Classifier(data, self.folder, device)
        return Values(data, device) if name == "values" else RandomNetwork(data, device)

    def trainless(self, data: DataModule, device: torch.device) -> bool:
        """Whether the features do not depend on a train split."""
        return self._resolve(data, device) in ("inception", "torchmetrics")

    def _resolve(self, data: DataModule, device: torch.device) -> str:
        if self.name != "auto":
            return self.name
        if device.type == "cuda" and self.inception.is_file() and _fits_inception(data.spec):
            return "inception"
        if can_classify(data):
            return "classifier"
        return "values" if data.spec.kind != "image" and plain_size(data.spec) <= FEW_VALUES else "random"


def refuse_absent(choice: Choice, spec: DataSpec) -> None:
    """Refuse, before training, an extractor that is named but not available.

    Raises:
        ConfigError: says how to get it, or what to use instead.
    """
    name = choice.name
    if name in ("inception", "torchmetrics") and not _fits_inception(spec):
        raise ConfigError(
            f"task.extractor={name}: needs grey or colour images in [0, 1], {spec.name} is not; use task.extractor=auto"
        )
    if name == "inception" and not choice.inception.is_file():
        raise ConfigError(
            f"task.extractor=inception: {choice.inception} does not exist; put {CONTRACT} there "
            "or name it with task.inception=<file>, or use task.extractor=classifier"
        )
    if name == "torchmetrics" and not has_torch_fidelity():
        raise ConfigError(
            "task.extractor=torchmetrics: needs the package torch-fidelity (pip install torch-fidelity), "
            "or use task.extractor=classifier"
        )
    if name == "classifier" and (spec.kind != "image" or len(spec.classes) < 2):
        raise ConfigError(f"task.extractor=classifier: {_no_labels(spec)}")


def _fits_inception(spec: DataSpec) -> bool:
    return spec.kind == "image" and spec.bounded and spec.shape[0] in (1, 3)


def _no_labels(spec: DataSpec) -> str:
    return f"{spec.name} has no images with labels of two classes or more; use task.extractor=random"
