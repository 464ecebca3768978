"""Whether a service answers at all."""

from ssl import SSLError
from threading import Event, Thread
from urllib.error import HTTPError, URLError
from urllib.request import urlopen


def answers(address: str, seconds: float) -> bool:
    """Whether anything answers HTTP at an address in this time; to look its name up counts, which has no limit."""
    answered = Event()

    def ask() -> None:
        try:
            with urlopen(address, timeout=seconds):
                pass
        except HTTPError:
            pass  # an answer
        except URLError as error:
            if not isinstance(error.reason, SSLError):  # a certificate that Python does not know
                return
        except (OSError, ValueError):
            return
        answered.set()

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()
