"""Whether a classifier can distinguish generated rows from real ones (a classifier two-sample test)."""

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from vaelab.evaluation.table_quality.boosting import classifier, inputs, rows_learned
from vaelab.evaluation.table_quality.rows import Rows

FOLDS, FEWEST = 5, 10  # folds, and minimum number of rows of each kind


def real_or_synthetic_auroc(real: Rows, generated: Rows) -> float | None:
    """AUROC of gradient-boosted trees that classify real against generated rows, with cross-validation.

    Lopez-Paz and Oquab (2017), with AUROC in place of accuracy. 0.5 means that they cannot be distinguished, 1 that
    every row can. With few rows it can deviate from 0.5 by some hundredths by chance.

    Args:
        real, generated: rows with the same columns; the same number of each is used. Real rows are drawn at random,
            since files are often sorted; generated ones are taken from the start.

    Returns:
        The mean over five folds; None with fewer than 10 rows of each.
    """
    count = min(len(real), len(generated), rows_learned(len(real.columns)) // 2)
    if count < FEWEST:
        return None
    places = np.arange(count) if count == len(real) else np.random.default_rng(0).permutation(len(real))[:count]
    values = np.concatenate([real.values[places], generated.values[:count]])
    truth = np.repeat([True, False], count)
    scores = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(values, truth):
        trees = classifier(real.columns, len(train))
        trees.fit(inputs(real.columns, values[train]), truth[train])
        scores.append(roc_auc_score(truth[test], trees.predict_proba(values[test])[:, 1]))
    return float(np.mean(scores))
