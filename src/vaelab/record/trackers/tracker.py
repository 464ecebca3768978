"""The base class of experiment trackers: what a run sends, and how long it waits."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from threading import Condition, Event, Thread
from time import monotonic, time
from typing import Any, Literal

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from vaelab.errors import UserError
from vaelab.metrics import is_final
from vaelab.record.trackers.contents import Histogram, Row, SavedModel
from vaelab.record.trackers.description import Description

Status = Literal["finished", "failed", "killed"]

RETRY = 5.0  # seconds between two attempts to reach a service
ROOM = 20_000  # largest number of messages waiting for a slow service
ROWS = 500  # largest number of rows sent together
_END = "the end of the run"


@dataclass(frozen=True)
class _Message:
    what: str  # its name in the line about what was not sent
    content: Row | Callable[[], None]
    count: int = 1


class Tracker(Logger):
    """A tracker that receives everything in order, from a thread of its own.

    If its service is down, slow or hanging, the run continues and still handles signals. What could not be sent is
    reported in one line at the end. `vaelab.record.trackers.session` opens and closes trackers, and waits for them.

    A subclass implements `begin`, `end`, and the `send_...` methods that it supports. These run in the thread and may
    raise any error.

    Args:
        label: its name in messages, with the address of its service.
        patience: total seconds that its service may delay a run; None for a tracker that writes local files.
    """

    description = Description()
    position: Callable[[int], dict[str, float]] | None = None  # maps a step to other axes by name, such as epochs
    examples = True  # whether it receives what may show examples of the data: figures, texts, tables, the model
    silence: float | None = None  # seconds without progress after which the end of a run stops waiting

    def __init__(self, label: str, patience: float | None) -> None:
        self.label, self.patience = label, patience
        self.notices: list[str] = []  # messages for the user
        self._latest: dict[str, float] = {}
        self._refusal: UserError | None = None
        self._reason = ""  # why the service refused something, in its words
        self._heard = 0.0  # when the service last accepted something
        self._unsent: Counter[str] = Counter()
        self._messages: deque[_Message] = deque()
        self._changed = Condition()
        self._tried, self._done = Event(), Event()
        self._begun = self._refused = self._closing = self._over = False
        self.hints: list[str] = []  # useful information for the end of the run
        self._uploading = False  # a large upload, which may take longer than `silence`
        self._thread: Thread | None = None

    # Methods that a subclass implements; they run in the thread

    def begin(self) -> None:
        """Begin the tracker's run, or continue its earlier run.

        Raises:
            vaelab.errors.UserError: the service refuses the run for a reason that the user can fix.
        """

    def send_config(self, config: dict[str, Any]) -> None:
        """Send the resolved config: nested plain data without secrets. A resumed run sends it again."""

    def send_numbers(self, rows: list[Row]) -> None:
        """Send numbers by name, in order."""

    def send_finals(self, numbers: dict[str, float], step: int) -> None:
        """Send numbers that a run has only once, such as test metrics. They are not curves."""
        self.send_numbers([Row(numbers, step, time())])

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """Send PNG files by name: `figures/samples`, or `progress/samples` during training."""

    def send_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """Send WAV files by name."""

    def send_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Send texts by name, such as lines of examples."""

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Send the first rows of CSV and Parquet files by name."""

    def send_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Send distributions by name."""

    def send_files(self, files: Mapping[str, Path]) -> None:
        """Send files of the run folder unchanged, by their relative paths."""

    def send_model(self, model: SavedModel) -> None:
        """Send the trained model, with information about its data."""

    def send_alert(self, title: str, text: str) -> None:
        """Send an alert."""

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        """Set the run's final numbers to those of its best checkpoint, as in `metrics.json`."""

    def flush(self) -> None:
        """Write buffered data."""

    def end(self, status: Status) -> None:
        """End the tracker's run."""

    def may_pass(self, error: Exception) -> bool:
        """Whether a later attempt may succeed: the service did not answer, instead of refusing."""
        return False

    def leave(self) -> None:
        """Abandon a hanging service, so that the end of the process does not wait for it."""

    def remedy(self) -> str:
        """Return how to send the rest later: words that follow a semicolon."""
        return ""

    # Methods for the run; they run in the run's own thread and never wait

    def open(self, description: Description | None = None) -> None:
        """Begin a run with this description. In other processes of a run, a tracker does nothing."""
        if description is not None:
            self.description = description
        if getattr(rank_zero_only, "rank", 0) == 0:
            self._thread = Thread(target=self._work, name=f"tracker {self.label}", daemon=True)
            self._thread.start()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers of one step; final numbers, which a run has only once, are recognised by their names."""
        step = step or 0
        numbers = {name: float(value) for name, value in metrics.items()}
        self._latest |= numbers
        finals = {name: value for name, value in numbers.items() if is_final(name)}
        curves = {name: value for name, value in numbers.items() if name not in finals}
        if finals:
            self._put(_Message("final numbers", partial(self.send_finals, finals, step)))
        if curves.keys() - {"epoch"} or (curves and not finals):
            position = self.position(step) if self.position is not None else {}
            self._put(_Message("rows of numbers", Row(curves, step, time(), position)))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log the config."""
        config = dict(params if isinstance(params, Mapping) else vars(params))
        self._put(_Message("the config", partial(self.send_config, config)))

    @rank_zero_only
    def log_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """Log PNG files by name; the files must stay in place."""
        self._show("pictures", dict(pictures), partial(self.send_pictures, step=step))

    @rank_zero_only
    def log_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """Log WAV files by name; the files must stay in place."""
        self._show("sounds", dict(sounds), partial(self.send_sounds, step=step))

    @rank_zero_only
    def log_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Log texts by name."""
        self._show("texts", dict(texts), partial(self.send_texts, step=step))

    @rank_zero_only
    def log_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Log CSV and Parquet files by name; the files must stay in place."""
        self._show("tables", dict(tables), partial(self.send_tables, step=step))

    @rank_zero_only
    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Log histograms by name."""
        self._send("histograms", dict(histograms), partial(self.send_histograms, step=step))

    @rank_zero_only
    def log_files(self, files: Mapping[str, Path]) -> None:
        """Log files by their paths within the run folder; the files must stay in place."""
        self._send("files", dict(files), self.send_files)

    @rank_zero_only
    def log_saved_model(self, model: SavedModel) -> None:
        """Log the trained model."""
        if self.examples:
            self._put(_Message("the model", partial(self._upload, model)))

    def _upload(self, model: SavedModel) -> None:
        self._uploading = True
        try:
            self.send_model(model)
        finally:
            self._uploading = False

    @rank_zero_only
    def log_alert(self, title: str, text: str) -> None:
        """Log an alert."""
        self._put(_Message("an alert", partial(self.send_alert, title, text)))

    @rank_zero_only
    def log_summary(self, numbers: Mapping[str, float], step: int) -> None:
        """Log the final numbers of `metrics.json`."""
        self._put(_Message("the final numbers", partial(self.send_summary, dict(numbers), step)))

    @rank_zero_only
    def save(self) -> None:
        """Write buffered data."""
        self._put(_Message("", self.flush))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Do nothing: Lightning calls this after the fit and after the test, but the run continues; see `close`."""

    def differing(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return the numbers that differ from the last logged values of the same names."""
        return {name: value for name, value in numbers.items() if self._latest.get(name) != value}

    def close(self, status: Status) -> None:
        """Note that the run has ended."""
        with self._changed:
            self._closing = True
        self._put(_Message(_END, partial(self.end, status)))

    # Waiting

    def await_begin(self, until: float) -> None:
        """Wait for a first answer until a `monotonic` time; without limit for a tracker that writes files.

        Raises:
            vaelab.errors.UserError: the service refuses the run.
        """
        if self._thread is None:
            return
        self._tried.wait(None if self.patience is None else max(0.0, until - monotonic()))
        if self._refusal:
            self._thread = None  # there is no run to send data to
            raise self._refusal
        if self._refused:
            self.notices.append(f"{self.label} could not begin ({self._reason}); the run continues without it")
        elif not self._begun and not self.notices:
            self.notices.append(f"{self.label} has not answered yet; the run continues")

    def await_end(self, until: float | None) -> None:
        """Wait until everything is sent, at most until a `monotonic` time (no limit if None); abandon the rest."""
        if self._thread is None:
            return
        if not self._wait_for_end(until):
            self._lose_all()
        unsent = {what: count for what, count in self._unsent.items() if what and count}
        if unsent:
            parts = [f"{count} {what}" if count > 1 else what for what, count in unsent.items()]
            reason = f"did not accept everything ({self._reason})" if self._reason else "did not answer"
            reason = f"could not begin ({self._reason})" if self._refused else reason
            self.notices.append(f"{self.label} {reason}; not sent: {', '.join(parts)}{self.remedy()}")
            self._leave()

    def _wait_for_end(self, until: float | None) -> bool:
        """Wait, and return whether everything was sent before `until`, without a pause longer than `silence`."""
        if until is None or self.silence is None:
            return self._done.wait(None if until is None else max(0.0, until - monotonic()))
        self._heard = monotonic()
        while (left := (until if self._uploading else min(until, self._heard + self.silence)) - monotonic()) > 0:
            if self._done.wait(min(left, 0.5)):
                return True
        return False

    def abandon(self) -> None:
        """Stop sending."""
        self._lose_all()
        self._leave()

    def _leave(self) -> None:
        try:
            self.leave()
        except UserError as error:  # the end of the process may take long
            self.notices.append(f"{self.label}: {error}")

    # The thread

    def _show(self, what: str, named: dict[str, Any], send: Callable[[Any], None]) -> None:
        """Send what shows examples of somebody's data, if that may be sent."""
        if self.examples:
            self._send(what, named, send)

    def _send(self, what: str, named: dict[str, Any], send: Callable[[Any], None]) -> None:
        if named:
            self._put(_Message(what, partial(send, named), len(named)))

    def _put(self, message: _Message) -> None:
        if self._thread is None:
            return
        with self._changed:
            if not self._over and (len(self._messages) < ROOM or message.what == _END):
                self._messages.append(message)
                self._changed.notify_all()
            else:
                self._unsent[message.what] += message.count

    def _lose_all(self) -> None:
        with self._changed:
            self._over = True
            for message in self._messages:
                self._unsent[message.what] += message.count
            self._messages.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        self._begun = self._attempt(self.begin)
        self._refused = not self._begun and bool(self._reason)
        if self._begun:
            self._tried.set()
            while (messages := self._next()) and not self._deliver(messages):
                pass
        self._lose_all()
        self._tried.set()
        self._done.set()

    def _next(self) -> list[_Message]:
        """The oldest message, and the rows of numbers that follow on one; none when all is over. They stay in line."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._over)
            first = list(islice(self._messages, ROWS))
        rows = list(takewhile(lambda message: isinstance(message.content, Row), first))
        return rows or first[:1]

    def _deliver(self, messages: list[_Message]) -> bool:
        """Send messages and take them out of the line; returns whether they were the last."""
        first = messages[0]
        if isinstance(first.content, Row):
            rows = [message.content for message in messages if isinstance(message.content, Row)]
            sent = self._attempt(partial(self.send_numbers, rows))
        else:
            sent = self._attempt(first.content)
        with self._changed:
            if self._over:
                return True
            for message in messages:
                self._messages.popleft()
                self._unsent[message.what] += 0 if sent else message.count
        return first.what == _END

    def _attempt(self, do: Callable[[], None]) -> bool:
        """Do it, again and again while a later attempt may succeed."""
        while not self._over:
            try:
                do()
            except Exception as error:  # whatever a library raises: the run has nothing to do with it
                if not self.may_pass(error):
                    self._reason = str(error).partition("\n")[0] or type(error).__name__
                    self._refusal = error if isinstance(error, UserError) else None
                    return False
            else:
                self._heard = monotonic()
                return True
            self._tried.set()
            with self._changed:
                closing = self._closing
                pause = min(1.0, RETRY) if closing else RETRY
                self._changed.wait_for(lambda: self._over or self._closing != closing, pause)  # noqa: B023
        return False


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested plain data, with their keys joined by `/`."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
