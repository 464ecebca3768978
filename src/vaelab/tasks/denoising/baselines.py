"""Classical denoisers, measured on the run's examples in the same way as the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from vaelab.core import DataSpec, Noise
from vaelab.corruptions import Corruption, Mask
from vaelab.data.module import DataModule
from vaelab.data.plain import enough, from_plain
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.commonest_token import CommonestToken
from vaelab.evaluation.baselines.denoisers import IMAGE_DENOISERS, ImageDenoiser
from vaelab.evaluation.baselines.limits import held_in_memory, rows_used
from vaelab.evaluation.baselines.linear import LinearDenoiser
from vaelab.tasks.denoising.quality import quality_of_each, summary
from vaelab.tasks.denoising.strengths import corrupted

METRICS = ("mse", "psnr", "psnr_gain", "ssim", "mse_ratio", "masked_accuracy")
FITTED_TO = 32  # validation images that settings are chosen on
MOST_VALUES = 4_000_000  # values restored at once; fewer images are used if they are large
LINEAR_ROWS = 20_000  # training examples for the linear estimate
LINEAR_VALUES = 2_000  # values of an example at most; larger examples have no linear baseline
COUNTED = 30_000_000  # training tokens that are counted; sorting them takes about 10 s on one core


def is_restorable(spec: DataSpec) -> bool:
    """Whether image denoisers apply: images in [0, 1]."""
    return spec.kind == "image" and spec.bounded


@dataclass(frozen=True)
class Rival:
    """The metrics of a baseline, and the settings that were fitted for it."""

    metrics: dict[str, float]
    fitted: dict[str, float]


class Restored(NamedTuple):
    """Results of a baseline on the test examples.

    Attributes:
        numbers: by name, fitted settings included.
        each: `(N,)` psnr of each example, or mse where psnr is not defined; empty for tokens.
    """

    numbers: Mapping[str, float]
    each: Tensor


Compute = Callable[[], Restored]


class DenoisingBaselines:
    """Numbers of each baseline under any corruption, kept in the cache.

    | data | baselines |
    |---|---|
    | images in [0, 1] | non-local means and total variation, with settings chosen on corrupted validation images |
    | tokens | the most common token, unconditionally and given the neighbouring tokens |
    | other | linear estimate fitted to training examples; where values are masked, imputation by the training mean |

    Args:
        data: the run's data.
        cache: the run's cache of baselines.
        asked: number of test images to measure, taken from the start; fewer if they are very large. Other examples
            are all measured, unless it is 0. Data that the model was not trained on have no baselines, because all
            baselines are fitted to the train or validation split.
    """

    def __init__(self, data: DataModule, cache: BaselineCache, asked: int) -> None:
        self._data, self._cache = data, cache
        self.count = total = len(data.split["test"]) if asked and not data.all_as_test else 0
        if is_restorable(data.spec):
            self.count = min(total, asked, max(1, MOST_VALUES // data.spec.size))

    def names(self, corruption: Corruption) -> list[str]:
        """Names of the baselines under this corruption, at any strength; empty if none was asked for."""
        return list(self._computed(corruption))

    def numbers(self, corruption: Corruption) -> dict[str, Rival]:
        """Each baseline under this corruption."""
        return {name: self.rival(name, corruption) for name in self.names(corruption)}

    def rival(self, name: str, corruption: Corruption) -> Rival:
        """One of the `names` under this corruption."""
        settings, compute = self._settings(corruption), self._computed(corruption)[name]
        numbers = self._cache.numbers(name, settings, lambda: compute().numbers)
        plain = {key.removeprefix(f"baseline/{name}/"): value for key, value in numbers.items()}
        metrics = {key: value for key, value in plain.items() if key in METRICS}
        return Rival(metrics, {key: value for key, value in plain.items() if key not in METRICS})

    def each(self, name: str, corruption: Corruption) -> Tensor:
        """`(N,)` psnr of each example, or mse where psnr is not defined; empty for tokens."""
        compute = self._computed(corruption)[name]
        return self._cache.tensor(f"{name}_each", self._settings(corruption), lambda: compute().each)

    def _settings(self, corruption: Corruption) -> dict[str, Any]:
        settings: dict[str, Any] = {"corruption": repr(corruption), "examples": self.count}
        if self._data.spec.support == "categories" and self._counted < len(self._data.split["train"]):
            settings["train_rows"] = self._counted
        return settings

    def rows(self, name: str) -> dict[str, str]:
        """A description of the examples that a baseline was fitted to and measured on."""
        train, test = len(self._data.split["train"]), len(self._data.split["test"])
        fitted = {
            "linear": rows_used(min(train, LINEAR_ROWS), train, "train"),
            "mean": rows_used(held_in_memory(train, self._data.spec), train, "train"),
            "commonest": rows_used(self._counted, train, "train"),
            "neighbours": rows_used(self._counted, train, "train"),
        }
        few = min(self._few, len(self._data.split["val"]))
        return {
            "fitted to": fitted.get(name, f"the first {few} validation images"),
            "examples": f"the first {self.count} of {test} test examples",
        }

    def _computed(self, corruption: Corruption) -> dict[str, Compute]:
        if not self.count:
            return {}
        if is_restorable(self._data.spec):
            return self._image_denoisers(corruption)
        if self._data.spec.support == "categories":
            return {name: partial(self._commonest, corruption, name) for name in ("commonest", "neighbours")}
        return self._estimates(corruption)

    @property
    def _counted(self) -> int:
        """Number of training examples whose tokens are counted."""
        return min(len(self._data.split["train"]), max(1, COUNTED // self._data.spec.size))

    @property
    def _few(self) -> int:
        """Number of validation images that settings are chosen on."""
        return max(1, min(FITTED_TO, MOST_VALUES // 10 // self._data.spec.size))

    def _image_denoisers(self, corruption: Corruption) -> dict[str, Compute]:
        return {denoiser.name: partial(self._fitted, denoiser, corruption) for denoiser in IMAGE_DENOISERS}

    def _fitted(self, denoiser: ImageDenoiser, corruption: Corruption) -> Restored:
        fitted = denoiser.fit(*corrupted(self._data, "val", corruption, self._few))
        found = self._measured(corruption, lambda noisy: denoiser(noisy, fitted))
        return found._replace(numbers={**found.numbers, **fitted})

    def _commonest(self, corruption: Corruption, name: str) -> Restored:
        tokens = CommonestToken(self._data.clean("train", self._counted), between=name == "neighbours")
        return self._measured(corruption, tokens)

    def _estimates(self, corruption: Corruption) -> dict[str, Compute]:
        found: dict[str, Compute] = {}

        def linear() -> Restored:
            pairs = corrupted(self._data, "train", corruption, LINEAR_ROWS)
            return self._measured(corruption, LinearDenoiser(*pairs, self._data.spec))

        def mean() -> Restored:
            assert isinstance(corruption, Mask)
            average = self._average()

            def imputed(clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
                return clean.where(~corruption.hidden(clean, noise, spec), average)

            estimate, _ = corrupted(self._data, "test", imputed, self.count)
            return self._measured(corruption, lambda noisy: estimate)

        if self._data.spec.size <= LINEAR_VALUES:
            found["linear"] = linear
        if isinstance(corruption, Mask):
            found["mean"] = mean
        return found

    def _average(self) -> Tensor:
        """Means of the observed training values, `(*shape)`, which replace masked values."""
        most = enough(self._data.spec)
        if self._data.spec.columns:
            return from_plain(self._data.rows("train", most).mean(0, keepdim=True), self._data.spec)[0]
        return self._data.clean("train", most).nanmean(0).nan_to_num()

    def _measured(self, corruption: Corruption, denoise: Callable[[Tensor], Tensor]) -> Restored:
        noisy, clean = corrupted(self._data, "test", corruption, self.count)
        each = quality_of_each(noisy, denoise(noisy), clean, self._data.spec)
        numbers = {name: value for name, value in summary(each).items() if name in METRICS}
        return Restored(numbers, each.get("psnr", each.get("mse", noisy.new_zeros(0))))
