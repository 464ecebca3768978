"""`vaelab explore` on the command line: what it refuses, and what the page is made of."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from saved_models import image_run, music_run, series_run, table_run, text_run
from vaelab.cli import main
from vaelab.errors import ConfigError
from vaelab.explore.server import free_port

RUNS = {"image": image_run, "table": table_run, "series": series_run, "text": text_run, "music": music_run}


def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """The exit code of a command line, and its message."""
    monkeypatch.setattr(sys, "argv", ["vaelab", "explore", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0), capsys.readouterr().err


def test_a_missing_package_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    told = error_of(monkeypatch, capsys, tmp_path / "run")
    assert told == (2, "error: explore: needs the package gradio; pip install 'vaelab[explore]'\n")


def test_a_port_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = error_of(monkeypatch, capsys, tmp_path, "--port", 70_000)
    assert told == (2, "error: --port 70000: should be from 0 to 65,535\n")


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: .*leave --port out"):
            free_port(port)
    assert free_port(0) > 0


PROGRAM = """
import json, os, sys
from pathlib import Path
import vaelab
from vaelab.explore.explorer import Explorer
from vaelab.explore.page import build

made = {}
for run, given in [("image", "pictures"), ("table", "people.csv"), ("series", "long.csv"), ("text", "words.txt"),
                   ("music", "songs")]:
    home = Path(sys.argv[1]) / run
    trained = vaelab.load(home / "run")
    for files in (trained.adapter.find([home / given]), ()):
        made[f"{run} {len(files) > 0}"] = build(Explorer(trained, files)).get_config_file()["components"]
import gradio
about = [name for name in os.environ if name.startswith("GRADIO_")], gradio.analytics.analytics_enabled()
print(json.dumps([about, made], default=str))
"""


@pytest.mark.long
@pytest.mark.skipif(not find_spec("gradio"), reason="gradio is not installed")
def test_the_page_has_the_tabs_that_fit_and_nothing_opens_it_to_others(tmp_path: Path) -> None:
    for kind, make in RUNS.items():
        (tmp_path / kind).mkdir()
        make(tmp_path / kind)
    # A process of its own: Gradio leaves event loops open.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True,
        env=os.environ | {"GRADIO_SHARE": "True", "GRADIO_ROOT_PATH": "https://example.org"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (variables, analytics), pages = json.loads(done.stdout)
    assert (variables, analytics) == (["GRADIO_ANALYTICS_ENABLED"], False)
    for name, parts in pages.items():
        tabs = [part["props"]["label"] for part in parts if part["type"] == "tabitem"]
        assert tabs == ["Latent", "Samples", "Your files", "Between two", *(["Map"] if "True" in name else [])]
        labels = {part["props"]["label"] for part in parts if part["type"] == "slider"}
        assert {"z0", "z1", "z2"} <= labels
        for part in parts:  # a button that sends something to a public site
            assert "share" not in (part["props"].get("buttons") or []), part["type"]
