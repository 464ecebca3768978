"""Whether single latent variables stand for single factors of variation: MIG, DCI, SAP and the FactorVAE score.

All functions take codes `(N, D)` and factors `(N, F)` of the same examples. A column of codes is one latent variable.
A column of factors has integers from 0, with at least two different values. No score depends on the order, sign or
scale of the latent variables, except for rounding at the edges of bins and randomness in forests.

Scores that need fitting are fitted to `train` and measured on `test`, which contains other examples.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

Floats = NDArray[np.floating]
Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]
LEAF = 3  # minimum number of train examples in a leaf of a forest
LEAST_SPREAD = 1e-6  # relative to the widest latent variable; smaller variation is treated as rounding


class Coded(NamedTuple):
    """Codes of examples, and their true factors."""

    codes: Floats  # (N, D)
    factors: Counts  # (N, F)


class Importance(NamedTuple):
    """Importance of the latent variables in a forest for each factor."""

    importance: Numbers  # (D, F), nonnegative; each column sums to 1, or to 0 if the forest found nothing
    accuracy: Numbers  # (F,), share of test examples whose value is predicted correctly


# Mutual information gap


def binned(codes: Floats, bins: int) -> Counts:
    """Discretise each latent variable into `bins` bins of equal width, from its smallest to its largest value.

    Args:
        codes: `(N, D)`.
        bins: at least 1.

    Returns:
        `(N, D)`, from 0 to `bins - 1`; 0 for a constant variable.
    """
    low = codes.min(0).astype(np.float64)
    width = codes.max(0) - low
    share = (codes - low) / np.where(width > 0, width, 1)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def entropies(factors: Counts) -> Numbers:
    """H(v_k) of each factor in nats, `(F,)`, from its counts."""
    return np.array([_entropy(np.bincount(column)) for column in factors.T])


def mutual_information(codes: Floats, factors: Counts, bins: int) -> Numbers:
    """I(z_d; v_k) in nats, `(D, F)`, from the joint counts of binned codes and factors.

    Counts of N examples overestimate it by about (bins - 1) (values - 1) / (2 N) nats (Miller, 1955).
    """
    found = np.empty((codes.shape[1], factors.shape[1]))
    for d, code in enumerate(binned(codes, bins).T):
        for k, factor in enumerate(factors.T):
            values = int(factor.max()) + 1
            joint = np.bincount(code * values + factor, minlength=bins * values).reshape(bins, values)
            found[d, k] = _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint.ravel())
    return found.clip(min=0)


def mutual_information_gaps(information: Numbers, entropy: Numbers) -> Numbers:
    """The mutual information gap of each factor (Chen et al., 2018, equation 6, before the mean over factors).

    (I(z_a; v_k) - I(z_b; v_k)) / H(v_k), where a and b are the variables with the most information on the factor. The
    paper uses draws of q(z|x); with posterior means it is the estimate of Locatello et al. (2019).

    Args:
        information: `(D, F)` nats. With one latent variable, b has no information.
        entropy: `(F,)` nats, above 0.

    Returns:
        `(F,)`, from 0 to 1.
    """
    ordered = np.sort(np.vstack([information, np.zeros(information.shape[1])]), axis=0)[::-1]
    return ((ordered[0] - ordered[1]) / entropy).clip(0, 1)


def _entropy(counts: Counts) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


# Disentanglement, completeness, informativeness


def importance_of_variables(train: Coded, test: Coded, trees: int, seed: int = 0) -> Importance:
    """A random forest for each factor, as in section 4 of Eastwood and Williams (2018).

    Every split may use any latent variable (`max_features=None`). Otherwise splits would have to use variables without
    information, which would then seem important. Importance is the mean decrease of the Gini impurity.

    Args:
        train: forests are fitted to it.
        test: their accuracy is measured on it.
        trees: number of trees of each forest.
        seed: of the forests.
    """
    importance, accuracy = [], []
    for known, asked in zip(train.factors.T, test.factors.T, strict=True):
        forest = RandomForestClassifier(trees, max_features=None, min_samples_leaf=LEAF, random_state=seed)
        forest.fit(train.codes, known)
        importance.append(forest.feature_importances_)
        accuracy.append(float((forest.predict(test.codes) == asked).mean()))
    return Importance(np.stack(importance, axis=1), np.array(accuracy))


def disentanglement(importance: Numbers) -> float:
    """D of Eastwood and Williams (2018, section 2): whether a latent variable is important for one factor only.

    D_i = 1 - H_F(P_i) with P_ij = R_ij / sum_k R_ik and logarithms to base F. The mean over variables weights each by
    its share of the total importance.

    Args:
        importance: R, `(D, F)`, nonnegative.

    Returns:
        From 0 to 1; 0 if all importances are 0.
    """
    weight = importance.sum(1)
    return float((weight * _concentration(importance)).sum() / weight.sum()) if weight.sum() else 0.0


def completeness(importance: Numbers) -> Numbers:
    """C_j of Eastwood and Williams (2018, section 2): whether only one latent variable is important for a factor.

    Args:
        importance: R, `(D, F)`, nonnegative.

    Returns:
        `(F,)`, from 0 to 1; 0 for a factor whose importances are all 0.
    """
    return _concentration(importance.T)


def _concentration(rows: Numbers) -> Numbers:
    """1 - the entropy of each row, normalised to shares, to the base of its length; 1 for length 1, 0 for zeros."""
    total = rows.sum(1, keepdims=True)
    share = rows / np.where(total > 0, total, 1)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(1)
    base = np.log(rows.shape[1]) or 1.0
    return np.where(total[:, 0] > 0, (1 - entropy / base).clip(0, 1), 0.0)


# Separated attribute predictability


def predictability(train: Coded, test: Coded, seed: int = 0) -> Numbers:
    """How well each latent variable alone predicts each factor (Kumar et al., 2018, section 3).

    The prediction uses thresholds on the variable, one fewer than the factor has values. A decision tree finds them,
    with equal weight for each value of the factor. The score is the balanced accuracy.

    Args:
        train: thresholds are fitted to it.
        test: the accuracy is measured on it.
        seed: of the trees.

    Returns:
        `(D, F)`, from 0 to 1; a variable without information has 1 over the number of values.
    """
    found = np.empty((train.codes.shape[1], train.factors.shape[1]))
    for k, (known, asked) in enumerate(zip(train.factors.T, test.factors.T, strict=True)):
        leaves = max(2, len(np.unique(known)))
        for d in range(len(found)):
            tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=seed)
            right = tree.fit(train.codes[:, [d]], known).predict(test.codes[:, [d]]) == asked
            found[d, k] = np.mean([right[asked == value].mean() for value in np.unique(asked)])
    return found


def separations(accuracy: Numbers) -> Numbers:
    """SAP of each factor: predictability of the best variable minus that of the second best (Kumar et al., 2018).

    Args:
        accuracy: `(D, F)`. With one latent variable, the second score is 0.

    Returns:
        `(F,)`, from 0 to 1. With precise accuracies it is at most 1 - 1 / (number of values of the factor).
    """
    ordered = np.sort(np.vstack([accuracy, np.zeros(accuracy.shape[1])]), axis=0)[::-1]
    return ordered[0] - ordered[1]


# FactorVAE score


def factor_vae_score(train: Coded, test: Coded, votes: int, examples: int, seed: int = 0) -> float:
    """Accuracy of a majority vote for the fixed factor (Kim and Mnih, 2018, section 4).

    For each vote, `examples` examples share the value of one factor, drawn at random. The vote is the latent variable
    with the smallest variance among them, relative to its variance in all of train. A variable predicts the factor that
    was fixed in most of its train votes, and the accuracy is measured on votes of test examples. The paper leaves out
    variables that have collapsed to the prior. Here only constant variables are left out, since a code without a prior
    has no collapsed variables.

    Args:
        train, test: the examples of votes.
        votes: number of votes from each.
        examples: L, examples of a vote, drawn with replacement.
        seed: of the draws.

    Returns:
        From 0 to 1; a code without information has about 1 / F.
    """
    variance = train.codes.var(0, dtype=np.float64)
    generator = np.random.default_rng(seed)
    size = (train.codes.shape[1], train.factors.shape[1])
    table = _votes(train, variance, votes, examples, generator, size)
    asked = _votes(test, variance, votes, examples, generator, size)
    return float(asked[np.arange(size[0]), table.argmax(1)].sum() / votes)


def _votes(
    coded: Coded, variance: Numbers, votes: int, examples: int, generator: np.random.Generator, size: tuple[int, int]
) -> Counts:
    """How often each latent variable had the smallest variance while each factor was fixed, `(D, F)`."""
    varies = np.sqrt(variance) > LEAST_SPREAD * np.sqrt(variance.max())
    sharing = [{value: np.flatnonzero(column == value) for value in np.unique(column)} for column in coded.factors.T]
    table = np.zeros(size, np.int64)
    for _ in range(votes):
        factor = int(generator.integers(size[1]))
        value = coded.factors[generator.integers(len(coded.factors)), factor]
        rows = generator.choice(sharing[factor][value], examples)
        within = coded.codes[rows].var(0, dtype=np.float64)
        relative = np.divide(within, variance, out=np.full(size[0], np.inf), where=varies)
        table[relative.argmin(), factor] += 1
    return table
