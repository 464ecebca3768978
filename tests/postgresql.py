"""A PostgreSQL server of a test's own, where the machine has one."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "nobody"  # as which the server runs where the tests run as root, whom it refuses
PASSWORD = "pw-4711-of-the-test"


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a running server, a password in it; its files lie in `folder`."""
    as_user = {}
    if os.geteuid() == 0:
        about = pwd.getpwnam(USER)
        os.chown(folder, about.pw_uid, about.pw_gid)
        as_user = {"user": about.pw_uid, "group": about.pw_gid, "extra_groups": []}
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    run = {"check": True, "capture_output": True, "cwd": folder, **as_user}
    subprocess.run([shutil.which("initdb"), "-D", folder / "data", "-U", "vaelab", "--auth=scram-sha-256",
                    f"--pwfile={password}", "--no-sync"], **run)  # fmt: skip
    port = 20_000 + os.getpid() % 20_000
    server = subprocess.Popen(
        [shutil.which("postgres"), "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1",
         "-c", "fsync=off"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user,
    )  # fmt: skip
    try:
        yield f"postgresql://vaelab:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(20)
