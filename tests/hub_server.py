"""A stand-in for the Hugging Face hub on this machine: repositories in memory, over HTTP."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Answers what `huggingface_hub` asks of models.

    Attributes:
        files: contents by repository and path.
        asked: the paths of all requests.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in self.server.files:
            files = self.server.files["/".join(parts[2:4])]
            about = [
                {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            if "tree" in parts:
                self._json(about)
                return
            names = [{"rfilename": name} for name in files]
            self._json({"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": names, "private": False, "tags": []})
            return
        if len(parts) > 4 and parts[2] == "resolve" and parts[4] in self.server.files.get("/".join(parts[:2]), {}):
            content = self.server.files["/".join(parts[:2])][parts[4]]
            self.send_response(200)
            self.send_header("ETag", f'"{sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)
            return
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("X-Error-Message", "Repository not found")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            about = json.loads(content)
            name = f"{about['organization']}/{about['name']}" if about.get("organization") else f"me/{about['name']}"
            self.server.files.setdefault(name, {})
            self._json({"url": f"{self.server.address}/{name}", "id": name})
        elif "preupload" in parts:
            names = [one["path"] for one in json.loads(content)["files"]]
            self._json({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif "commit" in parts:
            for line in content.decode().splitlines():
                told = json.loads(line)
                if told["key"] == "file":
                    own = base64.b64decode(told["value"]["content"])
                    self.server.files["/".join(parts[2:4])][told["value"]["path"]] = own
            self._json(
                {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"{self.server.address}/{parts[2]}/{parts[3]}/commit/{COMMIT}",
                }
            )
        else:
            self._json({})

    def _json(self, data: Any) -> None:
        content = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the end of the `with`."""
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
