"""Errors meant for the person at the keyboard: one message, no traceback, a non-zero exit code."""

import re

from vaelab.secrets import redact_text

# Control characters, those that turn the direction of what follows, other ends of a line, and halves of a character.
OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_GAP = re.compile(r"[\n\r\t][ \n\r\t]*")


class UserError(Exception):
    """Something the user can put right. The message names the key, file or value, and the remedy, and no secret.

    It is one line, without characters that a terminal obeys, whatever is in a file that it quotes.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(_GAP.sub(" ", redact_text(message).strip())))


def own_error(error: BaseException) -> UserError | None:
    """The error of this kind that a library has wrapped in one of its own, if it is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    return cause


def printable(text: str, longest: int | None = None) -> str:
    """What a file or a user says, fit for a message.

    Args:
        text: in which characters that a terminal obeys become escapes, such as `\\x1b`.
        longest: characters that are shown at most; None for all.
    """
    text = text if longest is None or len(text) <= longest else f"{text[:longest]}..."
    return OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class ConfigError(UserError):
    """A key, option or value that does not fit."""

    exit_code = 2


class DataError(UserError):
    """A data set that is missing, empty or broken."""


class CheckpointError(UserError):
    """A checkpoint or run folder that is missing, broken or of another architecture."""


class DamagedError(CheckpointError):
    """A checkpoint that is cut short or is not what was written; an older one may do."""


class InterruptionError(UserError):
    """The run was told to stop from outside."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DivergenceError(UserError):
    """A loss or weight that is no longer a number."""
