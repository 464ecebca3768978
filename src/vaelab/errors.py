"""Errors meant for the person at the keyboard: one message, no traceback, a non-zero exit code."""

from vaelab.config.secrets import redact_text


class UserError(Exception):
    """Something the user can put right. The message names the key, file or value, and the remedy, and no secret."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(redact_text(message))


def own_error(error: BaseException) -> UserError | None:
    """The error of this kind that a library has wrapped in one of its own, if it is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__
    return cause


def printable(text: str, longest: int) -> str:
    """What a file or a user says, fit for a message: at most so many characters, and none that a terminal obeys."""
    text = text if len(text) <= longest else f"{text[:longest]}..."
    return text if text.isprintable() else ascii(text)[1:-1]


class ConfigError(UserError):
    """A key, option or value that does not fit."""

    exit_code = 2


class DataError(UserError):
    """A data set that is missing, empty or broken."""


class CheckpointError(UserError):
    """A checkpoint or run folder that is missing, broken or of another architecture."""


class InterruptionError(UserError):
    """The run was told to stop from outside."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DivergenceError(UserError):
    """A loss or weight that is no longer a number."""
