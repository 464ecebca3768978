"""Check whether a service is reachable."""

from ssl import SSLError
from threading import Event, Thread
from urllib.error import HTTPError, URLError
from urllib.request import urlopen


def answers(address: str, seconds: float) -> bool:
    """Whether an address answers HTTP within some seconds, including the DNS lookup, which has no limit of its own."""
    answered = Event()

    def ask() -> None:
        try:
            with urlopen(address, timeout=seconds):
                pass
        except HTTPError:
            pass  # an answer
        except URLError as error:
            if not isinstance(error.reason, SSLError):  # an error about a certificate also shows that a server answers
                return
        except (OSError, ValueError):
            return
        answered.set()

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()
