"""The computations of the page, without its user interface."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vaelab.commands.between import by_effect, linear, spherical
from vaelab.errors import DataError, UserError
from vaelab.evaluation.sources import Source
from vaelab.explore.corpus import Corpus, names_of
from vaelab.explore.shown import Shown
from vaelab.trained import Trained

MOST_SLIDERS, TRIED = 12, 256  # the most sliders, and the most numbers of a code among which they are selected
DRAWN = 512  # sampled codes from which the ranges of sliders are computed
LARGEST = 20 * 2**20  # largest size of an upload in bytes
NEIGHBOURS = 6


@dataclass(frozen=True)
class Slider:
    """A slider for a number of the code.

    Attributes:
        place: the index of the number in the flat code.
        low, high: the range of the slider, which contains 0.
    """

    place: int
    low: float
    high: float


@dataclass(frozen=True)
class Example:
    """One example of an upload.

    Attributes:
        values: `(1, *shape)` as the model sees it.
        name: its name, which says where it comes from.
        count: the number of examples in the file.
    """

    values: Tensor
    name: str
    count: int


@dataclass(frozen=True)
class Findings:
    """The results of a model for an example.

    Attributes:
        again: `(1, *shape)`, its reconstruction or its denoised version.
        verdict: the score and its meaning, in a sentence or two.
        places: for images and series, a picture of unusual places; else None.
        columns: for tables, a DataFrame with the contribution of each column to the score, largest first; else None.
        neighbours: indices in the corpus of the nearest examples, each with its distance; empty without files.
    """

    again: Tensor
    verdict: str
    places: Any
    columns: pd.DataFrame | None
    neighbours: list[tuple[int, float]]


class Explorer:
    """A trained model behind a page.

    Attributes:
        sliders: for the numbers of the code that change the decoded example most, up to 12.
        corpus: examples of the files on the command line; None without files.
        has_prior: whether the codes of the model follow a prior, or the run has fitted one to them. Codes of an
            autoencoder do not, so that samples of it mean little.
        no_samples: why the model cannot be sampled; None if it can.
    """

    def __init__(self, trained: Trained, files: Sequence[tuple[Path, Path]] = ()) -> None:
        self.trained = trained
        self.shown = Shown(trained)
        self.corpus = Corpus.read(trained, files) if files else None
        self.has_prior = trained.model.has_rate or trained.fitted is not None
        self.no_samples: str | None = None
        try:
            trained.sampled(1)
        except UserError as error:
            self.no_samples = str(error)
        self.sliders = self._sliders()

    def start(self) -> Tensor:
        """The code `(size,)` that sliders start with, and that they are reset to."""
        return torch.zeros(self.trained.latent_dim, dtype=self.trained.model.dtype)

    def _sliders(self) -> list[Slider]:
        """The sliders for the numbers of the code with the largest effect.

        The range of a slider is three standard deviations around the mean, over codes sampled from the prior. For
        discrete codes it is the smallest to the largest value. For a model without a prior, the codes of the files are
        used; without files, the range is -3 to 3. Each range is extended to contain 0.
        """
        codes = self._usual_codes()
        size = self.trained.latent_dim
        if codes is None:
            low, high = torch.full((size,), -3.0), torch.full((size,), 3.0)
        elif self.trained.model.latent.discrete:
            low, high = codes.amin(0).clamp(max=0), codes.amax(0).clamp(min=0)
        else:
            center, spread = codes.mean(0), codes.std(0).nan_to_num()
            low, high = (center - 3 * spread).clamp(max=0), (center + 3 * spread).clamp(min=0)
        reach = float(torch.maximum(-low, high).median()) or 3.0
        tried = (high - low).argsort(descending=True, stable=True)[:TRIED].sort().values
        order = by_effect(self.trained, self.start(), reach, tried)[:MOST_SLIDERS]
        return [Slider(place, _rounded(float(low[place]), -3.0), _rounded(float(high[place]), 3.0)) for place in order]

    def _usual_codes(self) -> Tensor | None:
        model, labels = self.trained.model, None
        if self.has_prior and self.no_samples is None:
            if model.conditional:
                labels = (torch.arange(DRAWN) % len(self.trained.spec.classes)).to(model.device)
            with suppress(UserError), torch.no_grad():
                return Source(model, self.trained.fitted).codes(DRAWN, 0, 1.0, labels).float().cpu()
        return self.corpus.codes.float() if self.corpus is not None and len(self.corpus.codes) > 1 else None

    def code(self, base: Tensor, numbers: Sequence[float]) -> Tensor:
        """The code `base`, `(size,)`, with the numbers of the sliders inserted."""
        changed = base.clone()
        for slider, number in zip(self.sliders, numbers, strict=True):
            changed[slider.place] = float(number)
        return changed

    def decoded(self, code: Tensor, label: str | None = None) -> Tensor:
        """The example `(1, *shape)` of a code `(size,)`.

        Raises:
            ConfigError: the model has no such label.
        """
        values: Tensor = self.trained.decode(code[None], label)
        return values

    def samples(self, count: int, temperature: float, label: str | None, seed: int) -> Tensor:
        """New examples `(count, *shape)`; see `Trained.sample`.

        Raises:
            UserError: an argument is out of its range, or the model has no such label or no prior.
        """
        return self.trained.sampled(int(count), float(temperature), label, int(seed))

    def example(self, file: str | Path | None, number: int = 1) -> Example:
        """One example of an upload.

        Args:
            file: its path; None if nothing was uploaded.
            number: the number of the example in the file, from 1.

        Raises:
            DataError: nothing was uploaded, the file is too large, of another kind or broken, or holds fewer examples.
        """
        adapter = self.trained.adapter
        if file is None:
            raise DataError(f"choose {adapter.what} first")
        path = Path(file)
        if not path.name.lower().endswith(tuple(adapter.suffixes)):
            suffixes = ", ".join(adapter.suffixes)
            raise DataError(f"{path.name}: is not {adapter.what}; give a file that ends with {suffixes}")
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path.name}: has more than {LARGEST // 2**20} MB; use vaelab score for large files")
        try:
            part = adapter.take(path)
        except UserError as error:
            raise DataError(str(error).replace(str(path), path.name)) from error
        if not 1 <= number <= part.count:
            raise DataError(f"{path.name}: holds {part.count:,} examples; there is no number {number}")
        seen = 0
        for batch in part.batches(torch.device("cpu")):
            if number <= seen + len(batch.x):
                return Example(batch.x[number - 1 - seen][None].cpu(), names_of(part)[number - 1], part.count)
            seen += len(batch.x)
        raise DataError(f"{path.name}: holds {seen:,} examples; there is no number {number}")

    def look(self, values: Tensor, denoise: bool = False) -> Findings:
        """Reconstruct or denoise an example `(1, *shape)`, score it, and find its neighbours.

        Raises:
            UserError: the example cannot be scored.
        """
        trained, kind = self.trained, self.shown.kind
        part = trained.part(values)
        again = trained.restored(part) if denoise else trained.reconstructed(part)
        name = trained.scorer.name(None)
        return Findings(
            again,
            self._verdict(part, name),
            self.shown.places(values[0], trained.places(part)[0]) if kind in ("image", "series") else None,
            self._columns(part, name) if kind == "table" else None,
            [] if self.corpus is None else self.corpus.nearest(trained.codes(part)[0], NEIGHBOURS),
        )

    def _verdict(self, part: Any, name: str) -> str:
        threshold = self.trained.scorer.threshold
        scores = self.trained.scored(part, name)
        score = float(scores[0])
        if threshold is None:
            return (
                f"The score is {score:.6g} ({name}). The run was not trained with task=anomaly, so it has no "
                "threshold, and no score is an alarm."
            )
        row = self.trained.verdicts(scores, threshold).iloc[0]
        told = "Alarm" if bool(row["alarm"]) else "No alarm"
        than = "above" if bool(row["alarm"]) else "not above"
        chance = f" Of normal examples, {row['p_value']:.2%} score at least as high." if "p_value" in row else ""
        return f"{told}: the score {score:.6g} ({name}) is {than} the threshold {threshold.value:.6g}.{chance}"

    def _columns(self, part: Any, name: str) -> pd.DataFrame:
        parts = self.trained.explained(part, name).drop(columns="because").iloc[0].astype(float)
        positive = parts.clip(lower=0).replace(np.inf, np.finfo(float).max).fillna(0)
        shares = positive / (positive.sum() or 1)
        order = np.argsort(-shares.to_numpy(), kind="stable")
        return pd.DataFrame({
            "column": [str(parts.index[place]) for place in order],
            "share of the score": [f"{shares.iloc[place]:.0%}" for place in order],
            "adds": [f"{parts.iloc[place]:.4g}" for place in order],
        })  # fmt: skip

    def between(self, first: Tensor, second: Tensor, steps: int, along_circle: bool = False) -> Tensor:
        """Interpolate between the codes of two examples `(1, *shape)`, and decode.

        Args:
            first: the first example.
            second: the second example.
            steps: the number of codes, including both ends.
            along_circle: whether to interpolate spherically; else linearly.

        Returns:
            The decoded examples, `(steps, *shape)`.
        """
        ends = [self.trained.codes(self.trained.part(one))[0] for one in (first, second)]
        shares = torch.linspace(0, 1, int(steps))
        codes = (spherical if along_circle else linear)(ends[0], ends[1], shares)
        values: Tensor = self.trained.decode(codes)
        return values


def _rounded(number: float, otherwise: float) -> float:
    """Round to one significant digit; `otherwise` if the result is 0."""
    return float(f"{number:.1g}") or otherwise
