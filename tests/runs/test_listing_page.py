"""The page of a listing, in a browser: complete without its script, sorted and filtered with it."""

import os
import re
from pathlib import Path

import pytest

from browser import DESKTOP, PHONE, Tab
from run_folders import make_picture, make_run
from vaelab.errors import ConfigError
from vaelab.record.state import RunStatus
from vaelab.runs.command import runs

EVIL = "<img src=x onerror=console.error(1)>"
NAMES = "[...document.querySelectorAll('tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].textContent)"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Of five runs, one of which failed; three have pictures, one of which is broken."""
    logs = tmp_path / "logs"
    for number, (data, dim, nll) in enumerate([("mnist", 2, 90.0), ("mnist", 10, 80.0), ("digits", 9, 85.0)]):
        folder = make_run(logs / f"run{number}", f"data={data}", f"latent_dim={dim}", day=number, test__nll=nll)
        make_picture(folder, shade=80 + 40 * number)
    (logs / "run2" / "figures" / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (logs / "run1" / "report.html").write_text("<title>report of run1</title>")
    make_run(logs / "größe #1?", "data=digits", status=RunStatus.FAILED, why=EVIL, day=3)
    make_run(logs / EVIL.replace("/", ""), "data=digits", day=4, test__nll=99.0)
    runs([str(logs), "--page"])
    return logs / "runs.html"


def test_it_holds_every_run_and_needs_nothing(page: Path, tab: Tab) -> None:
    tab.open(page)
    assert tab.run(NAMES) == [EVIL, "größe #1?", "run2", "run1", "run0"]
    loaded = "one => { one.loading = 'eager'; return one.decode().then(() => one.naturalWidth <= 120) }"
    assert tab.run(f"Promise.all([...document.images].map({loaded}))") == [True, True]
    assert tab.run("document.scripts.length") == 1
    assert (tab.errors, tab.requests) == ([], [])


def test_a_name_leads_to_the_report(page: Path, tab: Tab) -> None:
    tab.open(page)
    assert tab.run("document.querySelectorAll('tbody a').length") == 1
    assert tab.run("document.querySelector('tbody a').getAttribute('href')") == "run1/report.html"


def test_it_is_whole_without_its_script(page: Path) -> None:
    text = page.read_text(encoding="utf-8").partition("<script>")[0]
    assert text.count("<tr>") == 6
    assert "train.py data=mnist latent_dim=10" in text
    assert all(f">{status}<" in text for status in ("finished", "failed"))
    assert "hidden" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["screen", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(page: Path, tab: Tab, size: tuple[int, int], scheme: str) -> None:
    tab.resize(size)
    tab.emulate(scheme=scheme)
    tab.open(page)
    assert tab.overflow() <= 0


def typed(tab: Tab, words: str) -> list[str]:
    tab.run(
        "(() => { const line = document.querySelector('.filters input'); line.value = " + repr(words) + ";"
        "line.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    return tab.run(NAMES)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("mnist", ["run1", "run0"]),
        ("MNIST finished", ["run1", "run0"]),
        ("nll<90", ["run2", "run1"]),
        ("test/nll>=90", [EVIL, "run0"]),
        ("latent_dim=10", ["run1"]),
        ("latent_dim>8", ["run2", "run1"]),
        ("data=mnist nll<85", ["run1"]),
        ("status!=finished", ["größe #1?"]),
        ("run~un2", ["run2"]),
        ("[", []),
        ("unknown=1", []),
        ("", [EVIL, "größe #1?", "run2", "run1", "run0"]),
    ],
)
def test_words_and_conditions_filter(page: Path, tab: Tab, words: str, left: list[str]) -> None:
    tab.open(page)
    assert typed(tab, words) == left
    count = "5 runs" if len(left) == 5 else f"{len(left)} of 5 runs"
    assert tab.run("document.querySelector('.filters output').textContent") == count
    assert tab.errors == []


def test_a_menu_filters_by_what_there_is(page: Path, tab: Tab) -> None:
    tab.open(page)
    names = "[...document.querySelectorAll('.filters select')].map(one => one.getAttribute('aria-label'))"
    assert tab.run(names) == ["status", "data"]
    tab.run(
        "(() => { const menu = document.querySelector('select[aria-label=status]'); menu.value = '=failed';"
        "menu.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    assert tab.run(NAMES) == ["größe #1?"]


def test_a_click_sorts(page: Path, tab: Tab) -> None:
    tab.open(page)

    def click(title: str) -> list[str]:
        tab.run(
            f"[...document.querySelectorAll('thead button')].find(one => one.textContent.trim() === {title!r}).click()"
        )
        return tab.run(NAMES)

    assert click("test/nll") == ["run1", "run2", "run0", EVIL, "größe #1?"]  # without a number comes last
    assert click("test/nll") == [EVIL, "run0", "run2", "run1", "größe #1?"]
    assert click("when") == [EVIL, "größe #1?", "run2", "run1", "run0"]
    assert click("when") == ["run0", "run1", "run2", "größe #1?", EVIL]
    assert click("data")[-2:] == ["run1", "run0"]
    assert click("run")[1:] == ["größe #1?", "run0", "run1", "run2"]
    assert typed(tab, "mnist") == ["run0", "run1"]  # in the order that was chosen
    assert tab.run("[...document.querySelectorAll('thead th')].some(one => one.textContent === 'figure')")


def test_paper_shows_the_table_alone(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.resize((688, 1000))
    tab.emulate(media="print")
    assert tab.run("document.querySelector('.filters').offsetHeight") == 0
    assert tab.overflow() <= 0


def test_a_place_that_cannot_be_written_is_an_error(page: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--page <file> names another file"):
        runs([str(page.parent), "--page", str(tmp_path / "file" / "runs.html")])


def test_pictures_that_are_none_harm_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    for name, content in (("text", b"no picture"), ("empty", b"")):
        folder = make_run(logs / name)
        (folder / "figures").mkdir()
        (folder / "figures" / "samples.png").write_bytes(content)
    pipe = make_run(logs / "pipe")
    (pipe / "figures").mkdir()
    os.mkfifo(pipe / "figures" / "samples.png")
    make_picture(make_run(logs / "good"))
    for _ in range(2):  # made, and kept
        runs([str(logs), "--page"])
        assert (logs / "runs.html").read_text().count("data:image/jpeg") == 1
    make_picture(logs / "good", width=300)
    runs([str(logs), "--page"])
    assert (logs / "runs.html").read_text().count("data:image/jpeg") == 1
