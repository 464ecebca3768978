"""A trained model as a detector of anomalies."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vaelab.errors import CheckpointError
from vaelab.models import VAE, Model
from vaelab.record.export import load_model
from vaelab.scores.conformal import Threshold
from vaelab.scores.elbo import Elbo
from vaelab.scores.latent import Latent
from vaelab.scores.nll import NegativeLogLikelihood
from vaelab.scores.reconstruction import Reconstruction
from vaelab.scores.relative import Relative
from vaelab.scores.score import Score

THRESHOLD, STATE = "threshold.json", "scores.safetensors"  # in the run folder's model/
WEIGHTS = "model.safetensors"  # beside them


class Detector:
    """The scores that a model has, fitted to normal data, and the threshold of one of them.

    Args:
        model: in evaluation mode.
        nll_samples: K of the importance-weighted nll.
    """

    def __init__(self, model: Model, nll_samples: int) -> None:
        self.model, self.nll_samples = model, nll_samples
        found: dict[str, Score] = {
            "reconstruction": Reconstruction(),
            "latent": Latent(model.latent_dim),
        }
        if model.likelihood.spec.support not in ("categories", "mixed"):
            found["relative"] = Relative()
        if isinstance(model, VAE):
            found |= {"elbo": Elbo(), "nll": NegativeLogLikelihood(nll_samples)}
        self.scores = nn.ModuleDict(found).to(model.device)
        self.threshold: Threshold | None = None

    def fit(self, normal: Callable[[], Iterable[Tensor]]) -> None:
        """Learn what is usual from what `normal()` yields: batches `(B, *shape)` of training examples."""
        for score in self.scores.values():
            assert isinstance(score, Score)
            score.fit(self.model, normal())

    @torch.no_grad()
    def score(self, x: Tensor, name: str | None = None) -> Tensor:
        """Scores of `x: (B, *shape)`, the larger the more anomalous, `(B,)`.

        Args:
            x: what the likelihood explains, in the data's range: clean, and binarized where the data were.
            name: which score; that of the threshold if None.
        """
        if name is None:
            name = self._threshold.score
        return self.scores[name](self.model, x.to(self.model.device))

    def alarms(self, x: Tensor) -> Tensor:
        """Which of `x: (B, *shape)` lie above the threshold, `(B,)` bool."""
        return self._threshold.alarms(self.score(x))

    @property
    def _threshold(self) -> Threshold:
        if self.threshold is None:
            raise RuntimeError("set Detector.threshold before asking for alarms")
        return self.threshold

    def files(self) -> dict[str, bytes | str]:
        """What the run folder keeps beside the model, by path within it."""
        about = self._threshold.to_json() | {"nll_samples": self.nll_samples}
        state = {name: value.contiguous().cpu() for name, value in self.scores.state_dict().items()}
        return {f"model/{THRESHOLD}": json.dumps(about, indent=2) + "\n", f"model/{STATE}": save(state)}

    @classmethod
    def load(cls, run: str | Path, trusted: tuple[str, ...] = ()) -> "Detector":
        """Bring back the detector of a run folder, on the CPU.

        Raises:
            CheckpointError: the folder holds no model, or one that was not trained with `task=anomaly`.
        """
        run = Path(run)
        return cls.restored(load_model(run, trusted), run / "model" if (run / "model").is_dir() else run)

    @classmethod
    def restored(cls, model: Model, folder: Path) -> "Detector":
        """The detector that lies in a run's `model/`, for the model that is there too, in evaluation mode.

        Raises:
            CheckpointError: there is none, or it is broken or of another model.
        """
        threshold, nll_samples = read_threshold(folder)
        try:
            detector = cls(model, nll_samples)
            detector.scores.load_state_dict(load_file(folder / STATE))
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
            raise CheckpointError(f"{folder}: the detector is broken or of another model ({error})") from error
        detector.threshold = threshold
        return detector


def has_detector(folder: Path) -> bool:
    """Whether a run's `model/` holds one."""
    return all((folder / name).is_file() for name in (THRESHOLD, STATE))


def read_threshold(folder: Path) -> tuple[Threshold, int]:
    """The threshold in a run's `model/`, and the K of its `nll`.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    for name in (THRESHOLD, STATE):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: holds no detector ({name} is missing); train with task=anomaly")
    try:
        about = json.loads((folder / THRESHOLD).read_text(encoding="utf-8"))
        found, nll_samples = Threshold.from_json(about), int(about["nll_samples"])
        if not (isinstance(found.score, str) and 0 < found.rate < 1 and found.n >= 0 and nll_samples > 0):
            raise ValueError("no threshold has such values")
        return found, nll_samples
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / THRESHOLD}: is broken ({error})") from error


def same_weights(model: Model, folder: Path) -> bool:
    """Whether a model has the weights in a run's `model/`, in its own precision; True where none lie there."""
    path = folder / WEIGHTS
    if not path.is_file():
        return True
    own = model.state_dict()
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: is broken ({error})") from error
    return saved.keys() == own.keys() and all(
        saved[name].shape == value.shape and torch.equal(saved[name].to(value.dtype), value.cpu())
        for name, value in own.items()
    )
