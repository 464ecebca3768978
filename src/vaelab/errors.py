"""Errors for the user: one message, no traceback, a non-zero exit code."""

import re

from vaelab.secrets import redact_text

# Control characters, characters that change the text direction, other line ends, and lone surrogates.
OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_GAP = re.compile(r"[\n\r\t][ \n\r\t]*")


class UserError(Exception):
    """An error that the user can fix. The message names the key, file or value and the remedy, and contains no secret.

    It is one line without terminal control characters, also if it quotes a file that has some.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(_GAP.sub(" ", redact_text(message).strip())))


def own_error(error: BaseException) -> UserError | None:
    """Return the UserError that a library has wrapped in an error of its own, if there is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    return cause


def printable(text: str, longest: int | None = None) -> str:
    """Make a text from a file or a user safe for a message.

    Args:
        text: the text; terminal control characters become escapes, such as `\\x1b`.
        longest: the largest number of characters; None for all.
    """
    text = text if longest is None or len(text) <= longest else f"{text[:longest]}..."
    return OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class ConfigError(UserError):
    """A key, option or value is not valid."""

    exit_code = 2


class DataError(UserError):
    """A data set is missing, empty or damaged."""


class CheckpointError(UserError):
    """A checkpoint or run folder is missing or damaged, or has another architecture."""


class DamagedError(CheckpointError):
    """A checkpoint is truncated or has changed since it was written; an older one may work."""


class InterruptionError(UserError):
    """The run was stopped by a signal."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DivergenceError(UserError):
    """A loss or weight is NaN or infinite."""
