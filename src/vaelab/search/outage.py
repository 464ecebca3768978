"""Wait through an outage of the storage, such as a restart of a server or a lost connection, while trials continue."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from vaelab.search.storage import OutageError
from vaelab.search.study import SharedStudy

OUTAGE = 900.0  # seconds without an answer until a worker gives up
_PAUSE = 3.0  # seconds between attempts
T = TypeVar("T")


class Outages:
    """Outages of the storage of a study, for one worker. Each is reported once.

    Args:
        study: the study.
        say: a function that prints a line.
    """

    def __init__(self, study: SharedStudy, say: Callable[[str], None]) -> None:
        self._study, self._say = study, say
        self._since: float | None = None

    def tried(self, act: Callable[[], T], otherwise: T) -> T:
        """Return the result of `act`, which uses the storage; after a pause `otherwise` if the storage does not answer.

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
            self._say(f"{error}; trials continue, and this worker retries for {OUTAGE / 60:.0f} minutes")
        if now - self._since > OUTAGE:
            raise OutageError(f"{error}, for {OUTAGE / 60:.0f} minutes") from error
        sleep(_PAUSE)
