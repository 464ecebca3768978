"""Jobs of a sweep read the same examples once, and train as they would have alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from in_memory import SETTINGS
from options import stated
from vaelab.corruptions import Gaussian, Identity
from vaelab.data.sharing import SharedExamples
from vaelab.data.tables.table import Table

NODE = SETTINGS | {"path": "people.csv", "label": None}


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that were read; there are two of them."""
    for name in ("people", "others"):
        rows = "".join(f"{age},{age * 3 % 7}\n" for age in range(200))
        (tmp_path / f"{name}.csv").write_text(f"age,height\n{rows}")
    taken: list[str] = []
    tables = Table.tables

    def recorded(table: Table) -> Any:
        taken.append(table.path)
        return tables(table)

    monkeypatch.setattr(Table, "tables", recorded)
    return taken


def asked(folder: Path, **settings: Any) -> tuple[Table, dict[str, Any]]:
    """An unprepared table and the node that says the same."""
    node = {name: value for name, value in (NODE | settings).items() if name not in ("binarize", "corruption")}
    given = {"data_dir": str(folder), "corruption": settings.get("corruption", Identity())}
    return Table(**stated("data/table") | node | given), node


def test_what_a_job_has_of_its_own_reads_nothing_anew(reads: list[str], tmp_path: Path) -> None:
    shared = SharedExamples()
    first = shared.prepared(*asked(tmp_path))
    again = shared.prepared(*asked(tmp_path, batch_size=50, seed=3, corruption=Gaussian(0.5)))
    assert reads == ["people.csv"]
    alone = asked(tmp_path, batch_size=50, seed=3, corruption=Gaussian(0.5))[0]
    alone.setup()
    for ours, theirs in zip(again.train_dataloader(), alone.train_dataloader(), strict=True):
        assert torch.equal(ours.values, theirs.values)
        assert torch.equal(again.on_after_batch_transfer(ours, 0).x, alone.on_after_batch_transfer(theirs, 0).x)
    assert (first.batch_size, first.seed) == (64, 0)
    assert next(iter(first.train_dataloader())).values.data_ptr() != first._loaded.values.data_ptr()
    assert first._loaded.values.data_ptr() == again._loaded.values.data_ptr()


@pytest.mark.parametrize(
    "other", [{"path": "others.csv"}, {"split_seed": 1}, {"val_fraction": 0.2}, {"scaling": "minmax"}]
)
def test_other_examples_are_read(other: dict[str, Any], reads: list[str], tmp_path: Path) -> None:
    shared = SharedExamples()
    for settings in ({}, other, {}):
        data = shared.prepared(*asked(tmp_path, **settings))
        alone = asked(tmp_path, **settings)[0]
        alone.setup()
        assert torch.equal(data.clean("train"), alone.clean("train"))
    assert reads == [name for settings in ({}, other, {}) for name in [settings.get("path", "people.csv")] * 2]


def test_jobs_do_not_see_each_other(reads: list[str], tmp_path: Path) -> None:
    shared = SharedExamples()
    first, second = (shared.prepared(*asked(tmp_path)) for _ in range(2))
    next(iter(first.train_dataloader()))
    assert first.state_dict()
    assert not second.state_dict()


@pytest.mark.long
def test_a_sweep_reads_a_table_once_and_each_job_does_what_it_does_alone(reads: list[str], tmp_path: Path) -> None:
    from vaelab.cli import train as command

    small = ["data=table", "data.path=people.csv", f"paths.data_dir={tmp_path}", "encoder.hidden=[8]", "latent_dim=1",
             "decoder.hidden=[8]", "trainer.max_epochs=2", "logger=none", "task=compression"]  # fmt: skip
    command(["-m", *small, "seed=1,2", f"paths.log_dir={tmp_path}/sweep"])
    assert reads == ["people.csv"]
    command([*small, "seed=2", f"paths.log_dir={tmp_path}/alone"])
    assert reads == ["people.csv"] * 2
    (alone,) = tmp_path.glob("alone/**/metrics.json")
    ours = sorted(tmp_path.glob("sweep/**/metrics.json"))
    assert len(ours) == 2
    assert ours[1].read_text() == alone.read_text() != ours[0].read_text()
