"""What the page of a trained model computes, on small models of every modality."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vaelab
from saved_models import image_run, music_run, people, series_run, table_run, text_run
from vaelab.errors import ConfigError, DataError
from vaelab.evaluation.scores import conformal_threshold
from vaelab.explore.corpus import HEIGHT, WIDTH
from vaelab.explore.explorer import LARGEST, Explorer

RUNS = {"image": image_run, "table": table_run, "series": series_run, "text": text_run, "music": music_run}
FILES = {"image": "pictures", "table": "people.csv", "series": "long.csv", "text": "words.txt", "music": "songs"}


def explorer_of(home: Path, kind: str, files: bool = True) -> tuple[Explorer, Path]:
    """The explorer of a small model, and a file of its kind."""
    trained = vaelab.load(RUNS[kind](home))
    given = home / FILES[kind]
    found = trained.adapter.find([given])
    return Explorer(trained, found if files else ()), found[0][0]


@pytest.mark.parametrize("kind", RUNS)
def test_all_tabs_work_on_every_modality(tmp_path: Path, kind: str) -> None:
    explorer, file = explorer_of(tmp_path, kind)
    assert {slider.place for slider in explorer.sliders} == {0, 1, 2}
    example = explorer.example(file)
    assert example.values.shape == (1, *explorer.trained.spec.shape)
    found = explorer.look(example.values)
    assert found.neighbours[0] == (0, pytest.approx(0, abs=1e-5))  # the file is among those of the command line
    assert len(found.neighbours) <= 6
    assert np.isfinite(float(re.search(r"score is ([\d.e+-]+) ", found.verdict)[1]))  # type: ignore[index]
    assert (found.places is not None) == (kind in ("image", "series"))
    assert (found.columns is not None) == (kind == "table")
    way = explorer.between(example.values, explorer.example(file, min(2, example.count)).values, 5)
    samples = explorer.samples(3, 0.8, None, 1)
    for values in (way, samples, explorer.corpus.values[:2]):  # type: ignore[union-attr]
        several = explorer.shown.several(values, [str(place) for place in range(len(values))])
        assert len(several) == len(values)
        if explorer.shown.pictured:
            assert all(isinstance(picture, Image.Image) for picture, _ in several)
        else:
            assert isinstance(several, pd.DataFrame)
    sound = explorer.shown.sound(samples[0])
    assert (sound is not None) == (kind == "music")
    assert sound is None or sound.startswith(b"RIFF")


@pytest.mark.parametrize("kind", RUNS)
def test_a_slider_changes_what_is_decoded(tmp_path: Path, kind: str) -> None:
    explorer, _ = explorer_of(tmp_path, kind, files=False)
    at = [explorer.code(explorer.start(), [number, 0, 0]) for number in (-3.0, 3.0)]
    low, high = (explorer.trained.decode(code[None]) for code in at)
    assert at[1][explorer.sliders[0].place] == 3
    assert at[1].abs().sum() == 3
    assert not torch.equal(low, high)
    shown = explorer.shown.one(explorer.decoded(at[0]))
    assert isinstance(shown, str if kind == "text" else pd.DataFrame if kind == "table" else Image.Image)


def test_sliders_go_as_far_as_codes_do(tmp_path: Path) -> None:
    explorer, _ = explorer_of(tmp_path, "image", files=False)
    assert {(slider.low, slider.high) for slider in explorer.sliders} == {(-3.0, 3.0)}  # N(0, I)
    auto = vaelab.load(image_run(tmp_path / "ae", "AE"))
    with torch.no_grad():
        for weight in auto.model.parameters():
            weight.mul_(3)
    files = auto.adapter.find([tmp_path / "ae/pictures"])
    wide = Explorer(auto, files)
    assert not wide.has_prior
    codes = wide.corpus.codes  # type: ignore[union-attr]
    for slider in wide.sliders:
        assert slider.low <= 0 <= slider.high
        column = codes[:, slider.place]
        assert slider.high - slider.low > float(column.std())


def test_what_is_far_from_the_model_is_one_message(tmp_path: Path) -> None:
    explorer, file = explorer_of(tmp_path, "table")
    other = tmp_path / "photo.png"
    Image.new("L", (4, 4)).save(other)
    with pytest.raises(DataError, match=r"^photo\.png: is not a table; give a file that ends with "):
        explorer.example(other)
    with pytest.raises(DataError, match="choose a table first"):
        explorer.example(None)
    with pytest.raises(DataError, match="holds 60 examples; there is no number 61"):
        explorer.example(file, 61)
    with pytest.raises(DataError, match="there is no number 0"):
        explorer.example(file, 0)
    (tmp_path / "large.csv").write_bytes(b"0" * (LARGEST + 1))
    with pytest.raises(DataError, match="has more than 20 MB"):
        explorer.example(tmp_path / "large.csv")
    (tmp_path / "short.csv").write_text("age,city\n1,Rom\n")
    with pytest.raises(DataError) as error:
        explorer.example(tmp_path / "short.csv")
    assert str(tmp_path) not in str(error.value)  # names of folders of the server are nobody's business
    with pytest.raises(ConfigError, match="temperature"):
        explorer.samples(2, -1.0, None, 0)


def test_a_broken_picture_is_one_message(tmp_path: Path) -> None:
    explorer, _ = explorer_of(tmp_path, "image", files=False)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    with pytest.raises(DataError, match=r"^broken\.png: "):
        explorer.example(tmp_path / "broken.png")


def test_an_example_is_what_the_model_was_given(tmp_path: Path) -> None:
    explorer, file = explorer_of(tmp_path, "table")
    code = explorer.trained.codes(explorer.trained.part(explorer.example(file, 5).values))
    assert np.allclose(code.numpy(), explorer.trained.encode(people())[4:5], atol=1e-5)


def test_shares_of_columns_add_to_one(tmp_path: Path) -> None:
    explorer, file = explorer_of(tmp_path, "table")
    columns = explorer.look(explorer.example(file).values).columns
    assert columns is not None
    assert set(columns["column"]) == set(people().columns)
    shares = [int(share.rstrip("%")) for share in columns["share of the score"]]
    assert shares == sorted(shares, reverse=True)
    assert abs(sum(shares) - 100) <= 2


def test_a_click_on_the_map_finds_the_nearest_point(tmp_path: Path) -> None:
    explorer, _ = explorer_of(tmp_path, "image")
    corpus = explorer.corpus
    assert corpus is not None
    assert corpus.names[:2] == ["00.png", "01.png"]
    assert ((corpus.places > 0) & (corpus.places < [WIDTH, HEIGHT])).all()
    for place, (x, y) in enumerate(corpus.places):
        assert corpus.at(x + 0.2, y - 0.2) == place
    assert corpus.map(3).size == (WIDTH, HEIGHT)
    x, y = (round(float(one)) for one in corpus.places[3])
    red, green, _ = corpus.map(3).getpixel((x, y))  # type: ignore[misc]
    assert red > 150 > green


def test_a_run_without_a_threshold_says_so(tmp_path: Path) -> None:
    explorer, file = explorer_of(tmp_path, "table", files=False)
    found = explorer.look(explorer.example(file).values, denoise=True)
    assert "no threshold" in found.verdict
    assert found.neighbours == []


def test_a_threshold_gives_a_verdict(tmp_path: Path) -> None:
    explorer, file = explorer_of(tmp_path, "table", files=False)
    values, scorer = explorer.example(file).values, explorer.trained.scorer
    score = float(explorer.trained.scored(explorer.trained.part(values), "reconstruction")[0])
    scorer.clean = np.sort(score + np.array([-3.0, -2.0, -1.0, 1.0]))
    scorer.threshold = conformal_threshold("reconstruction", torch.from_numpy(scorer.clean), 0.25)
    assert explorer.look(values).verdict.startswith("No alarm: the score ")
    assert "Of normal examples, 40.00% score at least as high" in explorer.look(values).verdict
    scorer.clean = scorer.clean - 2
    scorer.threshold = conformal_threshold("reconstruction", torch.from_numpy(scorer.clean), 0.25)
    assert explorer.look(values).verdict.startswith("Alarm: the score ")
