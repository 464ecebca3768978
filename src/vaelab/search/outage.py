"""Waiting through an outage of the storage: a server is restarted, a connection is dropped, while trials go on."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from vaelab.search.storage import OutageError
from vaelab.search.study import SharedStudy

OUTAGE = 900.0  # seconds without an answer, after which a worker gives up
_PAUSE = 3.0  # seconds between attempts
T = TypeVar("T")


class Outages:
    """Of the storage of a study, for one worker. Each is said once.

    Args:
        study: asked of its storage.
        say: prints a line.
    """

    def __init__(self, study: SharedStudy, say: Callable[[str], None]) -> None:
        self._study, self._say = study, say
        self._since: float | None = None

    def tried(self, act: Callable[[], T], otherwise: T) -> T:
        """What `act` gives, which asks the storage; after a pause `otherwise`, where the storage does not answer.

        Raises:
            OutageError: it has not answered for `OUTAGE` seconds.
        """
        try:
            with self._study.answering():
                found = act()
        except OutageError as error:
            self._wait(error)
            return otherwise
        if self._since is not None:
            self._say(f"the storage of the search answers again, after {monotonic() - self._since:.0f} s")
            self._study.answers_again()
            self._since = None
        return found

    def _wait(self, error: OutageError) -> None:
        now = monotonic()
        if self._since is None:
            self._since = now
            self._say(f"{error}; trials go on, and this worker tries again for {OUTAGE / 60:.0f} minutes")
        if now - self._since > OUTAGE:
            raise OutageError(f"{error}, for {OUTAGE / 60:.0f} minutes by now") from error
        sleep(_PAUSE)
