"""Requests to W&B's server in a separate process, which is ended after a time limit even if W&B hangs.

`python -m vaelab.search.weights_and_biases.server <request>` is that process.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from vaelab.errors import UserError, printable
from vaelab.secrets import redact_text

if TYPE_CHECKING:
    from vaelab.search.weights_and_biases.composed import Account

PROBE = 5.0  # time limit for a first answer, in seconds
PATIENCE = 20  # time limit for W&B's answer to a request, in seconds
LONGEST = 60.0  # total time limit, in seconds
_OFFLINE = ("offline", "dryrun", "disabled")


@dataclass(frozen=True)
class Begun:
    """A sweep that was started at W&B.

    Attributes:
        id: its id.
        path: its path, as `wandb agent` expects it.
        address: the address of its page; empty if W&B does not return one.
    """

    id: str
    path: str
    address: str


class NotStartedError(UserError):
    """W&B's server did not answer, or refused the request."""


def begin(definition: Path, account: "Account") -> Begun:
    """Start the sweep that a file describes.

    Raises:
        NotStartedError: no user is logged in, or the server does not answer or refuses.
    """
    found = _ask({"definition": str(definition), "project": account.project, "entity": account.entity})
    return Begun(str(found["id"]), str(found["path"]), str(found["address"]))


def log_in() -> None:
    """Check that a user is logged in and the server answers.

    Raises:
        NotStartedError: no user is logged in, or the server does not answer.
    """
    _ask({})


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    if (mode := os.environ.get("WANDB_MODE", "")) in _OFFLINE:
        raise NotStartedError(f"WANDB_MODE={mode}, but a sweep needs W&B's server")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "vaelab.search.weights_and_biases.server", json.dumps(request)],
            stdin=subprocess.DEVNULL,  # W&B asks for a key if there is a terminal
            capture_output=True,
            text=True,
            timeout=LONGEST,
            env=os.environ | {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"},
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise NotStartedError(f"W&B did not answer within {LONGEST:.0f} seconds") from error
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        last = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]
        raise NotStartedError(f"the request to W&B failed ({printable(redact_text(last), 300)})") from error
    if "refused" in found:
        raise NotStartedError(str(found["refused"]))
    return found


def main() -> None:
    """Answer the request of the command line in one line of JSON."""
    request = json.loads(sys.argv[1])
    answers, sys.stdout = sys.stdout, sys.stderr  # W&B prints messages to stdout
    try:
        found = _answer(request)
    except NotStartedError as error:
        found = {"refused": str(error)}
    print(json.dumps(found), file=answers, flush=True)
    os._exit(0)  # a usual exit would wait for W&B's service, which ends by itself


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    import wandb

    settings = wandb.setup().settings
    address = settings.base_url
    if not _answers(address):
        raise NotStartedError(f"W&B at {redact_text(address)} does not answer")
    try:
        api = wandb.Api(timeout=PATIENCE)
    except wandb.errors.UsageError as error:
        raise NotStartedError("not logged in to W&B; run `wandb login`") from error
    except Exception as error:  # whatever a library raises
        raise NotStartedError(f"W&B refused the login ({_reason(error)})") from error
    if "definition" not in request:
        return {}
    import yaml

    sweep = yaml.safe_load(Path(request["definition"]).read_text(encoding="utf-8"))
    try:
        made = wandb.sweep(sweep, entity=request["entity"], project=request["project"])
    except Exception as error:  # whatever a library raises
        raise NotStartedError(f"W&B did not start the sweep ({_reason(error)})") from error
    entity, project = os.environ.get("WANDB_ENTITY") or api.default_entity, os.environ.get("WANDB_PROJECT")
    path = "/".join(filter(None, (entity, project or request["project"], made)))
    page = f"{settings.app_url}/{entity}/{project}/sweeps/{made}"
    return {"id": made, "path": path, "address": page if entity and project else ""}


def _answers(address: str) -> bool:
    """Whether anything answers HTTP at an address."""
    try:
        with urlopen(address, timeout=PROBE):
            return True
    except HTTPError:
        return True  # an error status is an answer, too
    except URLError as error:
        return "SSL" in type(error.reason).__name__  # W&B may know a certificate that Python does not
    except (OSError, ValueError):
        return False


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__


if __name__ == "__main__":
    main()
