"""`vaelab explore` as a process of its own, and its page in a browser."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from browser import Tab
from saved_models import image_run

pytestmark = [pytest.mark.long, pytest.mark.skipif(not find_spec("gradio"), reason="gradio is not installed")]
PATIENCE = 60  # seconds for the page to change
TABS = ("Latent", "Samples", "Your files", "Between two", "Map")
FROM_GRADIO = "Method not implemented."  # its own client warns of its own end of a stream
PICTURE = "(document.querySelector('#decoded img') || {}).src"
VERDICT = "document.querySelector('#verdict textarea').value"
MOVE = """(() => { const slider = document.querySelector('#z0 input[type=range]'); slider.value = 2.5;
slider.dispatchEvent(new Event('input', {bubbles: true})); })()"""
GO_TO = """(async () => {
  const find = () => [...document.querySelectorAll('[role=tab], .overflow-dropdown button')].find(
    one => one.textContent.trim() == NAME);
  if (!find()) document.querySelector('.overflow-menu button').click();
  await new Promise(done => setTimeout(done, 300));
  find().click();
  await new Promise(done => setTimeout(done, 500));
})()"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of the page of a small model of pictures, and the folder of these; it ends by Ctrl-C in one line."""
    home = tmp_path_factory.mktemp("explore")
    run = image_run(home)
    words = ["explore", run, home / "pictures", "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vaelab", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(home)},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line.startswith("http://127.0.0.1:"), line
        yield line.split()[0], home / "pictures"
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (output, errors, process.returncode) == ("stopped\n", "", 0)
    assert not list(home.glob("vaelab-explore-*"))


@pytest.fixture
def page(served: tuple[str, Path], tab: Tab) -> Iterator[Tab]:
    """The page with its first picture; it asks no other host for anything, and its console holds no error."""
    tab.resize((1280, 900))
    tab.call("Page.navigate", url=served[0])
    until(tab, f"!!{PICTURE}")
    yield tab
    assert [one for one in tab.errors if FROM_GRADIO not in one] == []
    assert [one for one in tab.requests if not one.startswith((served[0], f"blob:{served[0]}"))] == []


def until(tab: Tab, condition: str) -> float:
    """Seconds until a JavaScript expression is true."""
    start = time.monotonic()
    while not tab.run(condition):
        assert time.monotonic() - start < PATIENCE, condition
        time.sleep(0.05)
    return time.monotonic() - start


def go_to(tab: Tab, name: str) -> None:
    tab.run(GO_TO.replace("NAME", json.dumps(name)))


def upload(tab: Tab, place: str, file: Path) -> None:
    root: Any = tab.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    node = tab.call("DOM.querySelector", nodeId=root, selector=f"{place} input[type=file]")["nodeId"]
    tab.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
    until(tab, f"!document.querySelector({json.dumps(place + ' input[type=file]')})")


def test_a_slider_changes_the_picture(page: Tab) -> None:
    before = page.run(PICTURE)
    page.run(MOVE)
    assert until(page, f"{PICTURE} != {json.dumps(before)}") < 10
    page.run("document.querySelector('#reset').click()")
    until(page, "document.querySelector('#z0 input[type=range]').value == 0")


def test_samples_fill_the_gallery(page: Tab) -> None:
    go_to(page, "Samples")
    page.run("document.querySelector('#draw').click()")
    until(page, "document.querySelectorAll('#samples img').length == 16")


def test_an_upload_is_looked_at(page: Tab, served: tuple[str, Path]) -> None:
    go_to(page, "Your files")
    upload(page, "#file", served[1] / "03.png")
    page.run("document.querySelector('#look').click()")
    until(page, f"!!{VERDICT}")
    assert "The score is" in page.run(VERDICT)
    until(page, "document.querySelectorAll('#near img').length == 6")


def test_a_wrong_upload_is_one_message(page: Tab, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    go_to(page, "Your files")
    toast = "(document.querySelector('.toast-body') || {}).textContent"
    upload(page, "#file", tmp_path / "broken.png")
    page.run("document.querySelector('#look').click()")
    until(page, f"({toast} || '').includes('broken.png')")
    assert "Traceback" not in page.run(toast)


def test_a_click_on_the_map_shows_the_example(page: Tab) -> None:
    go_to(page, "Map")
    until(page, "document.querySelector('#map img').getBoundingClientRect().width > 100")
    x, y = page.run(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector('#map img').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    until(
        page,
        "[...document.querySelectorAll('#chosen textarea, #chosen input')].some(one => one.value.endsWith('.png'))",
    )


def test_it_fits_on_a_phone(page: Tab) -> None:
    page.resize((360, 740))
    for name in TABS:
        go_to(page, name)
        assert page.overflow() <= 0, name
