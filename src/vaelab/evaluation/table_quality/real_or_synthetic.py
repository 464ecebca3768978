"""Whether a classifier tells generated rows from real ones (a classifier two-sample test)."""

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from vaelab.evaluation.table_quality.boosting import classifier, inputs, rows_learned
from vaelab.evaluation.table_quality.rows import Rows

FOLDS, FEWEST = 5, 10  # rows of each kind below which nothing is measured


def real_or_synthetic_auroc(real: Rows, generated: Rows) -> float | None:
    """AUROC of gradient-boosted trees that tell the two apart, each row by trees that did not see it.

    Lopez-Paz and Oquab (2017), with AUROC in place of accuracy. 0.5 says that they cannot be told apart, 1 that every
    row can. With few rows chance alone may take it some hundredths below or above 0.5.

    Args:
        real, generated: of the same columns; as many of each are taken. Of more real rows some are drawn, since files
            often come sorted; of more generated ones the first.

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
