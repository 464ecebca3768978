"""A report as a browser shows it: on a screen, on a phone, on paper, without a script."""

from pathlib import Path
from typing import Any

import pytest

from browser import DESKTOP, PHONE, Tab
from pictures import png
from vaelab.evaluation.ahead import AHEAD
from vaelab.record.report import report

METRICS = {
    "test/fid": 34.3, "test/mse": 0.0432, "test/auroc": 0.9, "test/auroc_low": 0.88, "test/auroc_high": 0.92,
    "baseline/pca_gaussian/fid": 10.7, "baseline/train_split/fid": 1.99, "baseline/pca/mse": 0.05,
    "baseline/isolation_forest/auroc": 0.89, "val/mse": 0.04, "train/loss": 123.4,
    "test/a_number_with_a_long_name": 1.0,
}  # fmt: skip
ABOUT = {
    "baseline/pca_gaussian/fid": {AHEAD: -23.6, "at least": -25.7, "at most": -20.8, "examples": 359},
    "test/fid": {"extractor": "classifier", "features": "x" * 300},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment: dict[str, Any] = {
        "command": "python train.py data.path=/" + "a_long_path" * 20, "packages": {"torch": "2.13.0"}, "git": None,
        "device": "cpu", "seed": 1, "platform": "Linux",
    }  # fmt: skip
    film = [(f"epoch {number}", png(700, 500, 40 * number)) for number in (1, 2, 3, 4)]
    text = report(
        "task=generation data=digits model=vae", environment, METRICS,
        {"samples": png(700, 500), "curves": png(1300, 600)}, ABOUT, {"words": "w" * 500}, ["a note " * 20],
        {"samples": film}, about="What it is.",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["screen", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_needs_nothing(page: Path, tab: Tab, size: tuple[int, int], scheme: str) -> None:
    tab.opened(page, size, scheme)
    assert tab.run("[...document.images].every(one => one.complete && one.naturalWidth > 0 && one.alt)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(page: Path, tab: Tab, scheme: str) -> None:
    """At least 4.5 to 1, as the WCAG asks for; see its definition of relative luminance."""
    tab.resize(DESKTOP)
    tab.emulate(scheme=scheme)
    tab.open(page)
    tab.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = tab.run(CONTRAST)
    assert len(found) > 50
    low = [one for one in found if one["contrast"] < 4.5]
    assert low == []


def test_it_is_dark_for_those_who_prefer_it(page: Path, tab: Tab) -> None:
    for scheme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 26)")):
        tab.emulate(scheme=scheme)
        tab.open(page)
        assert tab.run("getComputedStyle(document.body).backgroundColor") == background
        assert tab.run("getComputedStyle(document.querySelector('.frame')).backgroundColor") == "rgb(255, 255, 255)"


SHOWN = """[...document.querySelectorAll('.frames > li')].map((one, place) => [one, place]).filter(
  ([one]) => one.getBoundingClientRect().height > 0 && getComputedStyle(one).visibility == 'visible'
).map(([one, place]) => place)"""


def test_the_slider_moves_the_picture_by_hand_and_by_key(page: Path, tab: Tab) -> None:
    tab.open(page)
    assert tab.run(SHOWN) == [3]
    assert tab.run("document.querySelector('.controls output').textContent") == "epoch 4"
    tab.run("const s = document.querySelector('input'); s.value = 1; s.dispatchEvent(new Event('input'))")
    assert tab.run(SHOWN) == [1]
    tab.run("document.querySelector('input').focus()")
    tab.press("ArrowLeft", 37)
    assert tab.run(SHOWN) == [0]
    assert tab.run("document.querySelector('.controls output').textContent") == "epoch 1"
    slider = tab.run("[...document.querySelector('input').attributes].map(one => [one.name, one.value])")
    assert ["aria-valuetext", "epoch 1"] in slider
    assert ["aria-label", "frame of samples during training"] in slider


def test_it_plays_from_the_start_to_the_end_and_can_be_paused(page: Path, tab: Tab) -> None:
    tab.open(page)
    words = "document.querySelector('.controls button').textContent"
    press = "document.querySelector('.controls button').click()"
    tab.run(press)
    assert (tab.run(words), tab.run(SHOWN)) == ("pause", [0])
    tab.run(press)
    assert tab.run(words) == "play"
    tab.run(press)
    tab.run("new Promise(done => setTimeout(done, 2500))")
    assert (tab.run(words), tab.run(SHOWN)) == ("play", [3])


def test_the_first_and_the_last_frame_are_shown_without_a_script(page: Path, tab: Tab) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(page)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.run(SHOWN) == [0, 3]
    assert tab.run("document.querySelectorAll('button, input').length") == 0


def test_everything_is_unfolded_on_paper(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.resize((688, 1000))  # A4 less its margins
    assert tab.run(FOLDED) == 4
    tab.emulate(media="print", scheme="dark")
    assert tab.run(FOLDED) == 0
    assert tab.run(f"{INSIDE}.every(one => one.offsetHeight > 0)")
    assert tab.run("[...document.querySelectorAll('button, .controls')].every(one => one.offsetHeight == 0)")
    assert tab.run(SHOWN) == [0, 3]
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run(CUT) == 0
    assert tab.overflow() <= 0
    tab.emulate(media="")
    assert tab.pdf().startswith(b"%PDF")
    assert tab.run("document.querySelectorAll('details[open]').length") == 0


def test_the_command_can_be_copied(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.run("document.querySelector('.command button').click()")
    said = tab.run(
        "new Promise(done => setTimeout(() => done(document.querySelector('.command button').textContent), 200))"
    )
    assert said in ("copied", "selected")  # a browser may refuse to write to the clipboard
    if said == "selected":
        assert tab.run("getSelection().toString()").startswith("python train.py")


def test_names_with_markup_stay_text(tmp_path: Path, tab: Tab) -> None:
    evil = "</script><script>console.error('ran')</script><img src='//example.org/x.png' onerror=console.error(1)>"
    environment: dict[str, Any] = {"command": evil, "packages": {}, "git": None, "device": evil, "seed": 1}
    path = tmp_path / "report.html"
    frames = [(evil, png(20, 20))] * 2
    named = {evil: evil}
    text = report(evil, environment, {evil: 1.0}, {evil: png(9, 9)}, named, named, [evil], {evil: frames})
    path.write_text(text, encoding="utf-8")
    tab.open(path)
    assert tab.run("document.querySelector('h1').textContent") == evil
    assert tab.run("document.querySelector('.controls output').textContent") == evil
    assert tab.run("document.querySelector('input').getAttribute('aria-label')") == f"frame of {evil} during training"
    assert (tab.errors, tab.requests) == ([], [])
    assert tab.run("document.scripts.length") == 1


INSIDE = "[...document.querySelectorAll('details > :not(summary)')]"
FOLDED = f"{INSIDE}.filter(one => !one.checkVisibility({{contentVisibilityAuto: true}})).length"
CUT = """[...document.querySelectorAll('.scroll, .frame')].filter(
  one => getComputedStyle(one).overflowX != 'visible').length"""
CONTRAST = """(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v =>
    v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || !parent.checkVisibility({visibilityProperty: true})) continue;
    const [a, b] = [numbers(getComputedStyle(parent).color), behind(parent)].map(light).sort((a, b) => b - a);
    found.push({text: node.textContent.slice(0, 40), contrast: (a + .05) / (b + .05)});
  }
  return found;
})()"""
