"""A PostgreSQL server of a test's own, where the machine has one."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER = "nobody"  # as which the server runs where the tests run as root, whom it refuses
PASSWORD = "pw-4711-of-the-test"
ATTEMPTS = 5  # to find a port that nobody takes before the server does
LONGEST = 60  # seconds until it answers, or has ended


class Server:
    """Started and stopped as often as a test likes, at one address; its files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._as_user = folder, dict[str, Any]()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        if os.geteuid() == 0:
            about = pwd.getpwnam(USER)
            os.chown(folder, about.pw_uid, about.pw_gid)
            self._as_user = {"user": about.pw_uid, "group": about.pw_gid, "extra_groups": []}
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        initdb = [_program("initdb"), "-D", str(folder / "data"), "-U", "vaelab", "--auth=scram-sha-256",
                  f"--pwfile={password}", "--no-sync"]  # fmt: skip
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **self._as_user)

    @property
    def address(self) -> str:
        """With a password in it."""
        return f"postgresql://vaelab:{PASSWORD}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Until it answers. At its first start it takes a port that is free."""
        chosen = self._port
        for _ in range(ATTEMPTS):
            self._port = chosen or _free_port()
            command = [_program("postgres"), "-D", str(self._folder / "data"), "-p", str(self._port),
                       "-k", str(self._folder), "-h", "127.0.0.1", "-c", "fsync=off"]  # fmt: skip
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._as_user)
            if self._answers():
                return
        raise RuntimeError((self._folder / "log").read_text())

    def _answers(self) -> bool:
        """Whether it answers in the end; not if the process ends before, such as for a port that is taken."""
        import psycopg

        assert self._process is not None
        deadline = time.monotonic() + LONGEST
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.address, connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return self._process.poll() is None
        self.stop()
        return False

    def stop(self) -> None:
        """At once, whoever is connected."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # a fast shutdown; SIGTERM waits for those who are connected
            try:
                self._process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(LONGEST)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A running server."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def is_installed() -> bool:
    """Whether the machine has one."""
    return shutil.which("initdb") is not None and shutil.which("postgres") is not None


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
