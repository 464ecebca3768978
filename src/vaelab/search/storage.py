"""The storage of a study, and a lock that only one worker holds at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.secrets import redact_text
from vaelab.signals import ending_at_once

JOURNAL = "journal.log"
LOCK = "search.lock"
VARIABLE = "VAELAB_SEARCH_STORAGE"
LONGEST_WAIT = 60.0  # seconds that a worker waits for the lock, which others hold for milliseconds
_POLL = 0.05  # seconds between attempts to lock a file
# A lost connection is detected within half a minute, also if the other machine is silent:
_CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_HELD = "another worker has held the lock of the search for a minute; was it stopped with Ctrl-Z?"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


class OutageError(FaultError):
    """The storage of a study does not answer at the moment."""


class Storage:
    """A storage of optuna, and the lock of a study in it.

    Args:
        address: of a PostgreSQL database; None for a journal file in the folder of the search.
        folder: the folder of the search.
        study: the name of the study.

    Raises:
        ConfigError: the database is of another kind, or its driver is not installed.
        OutageError: the database does not answer, or refuses.
    """

    def __init__(self, address: str | None, folder: Path, study: str) -> None:
        self._folder, self._study = folder, study
        self._engine: Any = None
        self._is_database = address is not None
        self.optuna: Any = _journal(folder) if address is None else self._database(address)

    def _database(self, address: str) -> Any:
        with ending_at_once():
            from optuna.storages import RDBStorage
            from sqlalchemy import create_engine

        scheme, _, rest = address.partition("://")
        if scheme not in _SCHEMES or not rest:
            raise ConfigError("sweep.storage: should be postgresql://<user>@<host>/<database>, or null for a file")
        url = f"postgresql+psycopg://{rest}"
        typed = rest.partition("?")[2]  # which takes precedence
        connection = {name: value for name, value in _CONNECTION.items() if f"{name}=" not in typed}
        settings: dict[str, Any] = {"pool_pre_ping": True, "connect_args": connection}
        with self.answering():
            try:
                self._engine = create_engine(url, **settings)
            except ImportError as error:
                raise ConfigError("sweep.storage: PostgreSQL needs a driver: pip install 'psycopg[binary]'") from error
            with self._database_lock("tables"):  # two workers must not create them at once
                return RDBStorage(url, engine_kwargs=settings)

    def close(self) -> None:
        """Close connections to a database."""
        if self._engine is not None:
            self._engine.dispose()
            self.optuna.engine.dispose()

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        """Hold the lock of the study: only one worker at a time has it, and a killed worker loses it.

        Yields:
            A function that raises `OutageError` if the lock was lost since, because a connection may end at any time.

        Raises:
            OutageError: another worker has held it for a minute.
        """
        return self._database_lock(self._study) if self._engine is not None else _file_lock(self._folder / LOCK)

    @contextmanager
    def _database_lock(self, name: str) -> Iterator[Callable[[], None]]:
        from sqlalchemy import text

        key = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
        with self.answering(), self._engine.connect() as connection:
            connection.execute(text(f"set local lock_timeout = {int(LONGEST_WAIT * 1000)}"))
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key})
            yield lambda: connection.execute(text("select 1"))  # until the transaction ends, or the connection

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Convert an error of the database to one message.

        Raises:
            OutageError: it does not answer, or refuses.
        """
        if not self._is_database:
            yield
            return
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
            reason = redact_text(str(getattr(cause, "orig", None) or cause)).strip().splitlines() or [""]
            if "lock timeout" in reason[0]:
                raise OutageError(f"sweep.storage: {_HELD}") from error
            raise OutageError(f"sweep.storage: the database does not answer ({reason[0]})") from error


def address_of(typed: str | None) -> str | None:
    """Return the address of the database: typed, or else from `VAELAB_SEARCH_STORAGE`, which shell history omits."""
    return typed or os.environ.get(VARIABLE) or None


def _journal(folder: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder.absolute() / JOURNAL)))


@contextmanager
def _file_lock(path: Path) -> Iterator[Callable[[], None]]:
    try:
        import fcntl
    except ImportError:  # Windows
        from optuna.storages.journal import JournalFileOpenLock

        lock = JournalFileOpenLock(str(path))
        lock.acquire()
        try:
            yield lambda: None
        finally:
            lock.release()
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = monotonic() + LONGEST_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if monotonic() > deadline:
                    raise OutageError(f"{path}: {_HELD}") from error
                sleep(_POLL)
        yield lambda: None
    finally:
        os.close(handle)
