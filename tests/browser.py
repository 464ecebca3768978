"""A headless Chromium, driven over two pipes by the DevTools protocol: no package and no port is needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip
# The browser reads commands from descriptor 3 and answers on 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 60  # seconds for an answer
PHONE = (390, 844)
DESKTOP = (1280, 900)


class Tab:
    """One page in the browser.

    Attributes:
        errors: what the console showed: exceptions, errors and violations of the content policy.
        requests: addresses that the page asked for, less itself and what lies in it.
    """

    def __init__(self, browser: "Browser", session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.errors: list[str] = []
        self.requests: list[str] = []

    def opened(self, page: Path, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> "Tab":
        """Load a file in a window of this size, to somebody who prefers this scheme; it fits, and needs nothing."""
        self.resize(size)
        self.emulate(scheme=scheme)
        self.open(page)
        assert self.overflow() <= 0, "the page is wider than the window"
        self.run("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert self.overflow() <= 0, "the page is wider than the window where all is unfolded"
        assert (self.errors, self.requests) == ([], [])
        return self

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; returns its result."""
        return self._browser.call(method, self._session, **parameters)

    def open(self, page: Path) -> None:
        """Load a file, wait until it is there."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._browser.wait(self._session, "Page.loadEventFired")
        self.call("Page.getLayoutMetrics")  # lays the page out, scripts or not

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, such as `ArrowLeft` (37)."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def resize(self, size: tuple[int, int]) -> None:
        """Show the page in a window of this width and height in CSS pixels."""
        width, height = size
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )  # fmt: skip

    def emulate(self, media: str = "screen", scheme: str = "light") -> None:
        """Show the page as on `screen` or in `print`, to somebody who prefers `light` or `dark`."""
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self.call("Page.getLayoutMetrics")

    def shot(self, path: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(found["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def pdf(self) -> bytes:
        """The page as it is printed, on A4."""
        found = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        return base64.b64decode(found["data"])

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        return self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def heard(self, method: str, about: dict[str, Any]) -> None:
        """Keep what an event says of errors and requests."""
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"])[:1000])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(about["args"])[:1000])
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = about["request"]["url"]
            if not url.startswith("data:") and about.get("type") != "Document":
                self.requests.append(url)

    def close(self) -> None:
        """Leave the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)


class Browser:
    """A running Chromium."""

    def __init__(self, process: "subprocess.Popen[bytes]", commands: int, answers: int) -> None:
        self._process, self._commands, self._answers = process, commands, answers
        self._number, self._buffer = 0, b""
        self._tabs: dict[str, Tab] = {}
        self._events: list[tuple[str, str]] = []

    def tab(self) -> Tab:
        """A new page, which listens to errors and requests."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        return tab

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(method)
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def wait(self, session: str, event: str) -> None:
        """Until an event has come since it was last waited for."""
        while (session, event) not in self._events:
            self._next(event)
        self._events = [one for one in self._events if one != (session, event)]

    def _next(self, what: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._answers, 2**20) if ready else b""
            if not part:
                raise TimeoutError(f"the browser does not answer {what} (exit status {self._process.poll()})")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message and (session := message.get("sessionId")) in self._tabs:
            self._events.append((session, message["method"]))
            self._tabs[session].heard(message["method"], message["params"])
        return message


@contextmanager
def started() -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with the block."""
    assert PROGRAM is not None
    with TemporaryDirectory(prefix="vaelab-browser-", ignore_cleanup_errors=True) as profile:
        ours, theirs = os.pipe(), os.pipe()
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1]))
        arguments = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", LAUNCH, str(read), str(write), *arguments],
            pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (ours[0], theirs[1], read, write):
            os.close(end)
        browser = Browser(process, ours[1], theirs[0])
        try:
            yield browser
        finally:
            with suppress(Exception):
                browser.call("Browser.close")
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(ours[1])
            os.close(theirs[0])
