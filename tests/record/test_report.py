"""What a report says, and where."""

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

import pytest

from pictures import png
from vaelab.evaluation.ahead import AHEAD
from vaelab.record.headlines import headline_numbers
from vaelab.record.page import SCRIPT
from vaelab.record.report import report, sentence

EVIL = "</title></script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
ENVIRONMENT: dict[str, Any] = {
    "command": "python train.py", "packages": {"torch": "2.13.0", "wandb": None}, "git": None, "device": "cpu",
    "seed": 1,
}  # fmt: skip


def lead(by: float, low: float, high: float) -> dict[str, float]:
    return {AHEAD: by, "at least": low, "at most": high}


# Headline numbers


@pytest.mark.parametrize(
    ("theirs", "about", "verdict"),
    [
        (0.5, lead(0.1, 0.05, 0.2), "better"),
        (0.3, lead(-0.1, -0.2, -0.05), "worse"),
        (0.5, lead(0.1, -0.1, 0.2), "no clear difference"),
        (0.5, None, "better"),
        (0.3, None, "worse"),
        (0.4, None, "equal"),
    ],
)
def test_an_interval_decides_where_there_is_one(theirs: float, about: Any, verdict: str) -> None:
    (found,) = headline_numbers({"test/mse": 0.4, "baseline/pca/mse": theirs}, {"baseline/pca/mse": about})
    assert found.verdict == verdict


def test_the_best_baseline_is_that_by_direction_and_no_reference() -> None:
    metrics = {
        "test/auroc": 0.8, "baseline/pca/auroc": 0.7, "baseline/knn/auroc": 0.9, "baseline/train_split/auroc": 1.0,
        "test/mse": 0.2, "baseline/pca/mse": 0.3, "baseline/knn/mse": 0.4,
    }  # fmt: skip
    found = {one.name: one for one in headline_numbers(metrics, {})}
    assert [found[name].rival.name for name in ("test/auroc", "test/mse")] == ["knn", "pca"]  # type: ignore[union-attr]
    assert [found[name].verdict for name in ("test/auroc", "test/mse")] == ["worse", "better"]
    assert [other.name for other in found["test/auroc"].references] == ["train_split"]


def test_numbers_are_compared_on_the_examples_that_both_have() -> None:
    metrics = {"test/psnr": 20.0, "test/psnr_baseline_examples": 22.0, "baseline/median/psnr": 21.0}
    (found,) = headline_numbers(metrics, {})
    assert (found.value, found.compared, found.verdict) == (20.0, 22.0, "better")


def test_numbers_of_other_examples_are_not_judged() -> None:
    metrics = {"test/mse": 0.1, "test/psnr_baseline_examples": 22.0, "baseline/median/mse": 0.2}
    (found,) = headline_numbers(metrics, {})
    assert (found.same_examples, found.verdict) == (False, None)
    assert "on fewer examples than the run" in report("", ENVIRONMENT, metrics, {})
    found = {one.name: one.verdict for one in headline_numbers(metrics | {"test/psnr": 22.0}, {})}
    assert found["test/mse"] == "better"  # baselines get all of them


def test_a_verdict_without_an_interval_says_so() -> None:
    metrics = {"test/mse": 0.1, "baseline/pca/mse": 0.2}
    assert '<span class="verdict even">better, no interval</span>' in report("", ENVIRONMENT, metrics, {})
    measured = report("", ENVIRONMENT, metrics, {}, {"baseline/pca/mse": lead(0.1, 0.05, 0.2)})
    assert '<span class="verdict better">better</span>' in measured


def test_a_fitted_prior_is_compared_with_the_number_of_the_baseline() -> None:
    metrics = {"test/fid": 9.0, "test/fid_fitted": 2.0, "baseline/pca_gaussian/fid": 5.0}
    about = {"baseline/pca_gaussian/fid_fitted": lead(3, 2, 4)}
    found = {one.name: one.verdict for one in headline_numbers(metrics, about)}
    assert found == {"test/fid": "worse", "test/fid_fitted": "better"}


def test_without_a_test_those_of_validation_are_shown_without_baselines() -> None:
    (found,) = headline_numbers({"val/mse": 0.1, "baseline/pca/mse": 0.2, "val/kl": 1.0}, {})
    assert (found.name, found.rival, found.verdict) == ("val/mse", None, None)


def test_the_first_screen_says_what_the_run_is_and_how_it_did() -> None:
    metrics = {"test/mse": 0.25, "test/kl": 3.0, "baseline/pca/mse": 0.5, "test/auroc": 0.9, "test/auroc_low": 0.8765}
    page = report(
        "task=x", ENVIRONMENT, metrics | {"test/auroc_high": 0.95}, {"samples": png()},
        {"baseline/pca/mse": lead(0.25, 0.125, 0.375)}, notes=["a note"], about="What it is.",
    )  # fmt: skip
    first = page[page.index("<body>") : page.index("<details")]
    order = ["<h1>task=x</h1>", "What it is.", "python train.py", ">mse ", "<b>0.25</b>", ">better<", "pca",
             "95 %: 0.125 to 0.375", "95 %: 0.8765 to 0.95", "a note", "<figure"]  # fmt: skip
    places = [first.index(text) for text in order]
    assert places == sorted(places)
    assert ">kl" not in first


