"""What every test shares: real runs in this process, in a folder of the test's own."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from browser import PROGRAM, Browser, Tab, started
from postgresql import is_installed, serving

os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
REPOSITORY = Path(__file__).parents[1]
REAL_DATA = Path(os.environ.get("VAELAB_DATA", REPOSITORY / "data"))

Run = Callable[..., Path]


os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
torch.set_num_threads(1)  # tests run side by side, and golden numbers depend on the order of sums


@pytest.fixture
def train(tmp_path: Path) -> Run:
    """`train(*overrides)` runs the command line in this process and returns the run folder."""
    from vaelab.cli import train as command

    def run(*overrides: str) -> Path:
        root = tmp_path / "logs"
        before = {p.parent for p in root.rglob("config.yaml")}
        defaults = [f"paths.log_dir={root}", f"paths.data_dir={REAL_DATA}"]
        if not any(o.startswith(("logger=", "resume=")) for o in overrides):
            defaults.append("logger=none")
        command([*defaults, *overrides])
        made = {p.parent for p in root.rglob("config.yaml")} - before
        return made.pop() if made else next(iter(before))

    return run


@pytest.fixture
def fashion_mnist() -> Path:
    """The folder of Fashion-MNIST; tests that need it are skipped where it has not been fetched."""
    folder = REAL_DATA / "fashion_mnist"
    if not folder.is_dir():
        pytest.skip(f"Fashion-MNIST is not in {folder}; the README says how to put it there")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A running browser; tests that need it are skipped where none is installed."""
    if PROGRAM is None:
        pytest.skip("Chromium is not installed")
    with started() as browser:
        yield browser


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    """A page in the browser."""
    page = chromium.tab()
    yield page
    page.close()


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The address of a PostgreSQL server; tests that need one are skipped where it is not installed."""
    pytest.importorskip("psycopg")
    if not is_installed():
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, serving(Path(folder)) as server:
        yield server.address


@pytest.fixture
def postgresql(database: str) -> str:
    """The same, with nothing in it."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    return database
