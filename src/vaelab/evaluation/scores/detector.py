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
CLEAN = "clean_scores.safetensors"  # there too: what set the threshold; detectors of earlier versions have none
MOST_SAMPLES = 1_000_000  # K that a file may ask for; all K latents of an example are in memory at once
KEPT = "neighbours.codes"  # in the latter; detectors of earlier versions have none
WEIGHTS = "model.safetensors"  # beside them


class Detector:
    """The scores that a model has, fitted to normal data, and the threshold of one of them.

    Args:
        model: in evaluation mode.
        nll_samples: K of the importance-weighted nll.
        kept: training examples whose codes it holds before it is fitted; None for a detector of earlier versions, which
            knew no neighbours.

    Attributes:
        threshold: above which a score is an alarm; set by the caller.
        clean: `(n,)` scores of the normal validation examples that set it; None of a run of an earlier version.
    """

    def __init__(self, model: Model, nll_samples: int, kept: int | None = 0) -> None:
        self.model, self.nll_samples = model, nll_samples
        self.scores = _scores(model, nll_samples, kept).to(model.device)
        self.threshold: Threshold | None = None
        self.clean: Tensor | None = None

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

    @torch.no_grad()
    def score_all(self, x: Tensor) -> dict[str, Tensor]:
        """Every score of `x: (B, *shape)` by name, `(B,)` each; what one of them consists of is computed once."""
        x, found = x.to(self.model.device), dict[str, Tensor]()
        for name, score in self.scores.items():
            if isinstance(score, Combined):
                found[name] = score.together(found)
            else:
                found[name] = score(self.model, x)
        return found

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
        """Bring back the detector of a run folder, on the CPU.

        Raises:
            CheckpointError: the folder holds no model, or one that was not trained with `task=anomaly`, or a detector
                that is broken or of another model.
        """
        run = Path(run)
        model = load_model(run, trusted)
        return cls.restored(model, folder_with(run, (THRESHOLD, STATE), "detector; train with task=anomaly"))

    @classmethod
    def restored(cls, model: Model, folder: Path) -> "Detector":
        """The detector that lies in a run's `model/`, for the model that is there too, in evaluation mode.

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
            raise CheckpointError(f"{folder / THRESHOLD}: {brief(threshold.score)} is no score of this model")
        state.refuse_others(outline.state_dict(), ABOUT)
        detector = cls(model, samples, kept)
        detector.scores.load_state_dict(state.load())
        detector.threshold, detector.clean = threshold, _read_clean(folder, threshold)
        return detector


def _read_clean(folder: Path, threshold: Threshold) -> Tensor | None:
    """The scores that set a threshold, `(n,)`; None where the run has kept none.

    Raises:
        CheckpointError: the file is broken or holds others.
    """
    path = folder / CLEAN
    if not path.exists():
        return None
    file = Weights(path)
    if list(file.layout) != [threshold.score] or file.layout[threshold.score][0] != (threshold.n,):
        raise CheckpointError(f"{path}: should hold {threshold.n} scores of {threshold.score}, as {THRESHOLD} says")
    return file.load()[threshold.score].double()


def _scores(model: Model, nll_samples: int, kept: int | None) -> nn.ModuleDict:
    """Those that a model has, by name, not fitted yet; `kept` as in `Detector`."""
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
    """Whether a run's `model/` holds one."""
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
        raise CheckpointError(f"{folder / THRESHOLD}: nll_samples should be a whole number up to {MOST_SAMPLES:,}")
    return threshold, samples


def same_weights(model: Model, folder: Path) -> bool:
    """Whether a model has the weights in a run's `model/`, in its own precision; True where none lie there."""
    path = folder / WEIGHTS
    if not path.is_file():
        return True
    own, saved = model.state_dict(), Weights(path).load()
    return saved.keys() == own.keys() and all(
        saved[name].shape == value.shape and torch.equal(saved[name].to(value.dtype), value.cpu())
        for name, value in own.items()
    )
