"""The page of a sweep in a browser."""

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from time import process_time

import pytest

from browser import DESKTOP, PHONE, Tab
from vaelab.record.sweep import Sweep
from vaelab.sweep_page.end import end_sweep

Made = Callable[..., Sweep]
EVIL = "</script><script>console.error('ran')</script><img/src=x/onerror=console.error(1)>"
NAMES = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)"


@pytest.fixture
def page(made: Made) -> Path:
    """Of a grid of two keys and two seeds; a job failed, another one has a report."""
    words = [(a, b, s) for a in (2, 8, 32) for b in ("mlp", "conv") for s in (1, 2)]
    jobs = [
        (f"latent_dim={a} encoder={b} seed={s}", {"val/elbo": -100.0 + a**0.5 - s, "test/mse": 1 / a, "test/fid": 9.0})
        for a, b, s in words
    ]
    sweep = made(*jobs, ("latent_dim=2 encoder=resnet seed=1", None), why="people.csv: no such file")
    (sweep.folder / "3/report.html").write_text("<title>report of job 3</title>")
    end_sweep(sweep)
    return sweep.folder / "sweep.html"


def test_it_holds_every_job_and_needs_nothing(page: Path, tab: Tab) -> None:
    tab.open(page)
    assert tab.run(NAMES)[:6] == ["8, 9", "10, 11", "4, 5", "6, 7", "0, 1", "2, 3"]
    assert tab.run(NAMES)[6:] == ["8", "9", "10", "11", "4", "5", "6", "7", "0", "1", "2", "3", "12"]
    assert tab.run("[...document.images].every(one => one.naturalWidth > 0)")
    assert tab.run("document.images.length") == 2
    assert (tab.errors, tab.requests) == ([], [])


def test_a_job_leads_to_its_report_and_a_failed_one_says_why(page: Path, tab: Tab) -> None:
    tab.open(page)
    links = tab.run("[...document.querySelectorAll('tbody a')].map(one => one.getAttribute('href'))")
    assert links == ["3/report.html", "3/report.html"]  # of its setting, and its own
    assert "people.csv: no such file" in tab.run("document.querySelector('.status.failed').closest('tr').textContent")


def test_it_is_whole_without_its_script(page: Path) -> None:
    text = page.read_text().partition("<script>")[0]
    assert "latent_dim=32 encoder=mlp seed=1" in text
    assert text.count("<tr>") == 1 + 6 + 1 + 12 + 1 + 1
    assert "95 %: " in text


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["screen", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(page: Path, tab: Tab, size: tuple[int, int], scheme: str) -> None:
    tab.resize(size)
    tab.emulate(scheme=scheme)
    tab.open(page)
    assert tab.overflow() <= 0
    link, accent = tab.run(
        "[getComputedStyle(document.querySelector('tbody a')).color, (() => { const one = document.createElement('i');"
        "one.style.color = 'var(--accent)'; document.body.append(one); return getComputedStyle(one).color })()]"
    )
    assert link == accent


def test_heads_stand_over_their_numbers(page: Path, tab: Tab) -> None:
    tab.open(page)
    sides = tab.run(
        "[...document.querySelectorAll('table')].map(table => [...table.tHead.rows[0].cells].map((head, place) =>"
        "[getComputedStyle(head).textAlign, getComputedStyle(table.tBodies[0].rows[0].cells[place]).textAlign]))"
    )
    assert all(above == below for table in sides for above, below in table)
    assert any(above == "right" for above, _ in sides[0])


def test_a_click_sorts(page: Path, tab: Tab) -> None:
    tab.open(page)

    def click(title: str) -> list[str]:
        found = "document.querySelectorAll('table')[1]"
        tab.run(f"[...{found}.querySelectorAll('thead button')].find(one => one.textContent == {title!r}).click()")
        return tab.run(f"[...{found}.tBodies[0].rows].map(row => row.cells[0].textContent)")

    assert click("latent_dim")[:4] == ["0", "1", "2", "3"]
    assert click("latent_dim")[:4] == ["8", "9", "10", "11"]
    assert click("encoder")[:6] == ["10", "11", "6", "7", "2", "3"]
    assert click("test/mse")[:2] == ["8", "9"]
    assert tab.errors == []


def test_nothing_that_a_folder_says_becomes_part_of_the_page(made: Made, tab: Tab) -> None:
    jobs = [
        (f"tags=[{EVIL}{number}] latent_dim={number}", {"val/elbo": -number, f"test/{EVIL}": 1.0}) for number in (1, 2)
    ]
    sweep = made(*jobs, (f"tags=[{EVIL}] latent_dim=3", None), why=EVIL)
    sweep.command = EVIL
    for number in (0, 1):
        about = sweep.folder / str(number) / "choices.yaml"
        about.write_text(about.read_text().replace("digits", f'"{EVIL}{number}"'))
    end_sweep(sweep)
    text = (sweep.folder / "sweep.html").read_text()
    assert EVIL not in text
    assert escape(EVIL) in text
    tab.open(sweep.folder / "sweep.html")
    assert tab.run("document.scripts.length") == 1
    assert (tab.errors, tab.requests) == ([], [])


def test_a_hundred_jobs_take_no_three_seconds(made: Made) -> None:
    grid = [(a, b, c) for a in (2, 4, 8, 16, 32) for b in ("1e-4", "3e-4", "1e-3", "3e-3") for c in "abcde"]
    jobs = [
        (f"latent_dim={a} optimizer.lr={b} encoder={c}", {"val/elbo": a - float(b) + len(c), "test/mse": 1 / a})
        for a, b, c in grid
    ]
    sweep = made(*jobs)
    began = process_time()
    end_sweep(sweep)
    assert process_time() - began < 3
    assert len(re.findall("<tr>", (sweep.folder / "sweep.html").read_text())) == 101
