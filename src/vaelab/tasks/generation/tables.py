"""Metrics of generated table rows: usefulness for training (`tstr`), distances from real rows, and baselines."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vaelab.data.missing import MissingPatterns
from vaelab.data.tables.table import Table
from vaelab.evaluation.ahead import AHEAD, ahead_in_score, ratio_of_scores
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.gaussian_copula import GaussianCopula
from vaelab.evaluation.baselines.limits import rows_used
from vaelab.evaluation.sources import Source, generate
from vaelab.evaluation.table_quality.associations import (
    MOST_COLUMNS,
    association_difference,
    associations,
    correlation_distance,
)
from vaelab.evaluation.table_quality.boosting import rows_learned
from vaelab.evaluation.table_quality.marginals import ColumnDistance, column_distances, to_csv
from vaelab.evaluation.table_quality.real_or_synthetic import FEWEST, FOLDS, real_or_synthetic_auroc
from vaelab.evaluation.table_quality.rows import Rows, as_written, decoded
from vaelab.evaluation.table_quality.usefulness import Exam, Score, exam_of, find_target
from vaelab.figures.tables import ColumnPanel, association_matrices, column_panels
from vaelab.tasks.task import NO_TRAIN, Baseline, Findings, Say

FORMAT = 2  # version of the cached numbers; raise it when the same data give other numbers
SETS = 5  # sets of generated rows that trees are trained on, since the score of one small set depends on chance
SHOWN = 8  # columns in a figure

Draw = Callable[[int, int], Rows]  # (number of rows, seed) to rows


@dataclass(frozen=True)
class TableQuality:
    """Compares rows with the test split of a table.

    Args:
        data: the table.
        target: name of the column that trees predict; None for the label, or else a column chosen by `find_target`.
        given: whether the model is conditional, so that rows include the given labels.
        count: number of real and of generated rows that distances compare.
        baselines: cache of baseline numbers.
    """

    data: Table
    target: str | None
    given: bool
    count: int
    baselines: BaselineCache

    def real(self, split: str, count: int | None = None) -> Rows:
        """Rows of a split. At most `count`: of train the first ones (its order is random), of test a seeded subset."""
        size = len(self.data.split[split])
        places = torch.arange(size)
        if count is not None and count < size:
            order = torch.randperm(size, generator=torch.Generator().manual_seed(0))
            places = places[:count] if split == "train" else order[:count]
        labels = self.data.labels_for_measuring(split)[places] if self.given else None
        return decoded(self.data, self.data.clean(split, places), labels)

    @property
    def untold_label(self) -> str | None:
        """The label, if it is a column of the rows but no test row has a value for it, as in a file to be predicted."""
        told = bool((self.data.labels("test") >= 0).any())
        return self.data.label if not told and (self.given or self.data.label_is_input) else None

    def compared(self, rows: Rows) -> Rows:
        """The rows without the label column, if no test row has a label.

        Such a column would separate all generated rows from real ones.

        Rows that consist of the label alone are returned unchanged.
        """
        places = [place for place, column in enumerate(rows.columns) if column.name != self.untold_label]
        if not places or len(places) == len(rows.columns):
            return rows
        return Rows(tuple(rows.columns[place] for place in places), rows.values[:, places])

    def gaps(self, seed: int = 0) -> MissingPatterns:
        """Missing patterns for generated rows, taken from train, or from the test split for data not trained on."""
        return MissingPatterns(self.data, seed, "test" if self.data.all_as_test else "train")

    def generated(self, source: Source) -> Draw:
        """Draws rows from a model. Each gets the missing values of a real row drawn at random."""

        def draw(count: int, seed: int) -> Rows:
            gaps = self.gaps(seed)
            codes, labels = source.draw(count, seed)
            values = torch.cat([gaps.over(part).cpu() for part in generate(source.model, codes, labels)])
            return decoded(self.data, values, labels, generated=True)

        return draw

    def copula(self) -> Draw:
        """Draws rows from a Gaussian copula fitted to train, with missing values and units as those of a model."""
        train = self.real("train", self.most)
        fitted = GaussianCopula.fit(train)

        def draw(count: int, seed: int) -> Rows:
            rows = fitted.sample(count, seed)
            generator = np.random.default_rng(seed)
            gaps = np.isnan(train.values[generator.integers(len(train), size=count)])
            return as_written(self.data, Rows(rows.columns, np.where(gaps, np.nan, rows.values)))

        return draw

    @property
    def learned(self) -> int:
        """Number of rows that trees are trained on: the size of train, or of the test split for data not trained on."""
        size = len(self.data.split["test" if self.data.all_as_test else "train"])
        return min(size, self.most)

    def exam(self) -> Exam | str:
        """The prediction problem that `tstr` is measured on, or the reason why there is none."""
        test = self.real("test", self.most)
        train = None if self.data.all_as_test else self.real("train", self.learned)
        names = [column.name for column in test.columns]
        named = self.target if self.target is not None else self.data.label if self.data.label in names else None
        place = names.index(named) if named is not None else find_target(train or test)
        if place is None:
            return "every column has only one value, or more categories than a target may have"
        return exam_of(place, train, test)

    def score(self, exam: Exam, draw: Draw) -> Score:
        """The score of trees trained on drawn rows."""
        return Score(exam, [exam.predicted(draw(self.learned, seed)) for seed in range(SETS)])

    def taught_by_train(self, exam: Exam) -> Score:
        """The score of trees trained on real rows."""
        return Score(exam, [exam.predicted(self.real("train", self.learned))])

    def judged(self, score: Score, taught: Score | None) -> tuple[dict[str, float], dict[str, Any]]:
        """`tstr`, and `tstr_ratio` if trees trained on real rows (`taught`) have a score; and their metadata."""
        numbers, exam = {"tstr": score.value}, score.exam
        about: dict[str, Any] = {
            "tstr": self._about_exam(exam) | {"learned from": f"{self.learned:,} generated rows, mean of {SETS} sets"}
        }
        if taught is None:
            return numbers, about | {"tstr_ratio": NO_TRAIN}
        if near := taught.near_chance:
            reason = f"trees trained on real rows are hardly better than chance: {near}"
            return numbers, about | {"tstr_ratio": {"not measured": reason}}
        numbers["tstr_ratio"] = score.value / taught.value
        about["tstr_ratio"] = {"ratio": "tstr over trtr"} | ratio_of_scores(score, taught, exam.strata)
        about["tstr"] |= {f"against trtr, {key}": value for key, value in self._behind(score, taught).items()}
        return numbers, about

    @staticmethod
    def _behind(score: Score, taught: Score) -> dict[str, Any]:
        found = ahead_in_score(score, taught, score.exam.strata)
        return {key: found[key] for key in (AHEAD, "at least", "at most")}

    def about_trtr(self, taught: Score) -> dict[str, Any]:
        """Metadata of `trtr`, with its interval."""
        size = len(self.data.split["train"])
        about = self._about_exam(taught.exam) | {"learned from": rows_used(self.learned, size, "train")}
        low, high = taught.interval
        return about | {"at least": float(f"{low:.4g}"), "at most": float(f"{high:.4g}")}

    def told(self, exam: Exam) -> str:
        """One line for people that says which column is predicted."""
        about = self._about_exam(exam)
        return (
            f"tstr: trees predict the column {about['target']} ({about['score']}); task.target=<column> names another"
        )

    def _about_exam(self, exam: Exam) -> dict[str, Any]:
        column = exam.rows.columns[exam.target]
        kind = f"macro one-vs-rest AUROC of {len(exam.classes)} classes" if exam.classes else "R^2"
        return {"target": column.name, "score": kind, "tested on": f"{len(exam.rows):,} real test rows"}

    def about(self, rows: Rows, test: Rows, numbers: Mapping[str, float]) -> dict[str, Any]:
        """Metadata of the distances, or the reasons why they are not measured."""
        both = {"real": f"{len(test):,} of {len(self.data.split['test']):,} test rows", "generated": f"{len(rows):,}"}
        if (gaps := self.gaps()).any:
            both["missing"] = gaps.about
        if self.untold_label is not None:
            both["left out"] = f"the label {self.untold_label}, which has no value in any test row"
        columns = len(test.columns)
        facts: dict[str, Any] = {
            "marginal_distance": {"distance": "Kolmogorov-Smirnov of numbers, total variation of categories"} | both,
            "correlation_distance": {
                "associations": "Spearman of numbers, Cramer's V of categories, correlation ratio of one of each",
                "columns": f"the first {MOST_COLUMNS} of {columns}" if columns > MOST_COLUMNS else f"all {columns}",
            }
            | both,
            "real_or_synthetic_auroc": {"classifier": f"gradient-boosted trees, {FOLDS} folds", "perfect": 0.5} | both,
        }
        missing = {
            "correlation_distance": "no two columns of the test split have an association",
            "real_or_synthetic_auroc": f"fewer than {FEWEST} rows of each kind",
        }
        return {name: about if name in numbers else {"not measured": missing[name]} for name, about in facts.items()}

    @property
    def most(self) -> int:
        """Maximum number of rows that a method is given."""
        return rows_learned(len(self.data.spec.columns))

    def distances(self, rows: Rows, test: Rows) -> tuple[dict[str, float], list[ColumnDistance]]:
        """The distances that can be measured, by name; and the distance of each column."""
        columns = column_distances(test, rows)
        numbers = {"marginal_distance": float(np.mean([one.distance for one in columns]))}
        if (apart := correlation_distance(associations(test), associations(rows))) is not None:
            numbers["correlation_distance"] = apart
        if (auroc := real_or_synthetic_auroc(test, rows)) is not None:
            numbers["real_or_synthetic_auroc"] = auroc
        return numbers, columns


def measure_table(found: Findings, quality: TableQuality, sources: Mapping[str, Source]) -> None:
    """Add the metrics of samples from each source, a file and figures of the last source, and baselines.

    Args:
        found: the findings to add to.
        quality: compares rows with the test split.
        sources: by the suffix of their metric names; the first is the model's own prior.
    """
    data, test, exam = quality.data, quality.compared(quality.real("test", quality.count)), quality.exam()
    taught = None if isinstance(exam, str) or data.all_as_test else quality.taught_by_train(exam)
    shown: tuple[Rows, list[ColumnDistance]] | None = None
    scores: dict[str, Score] = {}
    for suffix, source in sources.items():
        draw = quality.generated(source)
        rows = quality.compared(draw(quality.count, 0))
        numbers, columns = quality.distances(rows, test)
        metadata = quality.about(rows, test, numbers)
        if isinstance(exam, str):
            metadata |= {name: {"not measured": exam} for name in ("tstr", "tstr_ratio")}
        else:
            score = quality.score(exam, draw)
            scores[suffix] = score
            of, metadata_of = quality.judged(score, taught)
            numbers, metadata = numbers | of, metadata | metadata_of
        found.numbers |= {f"test/{name}{suffix}": value for name, value in numbers.items()}
        found.metadata |= {f"test/{name}{suffix}": facts for name, facts in metadata.items()}
        shown = rows, columns
    if taught is not None:
        found.numbers["test/trtr"] = taught.value
    if isinstance(exam, Exam):
        found.notes.append(quality.told(exam))
    unmeasured = {"not measured": exam} if isinstance(exam, str) else NO_TRAIN
    found.metadata["test/trtr"] = unmeasured if taught is None else quality.about_trtr(taught)
    assert shown is not None
    _show(found, data, test, *shown)
    if not data.all_as_test:
        for baseline in beside(quality, exam, scores, taught, test):
            found.add_baseline(baseline)


def _show(found: Findings, data: Table, test: Rows, rows: Rows, columns: list[ColumnDistance]) -> None:
    """The distance of every column as a file, histograms of some columns, and matrices of associations."""
    found.files["column_distances.csv"] = to_csv(columns)
    worst = sorted(range(len(columns)), key=lambda place: -columns[place].distance)[: SHOWN // 2]
    first = [place for place in range(len(columns)) if place not in worst][: SHOWN - len(worst)]
    panels = [
        ColumnPanel(
            test.columns[place].name,
            test.columns[place].categories,
            {"test": test.values[:, place], "samples": rows.values[:, place]},
            columns[place].distance,
            test.columns[place].unit,
        )
        for place in (*worst, *first)
    ]
    found.figures["columns"] = column_panels(
        panels, f"{data.spec.name}: the columns farthest from the test split, then the first columns"
    )
    ours, theirs = associations(test), associations(rows)
    names = [column.name for column in test.columns[: len(ours)]]
    matrices = {"test": ours, "samples": theirs, "difference": association_difference(ours, theirs)}
    if len(names) > 1:
        title = f"{data.spec.name}: associations of columns"
        found.figures["associations"] = association_matrices(matrices, names, title)


def beside(
    quality: TableQuality, exam: Exam | str, scores: Mapping[str, Score], taught: Score | None, test: Rows
) -> list[Baseline]:
    """The baselines: samples of a Gaussian copula, and train rows in place of samples."""
    data, cache = quality.data, quality.baselines
    train = len(data.split["train"])
    # The cache key has the scaled values, which do not depend on the unit; rows are measured in the units of the file.
    encoding = hashlib.sha256(json.dumps(data.format.to_json(), sort_keys=True).encode()).hexdigest()

    def settings() -> dict[str, Any]:
        target = exam.rows.columns[exam.target].name if isinstance(exam, Exam) else None
        return {"format": FORMAT, "count": quality.count, "learned": quality.learned, "target": target, "sets": SETS,
                "given": quality.given, "encoding": encoding}  # fmt: skip

    def distances(rows: Rows) -> dict[str, float]:
        return quality.distances(quality.compared(rows), test)[0]

    def copula(say: Say) -> Findings:
        name, draw = "gaussian_copula", quality.copula()
        numbers = cache.numbers(name, settings(), lambda: distances(draw(quality.count, 0)))
        metadata: dict[str, Any] = {
            f"baseline/{name}": {
                "samples of": "a Gaussian copula: the train distribution of each column, coupled by correlations",
                "fitted to": rows_used(min(train, quality.most), train, "train"),
            }
        }
        if isinstance(exam, Exam):
            drawn = cache.tensor(
                f"{name}_predictions",
                settings(),
                lambda: torch.from_numpy(np.stack(quality.score(exam, draw).predicted)),
            )
            score = Score(exam, list(drawn.numpy()))
            numbers |= {f"baseline/{name}/{key}": value for key, value in quality.judged(score, taught)[0].items()}
            for suffix, own in scores.items():
                metadata[f"baseline/{name}/tstr{suffix}"] = ahead_in_score(own, score, exam.strata)
        return Findings(numbers, metadata=metadata)

    def train_split(say: Say) -> Findings:
        rows = quality.real("train", quality.count)
        numbers = cache.numbers("train_split", settings(), lambda: distances(rows))
        about = {
            "samples of": "the train split: what a perfect sampler would get",
            "samples": rows_used(len(rows), train, "train"),
        }
        if taught is not None:
            numbers["baseline/train_split/tstr"] = taught.value
        return Findings(numbers, metadata={"baseline/train_split/marginal_distance": about})

    return [Baseline("gaussian_copula", copula), Baseline("train_split", train_split)]
