"""Train on synthetic, test on real (TSTR): the score on real rows of a model trained on generated rows.

Esteban, Hyland and Raetsch (2017). One column is the target, and gradient-boosted trees predict it from all others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaelab.evaluation.ahead import interval_of_score
from vaelab.evaluation.scores.ranking import auroc
from vaelab.evaluation.table_quality.boosting import classifier, inputs, regressor, rows_learned
from vaelab.evaluation.table_quality.rows import Rows, Values

MOST_CLASSES = 101  # of a target: the default maximum of categories, and "(other)"
FEW_CLASSES = 20  # maximum of a categorical column that is chosen as target if none is named
FEWEST = 10  # minimum number of training rows, and of test rows, with a target
CHANCE = {True: 0.5, False: 0.0}  # AUROC for classes, and R^2 for numbers
CLEAR = {True: 0.6, False: 0.1}  # minimum score of trees trained on real rows for a meaningful ratio
Weights = NDArray[np.int64]


@dataclass(frozen=True)
class Exam:
    """Real rows with a target, on which predictions are evaluated.

    Attributes:
        target: index of the column that is predicted.
        rows: rows with an observed target; for classes only those that are evaluated.
        classes: indices of the categories that are evaluated; empty for a numeric target.
    """

    target: int
    rows: Rows
    classes: tuple[int, ...]

    @property
    def truth(self) -> Values:
        """`(N,)` values of the target."""
        return self.rows.values[:, self.target]

    @property
    def strata(self) -> NDArray[np.int64]:
        """`(N,)`: rows with the same number are resampled among themselves."""
        return np.unique(self.truth, return_inverse=True)[1] if self.classes else np.zeros(len(self.rows), np.int64)

    def predicted(self, learned_from: Rows) -> Values:
        """Predictions of trees trained on other rows, `(N, K)`: probabilities of `classes`, or `(N, 1)` numbers.

        A class that those rows lack has probability 0 everywhere, and so the AUROC of chance.
        """
        known = learned_from.chosen(~np.isnan(learned_from.values[:, self.target]))
        known = known.chosen(slice(rows_learned(len(known.columns))))
        columns = tuple(column for place, column in enumerate(known.columns) if place != self.target)
        x, y = np.delete(known.values, self.target, 1), known.values[:, self.target]
        asked = np.delete(self.rows.values, self.target, 1)
        if not self.classes:
            if not len(y) or (y == y[0]).all():
                return np.full((len(asked), 1), y[0] if len(y) else 0.0)
            trees = regressor(columns, len(x)).fit(inputs(columns, x), y)
            return np.asarray(trees.predict(asked)).reshape(-1, 1)
        found = np.zeros((len(asked), len(self.classes)))
        seen = np.unique(y)
        if len(seen) < 2 or not columns:
            return found
        trees = classifier(columns, len(x), len(seen)).fit(inputs(columns, x), y)
        chances = trees.predict_proba(asked)
        for place, number in enumerate(self.classes):
            if len(at := np.flatnonzero(trees.classes_ == number)):
                found[:, place] = chances[:, at[0]]
        return found


def find_target(train: Rows) -> int | None:
    """The column that is predicted if none is named: the last one with few categories, or else the last numeric one.

    Columns with only one value are skipped.

    Args:
        train: real rows.
    """
    varied = []
    for place, column in enumerate(train.columns):
        distinct = len(np.unique(train.values[:, place][~np.isnan(train.values[:, place])]))
        if distinct > 1 and (column.kind == "number" or distinct <= FEW_CLASSES):
            varied.append(place)
    categories = [place for place in varied if train.columns[place].kind == "category"]
    found = categories or varied
    return found[-1] if found else None


def exam_of(target: int, train: Rows | None, test: Rows) -> Exam | str:
    """The prediction problem for a column, or the reason why there is none.

    Args:
        target: index of the column.
        train: real rows, whose classes are those that could be learned; None if there are none.
        test: real rows.
    """
    column, name = test.columns[target], test.columns[target].name
    if len(test.columns) < 2:
        return "there is no column besides the target"
    known = test.chosen(~np.isnan(test.values[:, target]))
    if len(known) < FEWEST:
        return f"{len(known)} test rows with a value of {name} are too few"
    if train is not None and (taught := int((~np.isnan(train.values[:, target])).sum())) < FEWEST:
        return f"{taught} train rows with a value of {name} are too few"
    if column.kind == "number":
        if (known.values[:, target] == known.values[0, target]).all():
            return f"{name} has only one value in the test split"
        return Exam(target, known, ())
    if len(column.categories) > MOST_CLASSES:
        return f"{name} has more than {MOST_CLASSES} categories"
    classes = np.unique(known.values[:, target])
    if train is not None:
        classes = classes[np.isin(classes, train.values[:, target])]
    if len(classes) < 2:
        return f"{name} has fewer than two classes that occur in both train and test"
    known = known.chosen(np.isin(known.values[:, target], classes))
    return Exam(target, known, tuple(int(number) for number in classes))


@dataclass(frozen=True)
class Score:
    """The quality of predictions: macro one-vs-rest AUROC for classes, R^2 for numbers.

    AUROC needs no threshold, and the mean over classes gives rare and common classes the same weight, so the score does
    not depend on their frequencies.

    Attributes:
        exam: the prediction problem.
        predicted: of one or several learners, `(N, K)` each; the score is the mean over learners.
    """

    exam: Exam
    predicted: Sequence[Values]

    @cached_property
    def value(self) -> float:
        """The score of all rows."""
        return self._mean(np.ones(len(self.exam.rows), np.int64), range(len(self.predicted)))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The ends of its 95 % interval, by a bootstrap of the rows."""
        return interval_of_score(self, self.exam.strata)

    @property
    def near_chance(self) -> str:
        """The reason why the score may be due to chance, in words; empty if it is clearly better.

        It is clearly better if it reaches `CLEAR` and its interval lies above chance: on a few rows a score of .65 may
        be due to chance, and the ratio of two scores near .5 is always near 1.
        """
        chance, clear = CHANCE[bool(self.exam.classes)], CLEAR[bool(self.exam.classes)]
        if self.value < clear:
            return f"a score of {self.value:.3f}, below {clear:g}, where {chance:g} is chance"
        if self.interval[0] <= chance:
            low = self.interval[0]
            return f"a score of {self.value:.3f} with a 95 % interval from {low:.3f}, which contains {chance:g}"
        return ""

    def at(self, weights: Weights, generator: np.random.Generator) -> float:
        """The score with each row repeated `weights: (N,)` times and learners resampled too, for a bootstrap."""
        return self._mean(weights, generator.integers(len(self.predicted), size=len(self.predicted)).tolist())

    def _mean(self, weights: Weights, learners: Iterable[int]) -> float:
        if not self.exam.classes:
            return float(np.mean([self._r_squared(self.predicted[place][:, 0], weights) for place in learners]))
        of = [self._auroc(grouped, weights) for place in learners for grouped in self._grouped[place]]
        return float(np.mean(of))

    @cached_property
    def _grouped(self) -> list[list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]]:
        """For each learner and class, the rank of each row among distinct scores, the largest first."""
        found: list[list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]] = []
        two = len(self.exam.classes) == 2  # then each class is the rest of the other, and one AUROC is sufficient
        for each in self.predicted:
            found.append([])
            for place, number in enumerate(self.exam.classes[1:] if two else self.exam.classes):
                score = each[:, 1] - each[:, 0] if two else each[:, place]
                distinct, group = np.unique(-score, return_inverse=True)
                found[-1].append((group, self.exam.truth == number, len(distinct)))
        return found

    def _auroc(self, grouped: tuple[NDArray[np.int64], NDArray[np.bool_], int], weights: Weights) -> float:
        group, right, size = grouped
        counts = [np.bincount(group[kind], weights[kind], size) for kind in (~right, right)]
        return auroc(*(each.astype(np.int64) for each in counts))

    def _r_squared(self, predicted: Values, weights: Weights) -> float:
        truth = self.exam.truth
        spread = float((weights * (truth - np.average(truth, weights=weights)) ** 2).sum())
        return 1 - float((weights * (truth - predicted) ** 2).sum()) / max(spread, 1e-300)