def test_everything_else_is_folded_away() -> None:
    page = report(
        "", ENVIRONMENT, {"test/mse": 1.0}, {"samples": png()}, {"test/mse": {"rows": 5}}, {"words": "a text"}
    )
    assert re.findall(r"<details><summary>([\w ]+\w)", page) == [
        "all metrics", "how metrics were measured", "words", "environment",
    ]  # fmt: skip
    for text in ("mean squared error per value", "rows 5", "a text", "torch 2.13.0"):
        assert text in page[page.index("<details") :]


def test_a_text_is_unfolded_where_there_is_nothing_else_to_look_at() -> None:
    page = report("", ENVIRONMENT, {"test/mse": 1.0}, {"curves": png()}, texts={"words": "one", "more": "two"})
    assert re.findall(r"<details open><summary>(\w+)", page) == ["words"]


def test_a_run_without_headline_numbers_shows_all_it_has() -> None:
    page = report("", ENVIRONMENT, {"test/my_number": 1.5}, {})
    assert "<details open><summary>all metrics" in page
    assert "headlines" not in re.sub("<style>.*</style>", "", page, flags=re.DOTALL)


def test_the_best_of_a_row_is_marked_by_its_direction() -> None:
    metrics = {"test/mse": 3.0, "baseline/pca/mse": 2.0, "baseline/train_split/mse": 1.0, "val/mse": 0.5}
    page = report("", ENVIRONMENT, metrics, {})
    assert re.findall(r'class="n best"><b>(.*?)</b>', page) == ["2"]


def test_a_sentence_says_when_and_how_long() -> None:
    assert sentence("generation", "digits", "vae") == "The model vae on digits, evaluated by the task generation."
    said = sentence("generation", "digits", "vae", "2026-01-31T12:05:09+01:00", 7500)
    assert said.endswith(" Started on 31 January 2026, 12:05, took 2 h 5 min.")
    assert sentence("x", "y", "z", "2026-01-31T12:05:09", 48.3).endswith("took 48 s.")
    assert sentence("x", "y", "z", "2026-01-31T12:05:09", 600).endswith("took 10 min.")


# Pictures


def test_a_picture_has_its_size_its_caption_and_an_alternative_text() -> None:
    page = report("", ENVIRONMENT, {}, {"curves": png(), "nearest_train": png(1000, 20), "mine": png()})
    assert re.findall(r'<img alt="([^":]*)', page) == ["nearest train", "mine", "curves"]
    assert '<img alt="nearest train: Samples in the first row' in page
    assert 'width="1000" height="20"' in page
    assert "<b>nearest_train</b> Samples in the first row" in page
    assert re.findall(r'<figure class="(\w+)"', page) == ["wide", "half", "half"]


def test_a_film_stands_beside_its_figure_with_every_frame_once() -> None:
    frames = [(f"epoch {number}", png(number, 2)) for number in (1, 2, 3)]
    page = report("", ENVIRONMENT, {}, {"samples": png(9, 9), "curves": png(8, 8)}, films={"samples": frames, "no": []})
    assert page.count('class="film') == 1
    assert re.findall(r"<small>(epoch \d)</small>", page) == ["epoch 1", "epoch 2", "epoch 3"]
    assert all(page.count(b64encode(picture).decode()) == 1 for _, picture in frames)
    titles = re.findall(r"<figcaption><b>(.*?)</b>", page)
    assert titles == ["samples", "samples during training", "curves"]
    assert "decoded. (epoch 2)" in page


# Trust


def test_nothing_that_a_user_names_becomes_part_of_the_page() -> None:
    metrics = {
        f"test/{EVIL}": 1.0,
        f"baseline/{EVIL}/mse": 1.0,
        "test/mse": 2.0,
        f"baseline/train_split/{EVIL}/mse": 1.0,
    }
    page = report(
        EVIL, ENVIRONMENT | {"command": EVIL, "device": EVIL, "packages": {EVIL: EVIL}, "started": EVIL}, metrics,
        {EVIL: png()}, {EVIL: {EVIL: EVIL}, "a": EVIL}, {EVIL: EVIL}, [EVIL], {EVIL: [(EVIL, png())] * 2}, about=EVIL,
    )  # fmt: skip
    assert page.count("<script") == page.count("</script") == 1
    assert page.count("<img") == page.count("data:image/png") == 3
    assert escape(EVIL) in page
    assert EVIL not in page


def test_only_the_script_of_the_page_may_run_and_nothing_is_fetched() -> None:
    page = report("", ENVIRONMENT, {}, {})
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert script == SCRIPT.read_text()
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "://" not in page
