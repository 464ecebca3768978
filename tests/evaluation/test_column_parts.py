"""The column that makes a row anomalous is the one that is blamed, whichever score says that it is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vaelab.core import DataSpec
from vaelab.core.spec import Column
from vaelab.evaluation.scores import Detector, column_parts
from vaelab.evaluation.scores.column_parts import usual_values

COLUMNS = [*"abcdefgh"]


def readings(path: Path, count: int = 600) -> str:
    """Eight readings of two causes; one row in ten is called broken, and its reading c is far off."""
    generator = np.random.default_rng(0)
    causes = generator.normal(size=(count, 2))
    values = causes @ generator.normal(size=(2, 8)) + 0.2 * generator.normal(size=(count, 8))
    broken = np.arange(count) % 10 == 0
    values[broken, 2] += 8 * np.where(generator.random(broken.sum()) < 0.5, -1, 1)
    table = pd.DataFrame(values, columns=COLUMNS).assign(state=np.where(broken, "broken", "fine"))
    table.to_csv(path, index=False)
    return f"data.path={path}"


@pytest.mark.long
def test_the_column_that_is_off_is_blamed_under_every_score(train: Callable[..., Path], tmp_path: Path) -> None:
    run = train(
        "task=anomaly", "data=table", readings(tmp_path / "readings.csv"), "data.label=state", "data.normal=[fine]",
        "latent_dim=2", "trainer.max_epochs=40", "task.nll_samples=10", "task.baselines=false",
    )  # fmt: skip
    detector = Detector.load(run)
    x = _broken_rows(run, tmp_path / "readings.csv")
    for name in detector.scores:
        highest = x[detector.score(x, name).argsort(descending=True)[:20]]  # a code of 2 numbers does not show all
        blamed = column_parts(detector, highest, name).argmax(1)
        assert float((blamed == COLUMNS.index("c")).double().mean()) > 0.8, name
    parts = column_parts(detector, x, "reconstruction")
    torch.testing.assert_close(parts.sum(1), detector.score(x, "reconstruction"))


def _broken_rows(run: Path, path: Path) -> torch.Tensor:
    """Those of the file, as the model sees them."""
    about = json.loads((run / "model/table.json").read_text())["scaling"]
    table = pd.read_csv(path)
    rows = table[table["state"] == "broken"][COLUMNS].to_numpy()
    return torch.from_numpy((rows - np.array(about["first"])) / np.array(about["second"])).float()


@pytest.mark.long
def test_the_file_blames_the_column_although_the_code_is_wide_enough_for_anything(
    train: Callable[..., Path], tmp_path: Path
) -> None:
    """Such a model reconstructs anomalies too, so that errors say nothing of why a row is one."""
    run = train(
        "task=anomaly", "data=table", readings(tmp_path / "readings.csv"), "data.label=state", "data.normal=[fine]",
        "latent_dim=16", "trainer.max_epochs=40", "task.nll_samples=10", "task.baselines=false",
    )  # fmt: skip
    parts = pd.read_csv(run / "columns.csv")
    assert parts["score"].is_monotonic_decreasing
    assert (parts[COLUMNS].head(30).idxmax(axis=1) == "c").mean() > 0.8


SPEC = DataSpec(
    "rows", "table", (3,), "mixed", columns=(Column("a"), Column("b"), Column("kind", ("x", "y"))), has_missing=True
)


def test_what_is_usual_is_what_rows_that_are_otherwise_alike_have() -> None:
    kept = torch.tensor([[0.0, 0.0, 0.0]] * 6 + [[1.0, 10.0, 1.0]] * 6)
    x = torch.tensor([[0.0, 10.0, 0.0], [1.0, 0.0, 1.0], [float("nan"), 10.0, 1.0]])
    usual = usual_values(x, kept, SPEC)
    assert usual[0].tolist() == [1.0, 0.0, 1.0]
    assert usual[1].tolist() == [0.0, 10.0, 0.0]
    assert usual[2].isnan().tolist() == [True, False, False]
    assert usual[2, 1:].tolist() == [10.0, 1.0]
