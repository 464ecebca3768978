"""Saving a dashboard at W&B."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import wandb

from vaelab.dashboard.build import REPORT, Dashboard
from vaelab.errors import UserError

PATIENCE = 20  # seconds for an answer of the server


def push(dashboard: Dashboard) -> Iterator[tuple[str, str]]:
    """Save workspaces and report one after the other, and give what was saved and its address after each.

    A view that was saved before is changed in its place.

    Raises:
        UserError: nobody is logged in, or the server does not answer or refuses.
    """
    account = log_in()
    entity = dashboard.entity or account.settings.get("entity") or account.default_entity
    if not entity:
        raise UserError("W&B has no default entity for this account; name the owner with --entity <name>")
    for task, one in dashboard.workspaces.items():
        one.entity = entity
        dashboard.urls[task] = _save(one, f"the workspace of {task}")
        yield f"workspace {one.name}", dashboard.urls[task]
    if dashboard.report is not None:
        dashboard.report.entity = entity
        dashboard.urls[REPORT] = _save(dashboard.report, "the report")
        yield "report", dashboard.urls[REPORT]


def log_in() -> Any:
    """W&B's account of this machine; nobody is asked for a key.

    Raises:
        UserError: there is none, or the server does not answer.
    """
    try:
        with _nobody_at_the_keyboard():
            return wandb.Api(timeout=PATIENCE)
    except wandb.errors.UsageError as error:
        raise UserError("not logged in to W&B, so nothing was saved there; run `wandb login`") from error
    except Exception as error:  # whatever a library raises
        raise UserError(f"W&B did not answer ({_reason(error)}), so nothing was saved there") from error


def _save(one: Any, what: str) -> str:
    try:
        return str(one.save().url)
    except Exception as error:  # whatever a library raises
        raise UserError(f"W&B did not save {what} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__


@contextmanager
def _nobody_at_the_keyboard() -> Iterator[None]:
    """W&B asks for a key where it finds a terminal."""
    typed = sys.stdin
    with open(os.devnull, encoding="utf-8") as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = typed
