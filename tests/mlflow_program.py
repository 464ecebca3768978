"""A real MLflow server for tests."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

OWN = Path(__file__).parents[1] / ".ci/mlflow/bin/mlflow"
"""A server needs packages that the client does not; `.ci/run` installs them apart."""
SERVER = os.environ.get("VAELAB_MLFLOW") or (str(OWN) if OWN.is_file() else None)
MISSING = "needs the program of an MLflow server in the variable VAELAB_MLFLOW"


@contextmanager
def serving(store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a server on SQLite, and its process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert SERVER is not None
    where = [f"--backend-store-uri=sqlite:///{store}/runs.db", f"--artifacts-destination={store}/artifacts"]
    log = (store / "server.log").open("ab")
    process = subprocess.Popen(
        [SERVER, "server", *where, "--host=127.0.0.1", f"--port={port}", "--workers=1"],
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    address, until = f"http://127.0.0.1:{port}", monotonic() + 120
    while True:
        try:
            urlopen(f"{address}/health", timeout=1).close()
            break
        except (URLError, OSError):
            assert process.poll() is None, (store / "server.log").read_text()
            assert monotonic() < until, "the server does not answer"
            sleep(0.2)
    try:
        yield address, process
    finally:
        kill(process)
        log.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a server without a word."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
