"""What a run tells an experiment tracker, and how long it waits for one."""

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
ROOM = 20_000  # messages that may wait for a slow service
ROWS = 500  # rows of numbers that are sent at once if so many wait
_END = "the end of the run"


@dataclass(frozen=True)
class _Message:
    what: str  # for the line that says what was not sent
    content: Row | Callable[[], None]
    count: int = 1


class Tracker(Logger):
    """A tracker that is told everything by a thread of its own, in order.

    Its service may be down, slow or hanging: the run goes on, and hears signals. What the service does not take is
    said in one line at the end. `vaelab.record.trackers.session` opens and closes trackers, and waits for them.

    A subclass says how to `begin` and `end`, and how to send what it has a place for. These methods run in the
    thread and may raise anything.

    Args:
        label: how messages name it, with the address of its service.
        patience: seconds that its service may add to a run in all; None for a tracker that writes files here.
    """

    description = Description()
    position: Callable[[int], dict[str, float]] | None = None  # of a step: other axes by name, such as epochs
    examples = True  # whether it gets what shows examples of somebody's data: pictures, texts, tables, the model
    silence: float | None = None  # seconds without a message taken after which the end of a run waits no longer

    def __init__(self, label: str, patience: float | None) -> None:
        self.label, self.patience = label, patience
        self.notices: list[str] = []  # for the person at the keyboard
        self._latest: dict[str, float] = {}
        self._refusal: UserError | None = None
        self._reason = ""  # why the service did not take something, in its words
        self._heard = 0.0  # when it last took something
        self._unsent: Counter[str] = Counter()
        self._messages: deque[_Message] = deque()
        self._changed = Condition()
        self._tried, self._done = Event(), Event()
        self._begun = self._refused = self._closing = self._over = False
        self.hints: list[str] = []  # what is good to know at the end, and no fault
        self._uploading = False  # one large thing, which may take longer than `silence`
        self._thread: Thread | None = None

    # What a tracker has a place for: in the thread

    def begin(self) -> None:
        """Begin the tracker's run, or go on with the one that it had.

        Raises:
            vaelab.errors.UserError: the service refuses the run for a reason that the user can put right.
        """

    def send_config(self, config: dict[str, Any]) -> None:
        """Send the resolved config: nested plain data without secrets. A resumed run sends it again."""

    def send_numbers(self, rows: list[Row]) -> None:
        """Send numbers by name, in order."""

    def send_finals(self, numbers: dict[str, float], step: int) -> None:
        """Send numbers that a run has one of each, such as those of its test. They are no curves."""
        self.send_numbers([Row(numbers, step, time())])

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """Send PNG files by name: `figures/samples`, or `progress/samples` of a run that still trains."""

    def send_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """Send WAV files by name."""

    def send_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Send texts by name, lines of examples."""

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Send the first rows of CSV and Parquet files by name."""

    def send_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Send distributions by name."""

    def send_files(self, files: Mapping[str, Path]) -> None:
        """Send files of the run folder as they are, by their paths within it."""

    def send_model(self, model: SavedModel) -> None:
        """Send the model that can be used, and say from which data it comes."""

    def send_alert(self, title: str, text: str) -> None:
        """Tell people that something happened that they want to know before they look."""

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        """Make the run's final numbers those of its best checkpoint, as `metrics.json` has them."""

    def flush(self) -> None:
        """Write what is held in memory."""

    def end(self, status: Status) -> None:
        """End the tracker's run."""

    def may_pass(self, error: Exception) -> bool:
        """Whether a later attempt may succeed: the service did not answer, in contrast to one that refused."""
        return False

    def leave(self) -> None:
        """Leave a service that hangs, so that the end of the process does not wait for it."""

    def remedy(self) -> str:
        """How to send later what was not sent: words that follow on a semicolon."""
        return ""

    # What a run says: in the run's own thread; never waits

    def open(self, description: Description | None = None) -> None:
        """Begin a run that is called so. In the other processes of a run a tracker does nothing."""
        if description is not None:
            self.description = description
        if getattr(rank_zero_only, "rank", 0) == 0:
            self._thread = Thread(target=self._work, name=f"tracker {self.label}", daemon=True)
            self._thread.start()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers of one step; those that a run has one of each are told apart by their names."""
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
        """The config."""
        config = dict(params if isinstance(params, Mapping) else vars(params))
        self._put(_Message("the config", partial(self.send_config, config)))

    @rank_zero_only
    def log_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """PNG files by name, which stay where they are."""
        self._show("pictures", dict(pictures), partial(self.send_pictures, step=step))

    @rank_zero_only
    def log_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """WAV files by name, which stay where they are."""
        self._show("sounds", dict(sounds), partial(self.send_sounds, step=step))

    @rank_zero_only
    def log_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Lines by name."""
        self._show("texts", dict(texts), partial(self.send_texts, step=step))

    @rank_zero_only
    def log_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """CSV and Parquet files by name, which stay where they are."""
        self._show("tables", dict(tables), partial(self.send_tables, step=step))

    @rank_zero_only
    def log_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Distributions by name."""
        self._send("histograms", dict(histograms), partial(self.send_histograms, step=step))

    @rank_zero_only
    def log_files(self, files: Mapping[str, Path]) -> None:
        """Files by their paths within the run folder, which stay where they are."""
        self._send("files", dict(files), self.send_files)

    @rank_zero_only
    def log_saved_model(self, model: SavedModel) -> None:
        """The model that can be used."""
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
        """What people want to know before they look."""
        self._put(_Message("an alert", partial(self.send_alert, title, text)))

    @rank_zero_only
    def log_summary(self, numbers: Mapping[str, float], step: int) -> None:
        """The numbers of `metrics.json`."""
        self._put(_Message("the final numbers", partial(self.send_summary, dict(numbers), step)))

    @rank_zero_only
    def save(self) -> None:
        """Write what is held in memory."""
        self._put(_Message("", self.flush))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Nothing: Lightning says it after the fit and after the test, and the run goes on; see `close`."""

    def differing(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Those that are not the last ones logged under their names."""
        return {name: value for name, value in numbers.items() if self._latest.get(name) != value}

    def close(self, status: Status) -> None:
        """The run has ended."""
        with self._changed:
            self._closing = True
        self._put(_Message(_END, partial(self.end, status)))

    # Waiting

    def await_begin(self, until: float) -> None:
        """Wait for a first answer until a `monotonic` time; without end for a tracker that writes files.

        Raises:
            vaelab.errors.UserError: the service refuses the run.
        """
        if self._thread is None:
            return
        self._tried.wait(None if self.patience is None else max(0.0, until - monotonic()))
        if self._refusal:
            self._thread = None  # there is no run to say anything of
            raise self._refusal
        if self._refused:
            self.notices.append(f"{self.label} could not begin ({self._reason}); the run goes on without it")
        elif not self._begun and not self.notices:
            self.notices.append(f"{self.label} has not answered yet; the run goes on")

    def await_end(self, until: float | None) -> None:
        """Wait for everything to be sent until a `monotonic` time, without end if None; leave what is not."""
        if self._thread is None:
            return
        if not self._wait_for_end(until):
            self._lose_all()
        unsent = {what: count for what, count in self._unsent.items() if what and count}
        if unsent:
            parts = [f"{count} {what}" if count > 1 else what for what, count in unsent.items()]
            reason = f"did not take everything ({self._reason})" if self._reason else "did not answer"
            reason = f"could not begin ({self._reason})" if self._refused else reason
            self.notices.append(f"{self.label} {reason}; not sent: {', '.join(parts)}{self.remedy()}")
            self._leave()

    def _wait_for_end(self, until: float | None) -> bool:
        """Whether everything has been sent before `until`, and without a pause longer than `silence`."""
        if until is None or self.silence is None:
            return self._done.wait(None if until is None else max(0.0, until - monotonic()))
        self._heard = monotonic()
        while (left := (until if self._uploading else min(until, self._heard + self.silence)) - monotonic()) > 0:
            if self._done.wait(min(left, 0.5)):
                return True
        return False

    def abandon(self) -> None:
        """Send no more."""
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
