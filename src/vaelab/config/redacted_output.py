"""Hide secrets in everything that this process prints: by Hydra, warnings, tracebacks or libraries."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from types import TracebackType
from typing import Any, TextIO, cast

from vaelab.secrets import redact_text


class RedactedStream:
    """A text stream that hides secrets line by line, and otherwise behaves like the stream that it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held = ""
        self._lock = Lock()

    def write(self, text: str) -> int:
        """Write complete lines; `print` writes a line in pieces."""
        with self._lock:
            self._held += text
            complete = max(self._held.rfind("\n"), self._held.rfind("\r")) + 1
            if complete:
                self._stream.write(redact_text(self._held[:complete]))
                self._held = self._held[complete:]
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write everything, including an incomplete line."""
        with self._lock:
            if self._held:
                self._stream.write(redact_text(self._held))
                self._held = ""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def redacted_output() -> Iterator[None]:
    """Hide secrets in printed and logged text, and in the traceback of an error that ends the process."""
    printed, written, make_record = sys.stdout, sys.stderr, logging.getLogRecordFactory()
    streams = [RedactedStream(printed), RedactedStream(written)]
    sys.stdout, sys.stderr = (cast(TextIO, stream) for stream in streams)
    logging.setLogRecordFactory(_redacting(make_record))  # log files do not use these streams
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = print_redacted
    try:
        yield
    finally:
        for stream in streams:
            with suppress(OSError):  # the command has reported it, or failed for another reason
                flush_or_forget(stream)
        sys.stdout, sys.stderr = printed, written
        logging.setLogRecordFactory(make_record)


def flush_or_forget(stream: Any) -> None:
    """Flush a stream; if its reader has ended, discard the output.

    Raises:
        OSError: writing failed for another reason, such as a full disk; the output is discarded.
    """
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # Python would try again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, without secrets."""
    print(redact_text("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _redacting(make: Any) -> Any:
    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(*args, **kwargs)
        with suppress(TypeError, ValueError):  # logging itself reports a message that does not match its arguments
            text = record.getMessage()
            if (hidden := redact_text(text)) != text:
                record.msg, record.args = hidden, ()
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_text = redact_text(trace)
        return record

    return make_redacted
