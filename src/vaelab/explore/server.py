"""Serves the page on the loopback address until Ctrl-C."""

import os
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from vaelab.errors import ConfigError
from vaelab.explore.explorer import LARGEST, Explorer
from vaelab.explore.package import gradio
from vaelab.explore.page import build, look
from vaelab.signals import raising_when_told_to_end
from vaelab.trained import Trained

ADDRESS = "127.0.0.1"


def serve(trained: Trained, files: Sequence[tuple[Path, Path]], port: int, browser: bool) -> None:
    """Show the page until the process is told to end.

    Args:
        trained: the model.
        files: the files for the map, each with its name; see `Adapter.find`.
        port: the port; 0 for any free one.
        browser: whether to open the page in a browser.

    Raises:
        ConfigError: Gradio is not installed, or the port is taken.
        DataError: a file cannot be used.
    """
    stop = Event()
    with TemporaryDirectory(prefix="vaelab-explore-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # for uploads; deleted at the end
        page: Any = None
        try:
            with raising_when_told_to_end():
                port = free_port(port)
                page = build(Explorer(trained, files))
                start(page, port)
                url = f"http://{ADDRESS}:{port}"
                print(f"{url} shows {trained.spec.name}; Ctrl-C ends it", flush=True)
                if browser:
                    webbrowser.open(url)
                stop.wait()
        except KeyboardInterrupt:
            print("stopped", flush=True)
        finally:
            if page is not None:
                page.close(verbose=False)


def start(page: Any, port: int) -> None:
    """Start to serve a page in a thread; it can be opened only on this machine.

    Raises:
        ConfigError: the port is taken.
    """
    hosts = os.environ.get("NO_PROXY", os.environ.get("no_proxy", ""))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [hosts, ADDRESS]))  # Gradio calls itself
    try:
        page.launch(
            server_name=ADDRESS, server_port=port, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
            max_file_size=LARGEST, ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False,
            footer_links=[], strict_cors=True, **look(gradio()),
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"--port {port}: is taken; leave --port out for a free one") from error


def free_port(port: int) -> int:
    """The given port, or a free one for 0.

    Raises:
        ConfigError: the port is taken, or the user is not allowed to use it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror}; leave --port out for a free one") from error
        found: int = probe.getsockname()[1]
        return found
