"""Rows that are sums of known directions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaelab.corruptions import Identity
from vaelab.data.tables.dictionary import Dictionary
from vaelab.errors import ConfigError
from vaelab.tasks.disentanglement.directions import scores


def made(**chosen: Any) -> Dictionary:
    settings: dict[str, Any] = {
        "examples": 400, "features": 24, "dimensions": 12, "active": 3, "noise": 0.0, "corruption": Identity(),
        "batch_size": 32, "val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0, "seed": 0,
    }  # fmt: skip
    data = Dictionary(**settings | chosen)
    data.setup()
    return data


def test_rows_are_sums_of_a_few_directions_and_the_same_each_time() -> None:
    data = made(active=1)
    rows = data.clean("train", torch.arange(50)).double()
    # A single direction is left of a row when what is added to all rows is taken away: the mean that scaling took.
    nothing = torch.from_numpy(data.format.encode(np.zeros((1, 12))))
    cosines = torch.nn.functional.normalize(rows - nothing, dim=1) @ data.directions.T
    torch.testing.assert_close(cosines.max(1).values, torch.ones(50, dtype=torch.float64), atol=1e-5, rtol=0)
    assert torch.equal(made(seed=5).clean("test", torch.arange(9)), made().clean("test", torch.arange(9)))
    assert not torch.equal(made(split_seed=1).directions, made().directions)


def test_a_known_dictionary_is_found_and_a_rotated_one_is_not() -> None:
    directions = made().directions
    signs = torch.tensor([1.0, 3.0]).repeat(12).unsqueeze(1)
    assert scores(directions, signs * directions)["directions_found"] == 1.0
    assert scores(directions, torch.cat([directions[:6], -directions[6:]]))["directions_found"] < 0.5
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.double)).Q
    assert scores(directions, directions @ rotation)["directions_found"] < 0.2
    assert (
        scores(directions, -directions)["directions_found"] < 0.5
    )  # the task asks for both signs where codes have them
    assert scores(directions, torch.zeros(3, 12))["direction_cosine"] == 0.0


def test_the_task_reports_it(train: Callable[..., Path]) -> None:
    folder = train(
        "data=dictionary", "task=disentanglement", "model=topk_ae", "data.examples=300", "data.features=20",
        "data.dimensions=8", "data.active=2", "latent_dim=32", "trainer.max_epochs=1",
    )  # fmt: skip
    text = (folder / "metrics.json").read_text()
    assert '"test/directions_found"' in text
    assert '"baseline/pca/directions_found"' in text


def test_more_directions_in_a_row_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.active=30: should be at most data\.features=24"):
        made(active=30)
