"""A tracker gets everything in order from a service that is well, and adds a bounded time where it is not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest
from lightning.pytorch.loggers.logger import DummyLogger

from vaelab.errors import ConfigError, InterruptionError
from vaelab.record.trackers import session, tracker
from vaelab.record.trackers.contents import Row
from vaelab.record.trackers.session import tracking
from vaelab.record.trackers.tracker import Status, Tracker

PATIENCE = 1.5


class Service(Tracker):
    """Keeps what it takes; `when` may fail, hang or wait before each of its answers."""

    def __init__(self, when: Callable[[str], None] = lambda what: None, patience: float | None = PATIENCE) -> None:
        super().__init__("the service", patience)
        self.when, self.taken, self.status = when, [], ""

    def begin(self) -> None:
        self.when("begin")

    def send_numbers(self, rows: list[Row]) -> None:
        self.when("numbers")
        self.taken += [(row.step, row.numbers) for row in rows]

    def send_pictures(self, pictures: dict[str, Path], step: int) -> None:  # type: ignore[override]
        self.when("pictures")
        self.taken += sorted(pictures)

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        self.when("summary")
        self.taken.append(numbers)

    def end(self, status: Status) -> None:
        self.when("end")
        self.status = status

    def may_pass(self, error: Exception) -> bool:
        return isinstance(error, TimeoutError)

    @property
    def name(self) -> str:
        return "service"

    @property
    def version(self) -> str:
        return ""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "START", 0.4)
    monkeypatch.setattr(session, "EXIT", 0.1)
    monkeypatch.setattr(session, "HURRY", 0.2)
    monkeypatch.setattr(tracker, "RETRY", 0.05)


def hang(what: str) -> None:
    Event().wait(30)


def told(services: Sequence[Service], rows: int = 3, do: Callable[[], None] = lambda: None) -> float:
    """Seconds that a run takes that says something to each service."""
    began = monotonic()
    with tracking(services):
        for step in range(rows):
            for service in services:
                service.log_metrics({"loss": step}, step)
        do()
        for service in services:
            service.log_pictures({"a": Path("a.png"), "b": Path("b.png")}, rows)
            service.log_summary({"loss": 0.5}, rows)
    return monotonic() - began


def everything(rows: int) -> list[object]:
    return [*((step, {"loss": float(step)}) for step in range(rows)), "a", "b", {"loss": 0.5}]


def test_a_service_that_is_well_has_everything_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(lambda what: sleep(0.02))
    told([service], rows=3_000)
    assert service.taken == everything(3_000)
    assert service.status == "finished"
    assert capsys.readouterr().err == ""


def test_a_service_that_never_answers_costs_a_bounded_time_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    services = [Service(hang), Service(hang), Service(hang)]  # side by side
    assert told(services) < PATIENCE + 0.5
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "has not answered yet; the run continues" in line] == lines[:3]
    missing = "not sent: 3 rows of numbers, 2 pictures, the final numbers, the end of the run"
    assert lines[3:] == [f"warning: the service did not answer; {missing}"] * 3


def test_a_service_that_dies_midway_costs_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(lambda what: hang(what) if what == "pictures" else None)
    assert told([service]) < PATIENCE + 0.5
    assert service.taken == everything(3)[:3]
    assert "not sent: 2 pictures, the final numbers, the end of the run" in capsys.readouterr().err


def test_a_silent_service_is_left_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(lambda what: hang(what) if what == "pictures" else None, patience=20)
    monkeypatch.setattr(service, "silence", 0.3, raising=False)
    assert told([service]) < 2


def test_a_service_that_comes_back_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    failures = iter([TimeoutError("no answer")] * 4)

    def come_back(what: str) -> None:
        if error := next(failures, None):
            raise error

    service = Service(come_back)
    told([service])
    assert service.taken == everything(3)
    assert "not sent" not in capsys.readouterr().err


def test_what_a_service_refuses_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(what: str) -> None:
        if what == "pictures":
            raise ValueError("too large\nand more")

    service = Service(refuse)
    told([service])
    assert service.taken == [entry for entry in everything(3) if entry not in ("a", "b")]
    assert service.status == "finished"
    assert (
        capsys.readouterr().err == "warning: the service did not accept everything (too large); not sent: 2 pictures\n"
    )


def test_a_run_that_a_service_refuses_does_not_begin(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(what: str) -> None:
        raise ConfigError("no such project")

    other = Service()
    with pytest.raises(ConfigError, match="no such project"), tracking([other, Service(refuse)]):
        pytest.fail("the run began")
    assert other.status == "failed"
    assert capsys.readouterr().err == ""


def test_a_service_that_cannot_begin_says_why_and_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(what: str) -> None:
        raise PermissionError("the folder is somebody else's\nand more")

    other = Service()
    told([Service(fail), other])
    assert other.taken == everything(3)
    why = "warning: the service could not begin (the folder is somebody else's); "
    unsent = "3 rows of numbers, 2 pictures, the final numbers, the end of the run"
    assert capsys.readouterr().err.splitlines() == [f"{why}the run continues without it", f"{why}not sent: {unsent}"]


class Curves(DummyLogger):
    """A logger of Lightning's own kind, which may fail at its end."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error, self.ended = error, ""

    def finalize(self, status: str) -> None:
        self.ended = status
        if self.error is not None:
            raise self.error


def test_a_logger_that_fails_at_the_end_costs_no_other_its_data() -> None:
    service, last = Service(lambda what: sleep(0.01)), Curves()
    with pytest.raises(OSError, match="disk is full"), tracking([Curves(OSError("disk is full")), service, last]):
        service.log_metrics({"loss": 1.0}, 1)
    assert service.taken == [(1, {"loss": 1.0})]
    assert (service.status, last.ended) == ("failed", "success")  # the run did not end well


def test_the_error_of_a_run_is_not_hidden_by_that_of_a_logger(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service()
    with pytest.raises(ValueError, match="of the run"), tracking([Curves(OSError("disk is full")), service]):
        raise ValueError("of the run")
    assert service.status == "failed"
    assert capsys.readouterr().err == "warning: Curves could not be closed (OSError: disk is full)\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [(InterruptionError("stop", 143), "killed"), (KeyboardInterrupt(), "killed"), (OSError(), "failed")],
)
def test_a_run_that_ends_badly_says_how(error: BaseException, status: str) -> None:
    service = Service()
    with pytest.raises(type(error)), tracking([service]):
        raise error
    assert service.status == status


def test_a_run_that_is_told_to_stop_does_not_wait_for_a_service_that_hangs() -> None:
    def stop() -> None:
        nonlocal told_at
        told_at = monotonic()
        raise InterruptionError("stop", 143)

    told_at = 0.0
    with pytest.raises(InterruptionError):
        told([Service(lambda what: hang(what) if what != "begin" else None, patience=30)], do=stop)
    assert monotonic() - told_at < 1


def test_files_are_waited_for_without_end() -> None:
    service = Service(lambda what: sleep(0.15), patience=None)
    told([service])
    assert service.taken == everything(3)
