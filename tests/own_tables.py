"""Tables in files, read as `data=table` reads them: those of a run, and later ones for its model."""

from pathlib import Path
from typing import Any

from options import stated
from vaelab.corruptions import Identity
from vaelab.data.storage import Storage
from vaelab.data.tables.table import Table

STORAGE: list[Storage] = ["memory", "disk"]


def table(path: Path, where: Storage = "memory", **settings: Any) -> Table:
    """Not read yet."""
    told: dict[str, Any] = {
        "corruption": Identity(), "path": str(path), "data_dir": str(path.parent / "data"), "batch_size": 8,
        "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0, "seed": 0, "scaling": "standard",
    }  # fmt: skip
    data = Table(**stated("data/table") | told | settings)
    data.storage = where
    return data


def load(path: Path, where: Storage = "memory", **settings: Any) -> Table:
    data = table(path, where, **settings)
    data.setup()
    return data


def later(path: Path, trained: Table, where: Storage = "memory", **settings: Any) -> Table:
    """Rows of a later file for a model that was trained on `trained`."""
    for name, content in trained.files().items():
        place = path.parent / "run" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(content))
    data = table(path, where, **settings)
    data.all_as_test = True
    data.prepare_as(path.parent / "run/model")
    data.setup()
    return data
