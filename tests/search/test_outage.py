"""An outage of the database of a search: the worker waits, says so once, and gives up in the end."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("psycopg")

from postgresql import Server, is_installed, serving
from search_workers import searched
from vaelab.search import outage, storage
from vaelab.search.outage import Outages
from vaelab.search.storage import OutageError, Storage
from vaelab.search.study import SharedStudy

pytestmark = pytest.mark.long


@pytest.fixture
def server() -> Iterator[Server]:
    if not is_installed():
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, serving(Path(folder)) as running:
        yield running


@pytest.fixture
def study(server: Server, tmp_path: Path) -> Iterator[SharedStudy]:
    search = searched(tmp_path, storage=server.address)
    kept = Storage(server.address, tmp_path, "s")
    yield SharedStudy(search, kept)
    kept.close()


def test_an_outage_is_said_once_and_nothing_is_lost(
    server: Server, study: SharedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "_PAUSE", 0.1)
    said: list[str] = []
    outages = Outages(study, said.append)
    assert outages.tried(study.claim, None) is not None
    server.stop()
    for _ in range(3):
        assert outages.tried(lambda: study.end(0, "done", [1.0]), None) is None
        assert outages.tried(study.beat, None) is None
    (line,) = said
    assert "sweep.storage: the database does not answer" in line
    server.start()
    assert outages.tried(lambda: study.end(0, "done", [1.0]), None)
    assert outages.tried(study.beat, None) == []
    assert len(said) == 2
    assert "answers again" in said[1]
    assert study.trials()[0].values == [1.0]


def test_a_long_outage_ends_the_worker_with_one_message(
    server: Server, study: SharedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "_PAUSE", 0.1)
    monkeypatch.setattr(outage, "OUTAGE", 1.0)
    outages = Outages(study, lambda line: None)
    server.stop()
    assert outages.tried(study.claim, None) is None
    time.sleep(1.1)
    with pytest.raises(OutageError, match="does not answer"):
        outages.tried(study.claim, None)


def test_a_lock_that_an_outage_took_is_not_believed(server: Server, study: SharedStudy, tmp_path: Path) -> None:
    kept = Storage(server.address, tmp_path, "s")

    def within_an_outage() -> None:
        with kept.lock() as still_held:
            still_held()
            server.stop()
            server.start()
            still_held()

    with pytest.raises(OutageError):
        within_an_outage()
    kept.close()


def test_a_worker_that_was_stopped_within_the_lock_of_a_database_does_not_hang_the_others(
    server: Server, study: SharedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LONGEST_WAIT", 0.5)
    kept = Storage(server.address, tmp_path, "s")
    with kept.lock(), pytest.raises(OutageError, match="was it stopped"):
        study.claim()
    kept.close()
    assert study.claim() is not None
