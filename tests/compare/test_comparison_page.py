"""The page of a comparison: what it marks, and what a browser makes of it."""

import re
from html import escape
from pathlib import Path

import pytest

from browser import DESKTOP, PHONE, Tab
from pictures import png
from vaelab.compare.page import comparison_page
from vaelab.compare.table import Row, Table

EVIL = "</script><script>console.error('ran')</script><img src='//example.org/x.png' onerror=console.error(1)>"
COLUMNS = ["test/mse", "test/psnr", "test/threshold", "denoising test/psnr_gain"]


def small() -> Table:
    """Three rows and a baseline; PCA has the best mse, no row every number."""
    beside = {"pca": {"test/mse": [0.01]}, "train_split": {"test/mse": [0.001]}}
    rows = [
        Row("latent_dim=10", {"test/mse": [0.03, 0.05], "test/psnr": [15.0], "test/threshold": [1.0]}, beside),
        Row("latent_dim=2", {"test/mse": [0.5], "test/psnr": [7.0], "test/threshold": [3.0]}, beside),
        Row("latent_dim=4", {"test/mse": [0.1], "denoising test/psnr_gain": [2.0]}, beside),
    ]
    return Table(COLUMNS, rows)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison") / "comparison.html"
    text = comparison_page(small(), "3 runs", "vaelab compare runs", {"comparison": png(), "rate_distortion": png()})
    path.write_text(text, encoding="utf-8")
    return path


def test_the_best_of_a_column_is_marked_and_a_reference_is_not() -> None:
    page = comparison_page(small(), "", "", {})
    assert re.findall(r'class="n best" data-value="(.*?)"', page) == ["15.0", "0.01"]
    assert "0.04 ± 0.014" in page
    assert "Runs that differ only in a seed" in page


def test_pictures_say_what_is_seen(page: Path) -> None:
    text = page.read_text()
    assert '<img alt="comparison: One panel per metric' in text
    assert '<img alt="rate distortion: Reconstruction error' in text


def test_nothing_that_a_user_names_becomes_part_of_the_page(tmp_path: Path, tab: Tab) -> None:
    rows = [Row(EVIL, {EVIL: [1.0]}, {EVIL: {EVIL: [2.0]}}), Row("b", {EVIL: [2.0]})]
    text = comparison_page(Table([EVIL], rows), EVIL, EVIL, {EVIL: png()})
    assert EVIL not in text
    assert escape(EVIL) in text
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    tab.open(tmp_path / "page.html")
    assert tab.run("document.scripts.length") == tab.run("document.images.length") == 1
    assert tab.run("document.querySelector('tbody th').textContent") == EVIL
    assert (tab.errors, tab.requests) == ([], [])


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["screen", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_needs_nothing(page: Path, tab: Tab, size: tuple[int, int], scheme: str) -> None:
    tab.opened(page, size, scheme)


def test_names_stay_in_sight_while_the_table_scrolls(page: Path, tab: Tab) -> None:
    tab.resize(PHONE)
    tab.open(page)
    left = "document.querySelector('tbody th').getBoundingClientRect().left"
    before = tab.run(left)
    moved = tab.run(
        "(() => { const box = document.querySelector('.scroll'); box.scrollLeft = 80; return box.scrollLeft })()"
    )
    assert moved == 80
    assert tab.run(left) == before


FIRST = "[...document.querySelectorAll('tbody th')].map(one => one.textContent)"


def test_a_click_sorts_the_best_first_then_the_other_way_then_not(page: Path, tab: Tab) -> None:
    tab.open(page)
    as_made = tab.run(FIRST)

    def click(column: int) -> list[str]:
        tab.run(f"document.querySelectorAll('thead button')[{column}].click()")
        return [name.split(" ")[0] for name in tab.run(FIRST)]

    def said(column: int) -> str:
        return tab.run(f"document.querySelectorAll('thead th')[{column}].getAttribute('aria-sort')")

    assert click(1) == ["train_split", "pca", "latent_dim=10", "latent_dim=4", "latent_dim=2"]
    assert said(1) == "ascending"
    assert click(1) == ["latent_dim=2", "latent_dim=4", "latent_dim=10", "pca", "train_split"]
    assert said(1) == "descending"
    click(1)
    assert (tab.run(FIRST), said(1)) == (as_made, "none")
    # more is better, and what has no number comes last either way
    assert click(2)[:2] == ["latent_dim=10", "latent_dim=2"]
    assert said(2) == "descending"
    assert click(2)[:2] == ["latent_dim=2", "latent_dim=10"]
    # names by the numbers in them
    assert click(0)[:3] == ["latent_dim=2", "latent_dim=4", "latent_dim=10"]
    assert said(2) == "none"


def test_it_is_whole_on_paper_and_without_a_script(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.resize((688, 1000))  # A4 less its margins
    tab.emulate(media="print")
    heads = "[...document.querySelectorAll('thead th')].map(one => one.innerText.split('\\n')[0].trim())"
    assert tab.run(heads) == ["run", *COLUMNS]
    assert tab.run("document.querySelector('.hint').offsetHeight") == 0
    assert tab.overflow() <= 0
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(page)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.run(heads) == ["run", *COLUMNS]
    assert tab.run("document.querySelectorAll('button').length") == 0
