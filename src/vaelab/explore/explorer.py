"""What the page computes, without the page."""

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

MOST_SLIDERS, TRIED = 12, 256  # numbers of a code that are shown, and that are tried in order to find them
DRAWN = 512  # codes that say how far sliders go
LARGEST = 20 * 2**20  # bytes of an upload
NEIGHBOURS = 6


@dataclass(frozen=True)
class Slider:
    """A number of the code.

    Attributes:
        place: in the flat code.
        low, high: how far it goes; 0 lies between them.
    """

    place: int
    low: float
    high: float


@dataclass(frozen=True)
class Example:
    """One example of an upload.

    Attributes:
        values: `(1, *shape)` as the model sees it.
        name: where it comes from.
        count: of examples in the file.
    """

    values: Tensor
    name: str
    count: int


@dataclass(frozen=True)
class Findings:
    """What a model says of an example.

    Attributes:
        again: `(1, *shape)` its reconstruction, or its likeliest original.
        verdict: the score, and what it means, in a sentence or two.
        places: of images and series, a picture of the places that are unusual; else None.
        columns: of tables, a DataFrame with what each column adds to the score, the largest first; else None.
        neighbours: places in the corpus of the nearest examples, each with its distance; empty without files.
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
        no_samples: why the model draws no samples; None where it does.
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
        """`(size,)` the code that sliders begin with, and return to."""
        return torch.zeros(self.trained.latent_dim, dtype=self.trained.model.dtype)

    def _sliders(self) -> list[Slider]:
        """By the effect of each number; how far each goes is three standard deviations of codes of the prior.

        A number of a discrete code goes as far as its smallest and largest value.
        A model without a prior takes the codes of the files; without files each number goes from -3 to 3.
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
        """A code `(size,)` with the numbers of the sliders in their places."""
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
            UserError: a number is out of its range, or the model has no such label, or no prior.
        """
        return self.trained.sampled(int(count), float(temperature), label, int(seed))

    def example(self, file: str | Path | None, number: int = 1) -> Example:
        """One example of an upload.

        Args:
            file: its path; None if nothing was uploaded.
            number: of the example within the file, from 1.

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
        """What a model decodes on the way from one example `(1, *shape)` to another.

        Returns:
            `(steps, *shape)`, the ends included.
        """
        ends = [self.trained.codes(self.trained.part(one))[0] for one in (first, second)]
        shares = torch.linspace(0, 1, int(steps))
        codes = (spherical if along_circle else linear)(ends[0], ends[1], shares)
        values: Tensor = self.trained.decode(codes)
        return values


def _rounded(number: float, otherwise: float) -> float:
    """With one digit, so that a slider ends at a plain number."""
    return float(f"{number:.1g}") or otherwise
