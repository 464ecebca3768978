"""Networks for a perceptual term."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from zipfile import is_zipfile

import torch
from annotated_types import Gt
from torch import Tensor

from vaelab.careful_read import brief, digest, read_json
from vaelab.core.spec import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError, printable
from vaelab.evaluation.features.classifier import Classifier, can_classify
from vaelab.models.perceptual import Perceptual

ENVIRONMENT, PART = "environment.json", "perceptual"  # file and key under which a run records the network


class ClassifierLayers(Perceptual):
    """The two convolutional layers of a small classifier of the data's own labels, the one that `fid` may use.

        python train.py data=fashion_mnist model=vae encoder=conv perceptual=classifier

    Args:
        weight: see `Perceptual`.
        data_dir: folder in whose subfolder `.vaelab` the classifier is kept.
    """

    def __init__(self, weight: Annotated[float, Gt(0)], data_dir: str) -> None:
        super().__init__(weight)
        self.folder = Path(data_dir) / ".vaelab" / "features"
        self._classifier: Classifier | None = None

    def prepare(self, data: DataModule) -> None:
        """See `Perceptual.prepare`."""
        self.check(data.spec)
        if not can_classify(data):
            raise ConfigError(
                f"perceptual=classifier: trains a classifier of the labels of images, and {data.spec.name} has none "
                "that it could learn; use perceptual=exported with your own network"
            )
        self._classifier = Classifier(data, self.folder, torch.device("cpu"))
        self._classifier.freeze()

    @property
    def about(self) -> dict[str, Any]:
        """See `Perceptual.about`."""
        assert self._classifier is not None
        return {"network": "classifier", "weights": self._classifier.about["weights"], "weight": self.weight}

    def move(self, device: torch.device) -> None:
        """See `Perceptual.move`."""
        assert self._classifier is not None
        self._classifier.move(device)

    def layers(self, x: Tensor) -> Sequence[Tensor]:
        """See `Perceptual.layers`."""
        assert self._classifier is not None
        return self._classifier.maps(x)


class ExportedLayers(Perceptual):
    """Your own network, exported by `torch.export`: images `(B, 3, H, W)` in [0, 1] to one or several features.

    The network must scale its input itself, and the program needs a dynamic batch dimension. Usually the layers of an
    ImageNet classifier are used.

        torch.export.save(torch.export.export(layers, (x,), dynamic_shapes=[{0: torch.export.Dim("batch")}]), "vgg.pt2")

    Args:
        weight: see `Perceptual`.
        path: of the program.
    """

    def __init__(self, weight: Annotated[float, Gt(0)], path: str | None) -> None:
        super().__init__(weight)
        if not path:
            raise ConfigError("perceptual.path: needs a file written by torch.export.save")
        self.path = Path(path)
        self._layers: torch.nn.Module | None = None
        self._weights = ""

    def prepare(self, data: DataModule) -> None:
        """See `Perceptual.prepare`."""
        self.check(data.spec)
        if not self.path.is_file():
            raise ConfigError(f"perceptual.path={self.path}: no such file")
        if not is_zipfile(self.path):
            raise ConfigError(f"perceptual.path={self.path}: is not a file written by torch.export.save")
        try:
            program = torch.export.load(self.path)
            self._layers = program.module()
        except Exception as error:
            why = printable(str(error).partition("\n")[0], 200)
            raise ConfigError(
                f"perceptual.path={self.path}: cannot be read as a torch.export program ({why})"
            ) from error
        self._layers.requires_grad_(False)
        weights = {name: value.detach().cpu().contiguous() for name, value in program.state_dict.items()}
        self._weights = digest(weights)
        self._try(data.spec)

    def _try(self, spec: DataSpec) -> None:
        """Run it on three images of the data's size, then on two.

        Raises:
            ConfigError: it fails on them, or returns no features.
        """
        assert self._layers is not None
        before = {name: value.clone() for name, value in self._layers.state_dict().items()}
        try:
            with torch.no_grad():
                self.layers(torch.rand(3, *spec.shape))
                found = self.layers(torch.rand(2, *spec.shape))
        except Exception as error:
            why = printable(str(error).partition("\n")[0], 200)
            raise ConfigError(
                f"perceptual.path={self.path}: does not accept every number of images {list(spec.shape)} ({why}); "
                "export it for this size and with a dynamic batch"
            ) from error
        if any(not torch.equal(value, before[name]) for name, value in self._layers.state_dict().items()):
            raise ConfigError(
                f"perceptual.path={self.path}: changes its state when it is used; export it after network.eval()"
            )
        if not found or any(not isinstance(one, Tensor) or len(one) != 2 or one.dim() not in (2, 4) for one in found):
            raise ConfigError(f"perceptual.path={self.path}: should return features (B, F, H, W) or (B, F)")

    @property
    def about(self) -> dict[str, Any]:
        """See `Perceptual.about`."""
        return {"network": str(self.path), "weights": self._weights[:12], "weight": self.weight}

    def move(self, device: torch.device) -> None:
        """See `Perceptual.move`."""
        assert self._layers is not None
        self._layers.to(device)

    def layers(self, x: Tensor) -> Sequence[Tensor]:
        """See `Perceptual.layers`; a grey image is repeated in three channels."""
        assert self._layers is not None
        found: Tensor | Sequence[Tensor] = self._layers(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        return [found] if isinstance(found, Tensor) else list(found)


def refuse_another_network(perceptual: Perceptual, run: Path) -> None:
    """Refuse to resume a run with another network than the one that it began with.

    Raises:
        CheckpointError: `environment.json` of the run cannot be read.
        ConfigError: the network's weights differ from those that the run recorded, or the run recorded none.
    """
    about = read_json(run / ENVIRONMENT)
    recorded = about.get(PART) if isinstance(about, dict) else None
    then = recorded.get("weights") if isinstance(recorded, dict) else None
    now = perceptual.about["weights"]
    if then != now:
        raise ConfigError(
            f"perceptual: the network has other weights ({now}) than at the start of the run ({brief(str(then))}); "
            f"name that network, or begin a new run with ckpt_path={run}"
        )
