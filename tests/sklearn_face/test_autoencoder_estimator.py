"""vaelab as a scikit-learn estimator."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaelab.sklearn import Autoencoder


@pytest.mark.long
@parametrize_with_checks([Autoencoder(latent_dim=1, max_steps=20, device="cpu")])
def test_scikit_learn_finds_an_estimator(estimator: Autoencoder, check: Any) -> None:
    check(estimator)
