"""Golden losses: a change that claims to change nothing must give these numbers.

Each is the train loss of the second epoch of a short run on the digits, as first recorded. Another
processor sums in another order; the tolerance allows for that and for nothing else.
"""

from typing import Any

import pytest

from vaelab.record.curves import read_curves

TOLERANCE = 2e-4
GOLDEN = {
    "task=generation": 108.43867,
    "task=compression model=ae encoder=conv": 1.7839968,
    "task=denoising model=contractive_ae latent_dim=4": 3.2149174,
    "model=iwae likelihood=bernoulli likelihood.binarize=dynamic": 27.201822,
    "model=sigma_vae encoder=resnet encoder.widths=[8,16] decoder.widths=[8,16]": 11.595369,
    "model=capacity_vae likelihood=continuous_bernoulli encoder=conv decoder=mlp scheduler=cosine": -83.946007,
}


@pytest.mark.parametrize("experiment", GOLDEN)
def test_golden_loss(experiment: str, train: Any) -> None:
    settings = ("trainer.max_epochs=2", "trainer=cpu", "trainer.precision=32-true", "test=false", "callbacks=none")
    folder = train(*settings, *experiment.split())
    loss = read_curves(folder / "metrics.csv")["train/loss"][-1][1]
    assert loss == pytest.approx(GOLDEN[experiment], rel=TOLERANCE)
