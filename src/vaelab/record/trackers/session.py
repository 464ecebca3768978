"""The trackers of one run: opened before it, closed after it, with limits on waiting for them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from lightning.pytorch.loggers import Logger, WandbLogger

from vaelab.errors import DivergenceError, InterruptionError
from vaelab.record.trackers.description import Description
from vaelab.record.trackers.tracker import Status, Tracker
from vaelab.secrets import redact_text

START = 5.0  # seconds to wait for the first answers, part of a tracker's patience
EXIT = 1.0  # seconds of the patience that are reserved for the end of the process
HURRY = 2.0  # seconds to wait after the run was interrupted


def trackers_among(loggers: Sequence[Logger]) -> list[Tracker]:
    """Return the loggers that take more than numbers; loggers of Lightning take only numbers."""
    return [logger for logger in loggers if isinstance(logger, Tracker)]


@contextmanager
def tracking(loggers: Sequence[Logger], description: Description | None = None) -> Iterator[None]:
    """Open the trackers among some loggers, and close all loggers at the end in any case.

    Waiting for several trackers happens in parallel, so several hanging trackers cost no more time than one. A run that
    fails sends an alert.

    Args:
        loggers: the loggers of a run.
        description: the description of the run for every tracker.

    Raises:
        vaelab.errors.UserError: a tracker's service refuses the run.
    """
    trackers = trackers_among(loggers)
    status: Status = "failed"
    began, waited = monotonic(), 0.0
    try:
        try:
            for tracker in trackers:
                tracker.open(description)
            for tracker in trackers:
                tracker.await_begin(began + START)
        finally:
            waited = monotonic() - began
        _say(trackers)
        yield
        status = "finished"
    except (InterruptionError, KeyboardInterrupt, SystemExit):
        status = "killed"
        raise
    except Exception as error:
        title = "training diverged" if isinstance(error, DivergenceError) else "run failed"
        for tracker in trackers:
            tracker.log_alert(title, redact_text(f"{type(error).__name__}: {error}"))
        raise
    finally:
        _close(loggers, trackers, status, waited)


def _close(loggers: Sequence[Logger], trackers: Sequence[Tracker], status: Status, waited: float) -> None:
    """Close all loggers, also if one of them raises; the first such error of a successful run is raised at the end."""
    errors: list[Exception] = []
    try:
        for logger in loggers:
            try:
                _finalize(logger, status)
            except Exception as error:
                errors.append(error)
                if status != "finished":  # the error that ended the run matters more
                    said = redact_text(f"{type(error).__name__}: {error}".partition("\n")[0])
                    print(f"warning: {type(logger).__name__} could not be closed ({said})", file=sys.stderr)
        ended: Status = "failed" if errors and status == "finished" else status
        for tracker in trackers:
            tracker.close(ended)
        began = monotonic()
        for tracker in trackers:
            tracker.await_end(None if tracker.patience is None else began + _left(tracker.patience, ended, waited))
    except BaseException:  # Ctrl-C during the wait
        for tracker in trackers:
            tracker.abandon()
        raise
    finally:
        _say(trackers)
    if errors and status == "finished":
        raise errors[0]


def _finalize(logger: Logger, status: Status) -> None:
    if not isinstance(logger, Tracker):
        logger.finalize("success" if status == "finished" else "failed")
    if type(logger) is WandbLogger:  # a user's own logger: in a sweep, the next job must begin its own run
        logger.experiment.finish(exit_code=0 if status == "finished" else 1)


def _left(patience: float, status: Status, waited: float) -> float:
    left = max(0.0, patience - waited - EXIT)
    return min(left, HURRY) if status == "killed" else left


def _say(trackers: Sequence[Tracker]) -> None:
    for tracker in trackers:
        while tracker.notices:
            print(f"warning: {tracker.notices.pop(0)}", file=sys.stderr)
        while tracker.hints:
            print(tracker.hints.pop(0))
