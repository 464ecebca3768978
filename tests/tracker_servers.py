"""Servers on this machine that speak enough of MLflow's and W&B's protocols to take a run, and can hang."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import urlsplit

KEY = "0123456789abcdef0123456789abcdef01234567"  # of W&B: forty digits


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: Any) -> None:
        """Nothing: a client may leave at any time."""


class Server:
    """Answers with what `answer` says; hangs for good after `hang`."""

    def __init__(self) -> None:
        self.hung_at = 0.0
        self.requests: list[tuple[str, str]] = []  # method, path
        self._closing = Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if server.hung_at:
                    server._closing.wait()
                    return
                server.requests.append((self.command, self.path))
                code, reply = server.answer(self.path, body)
                content = json.dumps(reply).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = Thread(target=self._http.serve_forever, daemon=True)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and the JSON for a request."""
        raise NotImplementedError

    def hang(self) -> None:
        """Take requests and answer none from now on."""
        self.hung_at = monotonic()

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()


class MLflowServer(Server):
    """One experiment, one run."""

    def __init__(self, code: int = 200, run_id: str = "r1") -> None:
        super().__init__()
        self.code, self.run_id = code, run_id  # MLflow's client remembers where the artifacts of an id go
        self.metrics: list[tuple[str, float, int]] = []
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.artifacts: list[str] = []
        self.status = ""

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """MLflow's REST interface."""
        if self.code != 200:
            return self.code, {"error_code": "PERMISSION_DENIED", "message": "not yours"}
        path = urlsplit(path).path
        info = {"run_id": self.run_id, "experiment_id": "1", "status": "RUNNING",
                "artifact_uri": f"mlflow-artifacts:/1/{self.run_id}"}  # fmt: skip
        run = {"info": info, "data": {"params": [{"key": k, "value": v} for k, v in self.params.items()]}}
        if "/mlflow-artifacts/" in path:
            self.artifacts.append(path.rpartition(f"/1/{self.run_id}/")[2])
            return 200, {}
        sent = json.loads(body) if body else {}
        self.status = sent.get("status", self.status)
        self.params |= {entry["key"]: entry["value"] for entry in sent.get("params", [])}
        self.tags |= {entry["key"]: entry["value"] for entry in sent.get("tags", [])}
        self.metrics += [(entry["key"], entry["value"], int(entry["step"])) for entry in sent.get("metrics", [])]
        if path.endswith("get-by-name"):
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}
        return 200, {"experiment_id": "1", "run": run, "run_info": info}


class WandbServer(Server):
    """Takes any run; what was uploaded is in `files` by name."""

    REFUSED: ClassVar[dict[str, Any]] = {"data": None, "errors": [{"message": "permission denied"}]}

    def __init__(self, code: int = 200) -> None:
        super().__init__()
        self.code = code
        self.files: dict[str, bytes] = {}

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """W&B's GraphQL, file stream and uploads."""
        if self.code != 200:
            return self.code, self.REFUSED
        if path.startswith("/upload/"):
            self.files[path.removeprefix("/upload/")] = body
        if not path.startswith("/graphql"):
            return 200, {}
        sent = json.loads(body)
        query, variables = sent["query"], sent["variables"]
        if "UpsertBucket" in query:
            project = {"id": "p", "name": "vaelab", "entity": {"id": "e", "name": "team"}}
            bucket = {
                "id": "b",
                "name": variables.get("name"),
                "displayName": "run",
                "config": "{}",
                "project": project,
            }
            return 200, {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in variables["files"]]
            return 200, {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        return 200, {"data": {}}


@contextmanager
def nobody(listens: bool) -> Iterator[str]:
    """An address where connections are taken and never answered, or refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        if listens:
            taken.listen(16)
            yield address
            return
    yield address
