"""The page of an embedding as a browser shows it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from browser import DESKTOP, PHONE, Tab
from vaelab.figures.embedding_page import embedding_page
from vaelab.figures.projection import Projection
from vaelab.figures.scatter import arrange


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    projection = Projection(generator.normal(size=(60, 2)), ("x", "y"), "latents")
    names = tuple(f"class {number}" for number in range(12))
    scatter = arrange(projection, "60 examples", np.arange(60), np.arange(60) % 12, names, None)
    path = tmp_path_factory.mktemp("embedding") / "embedding.html"
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    path.write_text(embedding_page(scatter, images, {"data": "digits"}), encoding="utf-8")
    return path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["screen", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_needs_nothing(page: Path, tab: Tab, size: tuple[int, int], scheme: str) -> None:
    tab.opened(page, size, scheme)
    assert tab.run("document.querySelector('canvas').getBoundingClientRect().height") > 300
    assert tab.run("document.querySelector('aside').scrollHeight - document.querySelector('aside').clientHeight") <= 0
    assert tab.run("document.querySelector('canvas').getAttribute('aria-label')").startswith("60 examples: a scatter")
    assert (tab.errors, tab.requests) == ([], [])


def test_it_is_dark_for_those_who_prefer_it(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.emulate(scheme="dark")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


def test_a_key_chooses_an_example(page: Path, tab: Tab) -> None:
    tab.open(page)
    tab.run("document.querySelector('canvas').focus()")
    tab.press("n", 78)
    assert tab.run("document.querySelector('#spoken').textContent") == "index 0, label class 0"
    assert tab.run("document.querySelector('#tip canvas').getAttribute('aria-label')") == "picture of example 0"
