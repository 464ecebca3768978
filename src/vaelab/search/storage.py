"""Where a study is kept, and a lock that one worker of it holds at a time."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.secrets import redact_text

JOURNAL = "journal.log"
LOCK = "search.lock"
VARIABLE = "VAELAB_SEARCH_STORAGE"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


class Storage:
    """A storage of optuna, and the lock of a study in it.

    Args:
        address: of a PostgreSQL database; None for a journal file in the folder of the search.
        folder: of the search.
        study: the name of the study.

    Raises:
        ConfigError: another kind of database, or its driver is not installed.
        FaultError: the database does not answer, or refuses.
    """

    def __init__(self, address: str | None, folder: Path, study: str) -> None:
        self._folder, self._study = folder, study
        self._engine: Any = None
        self.optuna: Any = _journal(folder) if address is None else self._database(address)

    def _database(self, address: str) -> Any:
        from optuna.storages import RDBStorage
        from sqlalchemy import create_engine

        scheme, _, rest = address.partition("://")
        if scheme not in _SCHEMES or not rest:
            raise ConfigError("sweep.storage: should be postgresql://<user>@<host>/<database>, or null for a file")
        url = f"postgresql+psycopg://{rest}"
        with self.answering():
            try:
                self._engine = create_engine(url, pool_pre_ping=True)
            except ImportError as error:
                raise ConfigError("sweep.storage: PostgreSQL needs a driver: pip install 'psycopg[binary]'") from error
            with self._database_lock("tables"):  # which two workers cannot make at once
                return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})

    def close(self) -> None:
        """Give up connections to a database."""
        if self._engine is not None:
            self._engine.dispose()
            self.optuna.engine.dispose()

    def lock(self) -> AbstractContextManager[None]:
        """Held by one worker at a time, and given up by one that is killed."""
        return self._database_lock(self._study) if self._engine is not None else _file_lock(self._folder / LOCK)

    @contextmanager
    def _database_lock(self, name: str) -> Iterator[None]:
        from sqlalchemy import text

        key = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
        with self._engine.connect() as connection:
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key})
            yield  # until the transaction ends, with the connection at the latest

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn an error of the database into one message.

        Raises:
            FaultError: it does not answer, or refuses.
        """
        try:
            from sqlalchemy.exc import SQLAlchemyError
        except ModuleNotFoundError:
            yield
            return
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
            reason = redact_text(str(getattr(cause, "orig", None) or cause)).strip().splitlines()
            raise FaultError(f"sweep.storage: the database does not answer ({reason[0] if reason else ''})") from error


def address_of(typed: str | None) -> str | None:
    """The address of the database: what is typed, else `VAELAB_SEARCH_STORAGE`, which no history of a shell keeps."""
    return typed or os.environ.get(VARIABLE) or None


def _journal(folder: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder.absolute() / JOURNAL)))


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows
        from optuna.storages.journal import JournalFileOpenLock

        lock = JournalFileOpenLock(str(path))
        lock.acquire()
        try:
            yield
        finally:
            lock.release()
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
