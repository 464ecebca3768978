"""Train on synthetic, test on real: what a model learns from generated rows is worth on real ones.

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

MOST_CLASSES = 101  # of a target: as many as a column has by default, and "(other)"
FEW_CLASSES = 20  # of a column of categories that is taken for the target unless one is named
FEWEST = 10  # rows with a target that trees are learned from, and that they are tested on
CHANCE = {True: 0.5, False: 0.0}  # AUROC of classes, and R^2 of numbers
CLEAR = {True: 0.6, False: 0.1}  # of trees that learned from real rows: no ratio to less says much
Weights = NDArray[np.int64]


@dataclass(frozen=True)
class Exam:
    """Real rows with a target, that predictions are measured on.

    Attributes:
        target: the place of the column that is predicted.
        rows: with a value of it, and of classes only those that are measured.
        classes: places of the categories that are measured; empty where the target is a number.
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
        """`(N,)`: rows of one number are drawn again among themselves."""
        return np.unique(self.truth, return_inverse=True)[1] if self.classes else np.zeros(len(self.rows), np.int64)

    def predicted(self, learned_from: Rows) -> Values:
        """What trees that learned from other rows predict, `(N, K)`: chances of `classes`, or `(N, 1)` numbers.

        A class that those rows lack has the chance 0 everywhere, so that it is told from no other.
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
    """The column that is predicted where none is named: the last one of few categories, or else of numbers.

    Columns that have one value only are passed over.

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
    """What predictions of a column are measured on, or why none can be.

    Args:
        target: its place.
        train: real rows, whose classes are those that could be learned; None where there are none.
        test: real rows.
    """
    column, name = test.columns[target], test.columns[target].name
    if len(test.columns) < 2:
        return "there is no column beside the target"
    known = test.chosen(~np.isnan(test.values[:, target]))
    if len(known) < FEWEST:
        return f"{len(known)} test rows with a value of {name} are too few"
    if train is not None and (taught := int((~np.isnan(train.values[:, target])).sum())) < FEWEST:
        return f"{taught} train rows with a value of {name} are too few"
    if column.kind == "number":
        if (known.values[:, target] == known.values[0, target]).all():
            return f"{name} has one value in the test split"
        return Exam(target, known, ())
    if len(column.categories) > MOST_CLASSES:
        return f"{name} has more than {MOST_CLASSES} categories"
    classes = np.unique(known.values[:, target])
    if train is not None:
        classes = classes[np.isin(classes, train.values[:, target])]
    if len(classes) < 2:
        return f"{name} has fewer than two classes that train and test have both"
    known = known.chosen(np.isin(known.values[:, target], classes))
    return Exam(target, known, tuple(int(number) for number in classes))


@dataclass(frozen=True)
class Score:
    """How good predictions are: macro one-vs-rest AUROC of classes, R^2 of numbers.

    AUROC needs no threshold, and the mean over classes gives a rare class as much weight as a common one, so that
    the score does not depend on how often each occurs.

    Attributes:
        exam: what they are measured on.
        predicted: of one or several learners, `(N, K)` each; the score is the mean of theirs.
    """

    exam: Exam
    predicted: Sequence[Values]

    @cached_property
    def value(self) -> float:
        """On all rows."""
        return self._mean(np.ones(len(self.exam.rows), np.int64), range(len(self.predicted)))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The ends of its 95 % interval, by a bootstrap of the rows."""
        return interval_of_score(self, self.exam.strata)

    @property
    def near_chance(self) -> str:
        """Why it may be that of chance, in words; empty if it is clearly better.

        It is if it reaches `CLEAR`, and its interval lies above chance: on a few rows .65 may come by chance, and the
        ratio of two scores near .5 is near 1 whatever they are.
        """
        chance, clear = CHANCE[bool(self.exam.classes)], CLEAR[bool(self.exam.classes)]
        if self.value < clear:
            return f"a score of {self.value:.3f}, below {clear:g}, where {chance:g} is chance"
        if self.interval[0] <= chance:
            return (
                f"a score of {self.value:.3f} with a 95 % interval from {self.interval[0]:.3f}, which holds {chance:g}"
            )
        return ""

    def at(self, weights: Weights, generator: np.random.Generator) -> float:
        """Where each row counts so many times, `(N,)`, and learners are drawn again, as in a resample."""
        return self._mean(weights, generator.integers(len(self.predicted), size=len(self.predicted)).tolist())

    def _mean(self, weights: Weights, learners: Iterable[int]) -> float:
        if not self.exam.classes:
            return float(np.mean([self._r_squared(self.predicted[place][:, 0], weights) for place in learners]))
        of = [self._auroc(grouped, weights) for place in learners for grouped in self._grouped[place]]
        return float(np.mean(of))

    @cached_property
    def _grouped(self) -> list[list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]]:
        """Of each learner and class the place of each row among distinct scores, the largest first."""
        found: list[list[tuple[NDArray[np.int64], NDArray[np.bool_], int]]] = []
        two = len(self.exam.classes) == 2  # where the two are each other's rest, and one AUROC says all
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
