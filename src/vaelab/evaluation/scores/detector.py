"""A trained model as a detector of anomalies."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from vaelab.careful_read import DIGEST, Weights, brief, digest, folder_with, read_json
from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation.scores.combined import Combined
from vaelab.evaluation.scores.conformal import Threshold
from vaelab.evaluation.scores.local import Local, is_local
from vaelab.evaluation.scores.neighbours import Neighbours
from vaelab.evaluation.scores.score import Score
from vaelab.evaluation.scores.scores import Elbo, Latent, NegativeLogLikelihood, Reconstruction, Relative
from vaelab.models import Model
from vaelab.models.saved_model import ABOUT, load_model

THRESHOLD, STATE = "threshold.json", "scores.safetensors"  # in the run folder's model/
CLEAN = "clean_scores.safetensors"  # in the same folder: the scores that set the threshold; missing in old versions
MOST_SAMPLES = 1_000_000  # upper bound of K in a file; all K latents of an example are in memory at once
KEPT = "neighbours.codes"  # in STATE; missing in detectors of earlier versions
WEIGHTS = "model.safetensors"  # in the same folder


class Detector:
    """The scores of a model, fitted to normal data, and the threshold for one of them.

    Args:
        model: in evaluation mode.
        nll_samples: K of the importance-weighted nll.
        kept: number of training examples whose codes are loaded later; 0 if it will be fitted, None for a detector of
            earlier versions, without neighbours.

    Attributes:
        threshold: a score above it is an alarm; set by the caller.
        clean: `(n,)` scores of the normal validation examples that set it; None for a run of an earlier version.
    """

    def __init__(self, model: Model, nll_samples: int, kept: int | None = 0) -> None:
        self.model, self.nll_samples = model, nll_samples
        self.scores = _scores(model, nll_samples, kept).to(model.device)
        self.threshold: Threshold | None = None
        self.clean: Tensor | None = None

    def fit(self, normal: Callable[[], Iterable[Tensor]]) -> None:
        """Fit the scores to batches `(B, *shape)` of training examples, which `normal()` yields."""
        for score in self.scores.values():
            assert isinstance(score, Score)
            score.fit(self.model, normal())

    @torch.no_grad()
    def score(self, x: Tensor, name: str | None = None) -> Tensor:
        """Scores of `x: (B, *shape)`, larger is more anomalous, `(B,)`.

        Args:
            x: the target of the likelihood, in the data's range: clean, and binarized if the data were.
            name: of the score; that of the threshold if None.
        """
        if name is None:
            name = self._threshold.score
        return self.scores[name](self.model, x.to(self.model.device))

    @torch.no_grad()
    def score_all(self, x: Tensor) -> dict[str, Tensor]:
        """Every score of `x: (B, *shape)` by name, `(B,)` each; shared parts are computed once."""
        x, found = x.to(self.model.device), dict[str, Tensor]()
        for name, score in self.scores.items():
            if isinstance(score, Combined):
                found[name] = score.together(found)
            else:
                found[name] = score(self.model, x)
        return found

    def alarms(self, x: Tensor) -> Tensor:
        """Which of `x: (B, *shape)` have a score above the threshold, `(B,)` bool."""
        return self._threshold.alarms(self.score(x))

    @property
    def _threshold(self) -> Threshold:
        if self.threshold is None:
            raise RuntimeError("set Detector.threshold before asking for alarms")
        return self.threshold

    def files(self) -> dict[str, bytes | str]:
        """The files that the run folder keeps with the model, by path within it."""
        about = self._threshold.to_json() | {"nll_samples": self.nll_samples}
        state = {name: value.contiguous().cpu() for name, value in self.scores.state_dict().items()}
        binary = save(state, {DIGEST: digest(state)})
        found: dict[str, bytes | str] = {
            f"model/{THRESHOLD}": json.dumps(about, indent=2) + "\n",
            f"model/{STATE}": binary,
        }
        if self.clean is not None:
            kept = {self._threshold.score: self.clean.double().cpu().contiguous()}
            found[f"model/{CLEAN}"] = save(kept, {DIGEST: digest(kept)})
        return found

    @classmethod
    def load(cls, run: str | Path, trusted: tuple[str, ...] = ()) -> "Detector":
        """Load the detector of a run folder, on the CPU.

        Raises:
            CheckpointError: the folder has no model, or one that was not trained with `task=anomaly`, or the detector
                is broken or of another model.
        """
        run = Path(run)
        model = load_model(run, trusted)
        return cls.restored(model, folder_with(run, (THRESHOLD, STATE), "detector; train with task=anomaly"))

    @classmethod
    def restored(cls, model: Model, folder: Path) -> "Detector":
        """The detector in a run's `model/`, for its model, in evaluation mode.

        Raises:
            CheckpointError: there is none, or it is broken or of another model.
        """
        threshold, samples = read_threshold(folder)
        state = Weights(folder / STATE)
        shape, _ = state.layout.get(KEPT, (None, ""))
        kept = None if shape is None else shape[0] if shape else 0
        with torch.device("meta"):
            outline = _scores(model, samples, kept)
        if threshold.score not in outline:
            raise CheckpointError(f"{folder / THRESHOLD}: {brief(threshold.score)} is not a score of this model")
        state.refuse_others(outline.state_dict(), ABOUT)
        detector = cls(model, samples, kept)
        detector.scores.load_state_dict(state.load())
        detector.threshold, detector.clean = threshold, _read_clean(folder, threshold)
        return detector


def _read_clean(folder: Path, threshold: Threshold) -> Tensor | None:
    """The scores that set a threshold, `(n,)`; None if the run has not saved them.

    Raises:
        CheckpointError: the file is broken or has other scores.
    """
    path = folder / CLEAN
    if not path.exists():
        return None
    file = Weights(path)
    if list(file.layout) != [threshold.score] or file.layout[threshold.score][0] != (threshold.n,):
        raise CheckpointError(f"{path}: should hold {threshold.n} scores of {threshold.score}, as {THRESHOLD} says")
    return file.load()[threshold.score].double()


def _scores(model: Model, nll_samples: int, kept: int | None) -> nn.ModuleDict:
    """The scores that exist for a model, by name, unfitted; `kept` as in `Detector`."""
    found: dict[str, Score] = {"reconstruction": Reconstruction(), "latent": Latent(model.latent_dim)}
    if model.likelihood.spec.support not in ("categories", "mixed"):
        found["relative"] = Relative()
    if model.has_rate:
        found |= {"elbo": Elbo(), "nll": NegativeLogLikelihood(nll_samples)}
    if kept is not None:
        spec = model.likelihood.spec
        if is_local(spec):
            found["local"] = Local(spec)
        found["neighbours"] = Neighbours(model.latent_dim, kept, spec)
        of_model = "nll" if model.has_rate else "reconstruction"
        together = ("relative", "local") if spec.kind == "image" and "local" in found else (of_model, "neighbours")
        found["combined"] = Combined({name: found[name] for name in together})
    return nn.ModuleDict(found)


def has_detector(folder: Path) -> bool:
    """Whether a run's `model/` has a detector."""
    return all((folder / name).exists() for name in (THRESHOLD, STATE))


def read_threshold(folder: Path) -> tuple[Threshold, int]:
    """The threshold in a run's `model/`, and the K of its `nll`.

    Raises:
        CheckpointError: there is none, or it is broken.
    """
    for name in (THRESHOLD, STATE):
        if not (folder / name).exists():
            raise CheckpointError(f"{folder}: holds no detector ({name} is missing); train with task=anomaly")
    about = read_json(folder / THRESHOLD)
    try:
        threshold, samples = Threshold.from_json(about), about["nll_samples"]
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder / THRESHOLD}: is broken ({brief(str(error))})") from error
    if type(samples) is not int or not 0 < samples <= MOST_SAMPLES:
        raise CheckpointError(f"{folder / THRESHOLD}: nll_samples should be an integer up to {MOST_SAMPLES:,}")
    return threshold, samples


def same_weights(model: Model, folder: Path) -> bool:
    """Whether a model has the weights in a run's `model/`, in its own precision; True if there are none."""
    path = folder / WEIGHTS
    if not path.is_file():
        return True
    own, saved = model.state_dict(), Weights(path).load()
    return saved.keys() == own.keys() and all(
        saved[name].shape == value.shape and torch.equal(saved[name].to(value.dtype), value.cpu())
        for name, value in own.items()
    )
