"""All disentanglement scores of one code; used for latents and for baselines."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import sklearn

from vaelab.evaluation.disentanglement import (
    Coded,
    Numbers,
    completeness,
    disentanglement,
    entropies,
    factor_vae_score,
    importance_of_variables,
    mutual_information,
    mutual_information_gaps,
    predictability,
    separations,
)


@dataclass(frozen=True)
class Protocol:
    """Settings of the scores.

    Attributes:
        bins: number of bins of each latent variable, for mutual information.
        trees: number of trees of each forest.
        votes: number of votes from train examples, and as many from test examples.
        vote_examples: number of examples in a vote, which share the value of a factor.
    """

    bins: int
    trees: int
    votes: int
    vote_examples: int

    def to_json(self) -> dict[str, int]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """Scores of one code.

    Attributes:
        numbers: metric name, without its split, to number.
        information: `(D, F)`, mutual information of latent variables and factors, as a share of the factor's entropy.
        importance: `(D, F)`, of latent variables in the forest of each factor; None without train examples.
    """

    numbers: dict[str, float]
    information: Numbers
    importance: Numbers | None


def score(train: Coded | None, test: Coded, names: tuple[str, ...], protocol: Protocol) -> Scores:
    """All scores. Scores that are a mean over factors are also returned for each factor.

    Args:
        train: forests, thresholds and votes are fitted to it; if None, scores that need fitting are left out.
        test: the measured examples.
        names: of the factors, each of which has at least two values among the examples.
        protocol: settings of the scores.
    """
    entropy = entropies(test.factors)
    information = mutual_information(test.codes, test.factors, protocol.bins)
    of_factors = {"mig": mutual_information_gaps(information, entropy)}
    numbers, importance = {}, None
    if train is not None:
        forests = importance_of_variables(train, test, protocol.trees)
        importance = forests.importance
        numbers["dci_disentanglement"] = disentanglement(importance)
        of_factors["dci_completeness"] = completeness(importance)
        of_factors["dci_informativeness"] = forests.accuracy
        of_factors["sap"] = separations(predictability(train, test))
        numbers["factor_vae_score"] = factor_vae_score(train, test, protocol.votes, protocol.vote_examples)
    for metric, each in of_factors.items():
        numbers[metric] = float(each.mean())
        numbers |= {f"{metric}_factor_{name}": float(one) for name, one in zip(names, each, strict=True)}
    return Scores(numbers, information / entropy, importance)


def depends_on(train: Coded | None, test: Coded, protocol: Protocol) -> dict[str, Any]:
    """Metadata of each score, by its name."""
    sizes = np.array([len(np.unique(column)) for column in test.factors.T])
    counts = {"train_examples": 0 if train is None else len(train.codes), "test_examples": len(test.codes)}
    library = {"library": f"scikit-learn {sklearn.__version__}", "random_state": 0}
    about: dict[str, Any] = {
        "mig": {
            "codes": "posterior means",
            "bins": f"{protocol.bins} of equal width",
            "test_examples": len(test.codes),
        }
    }
    if train is None:
        return about
    forests = {"predictor": f"random forests of {protocol.trees} trees", **library, **counts}
    chance = float((1 / sizes).mean())
    return about | {
        "dci_disentanglement": forests,
        "dci_completeness": forests,
        "dci_informativeness": forests | {"guessing gives": round(chance, 4)},
        "sap": {"predictor": "thresholds on one variable", **library, **counts, "at most": round(1 - chance, 4)},
        "factor_vae_score": {
            "votes": protocol.votes,
            "examples of a vote": protocol.vote_examples,
            "guessing gives": round(1 / len(sizes), 4),
            **counts,
        },
    }
