"""The suite on unseen data compares with the best rival, goes on where it was stopped, and names what failed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import unseen

    yield unseen
    sys.modules.pop("unseen")


def line(seed: int, auroc: float, pca: float, knn: float, ahead: Any = None) -> dict[str, Any]:
    numbers = {"test/auroc": auroc, "baseline/pca/auroc": pca, "baseline/knn/auroc": knn, "baseline/pixels/auroc": 1.0}
    return {"pair": "anomaly/x", "seed": seed, "numbers": numbers, "ahead": ahead or {}}


def test_a_pair_is_compared_with_its_best_rival_and_no_reference(unseen: ModuleType) -> None:
    pair = unseen.Pair("anomaly", "x", ())
    ahead = {"baseline/knn/auroc": [0.1, 0.02, 0.2], "baseline/pca/auroc": [0.2, 0.1, 0.3]}
    found = unseen.compared(pair, [line(1, 0.9, 0.7, 0.8, ahead), line(2, 0.8, 0.7, 0.8, ahead)])
    assert (found.rival_name, found.rival, found.run) == ("knn", pytest.approx(0.8), pytest.approx(0.85))
    assert found.ahead == pytest.approx(0.05)
    assert found.interval == pytest.approx((0.02, 0.2))
    assert found.verdict == "+"


@pytest.mark.parametrize(("ends", "verdict"), [((0.1, 0.2), "+"), ((-0.2, -0.1), "-"), ((-0.1, 0.1), "="), (None, "?")])
def test_a_verdict_is_that_of_the_interval(unseen: ModuleType, ends: Any, verdict: str) -> None:
    ahead = None if ends is None else {"baseline/knn/auroc": [0.0, *ends]}
    assert unseen.compared(unseen.Pair("anomaly", "x", ()), [line(1, 0.8, 0.7, 0.8, ahead)]).verdict == verdict


def test_less_is_better_of_an_error(unseen: ModuleType) -> None:
    numbers = {"test/mse": 0.1, "baseline/pca/mse": 0.3}
    found = unseen.compared(unseen.Pair("compression", "x", ()), [{"numbers": numbers, "ahead": {}, "seed": 1}])
    assert found.ahead == pytest.approx(0.2)


def test_a_table_is_told_by_tstr_beside_the_copula_and_other_data_by_fid(unseen: ModuleType) -> None:
    baselines = {"gaussian_copula/tstr": 0.8, "gaussian_copula/tstr_ratio": 0.9, "train_split/tstr": 0.95,
                 "pca_gaussian/fid": 1.0}  # fmt: skip
    numbers = {"test/fid": 2.0, "baseline/pca_gaussian/fid": 1.0} | {
        f"baseline/{name}": value for name, value in baselines.items()
    }
    table = {"pair": "generation/x", "seed": 1, "ahead": {}, "numbers": numbers | {
        "test/tstr": 0.9, "test/tstr_ratio": 0.97,
    }}  # fmt: skip
    found = unseen.compared(unseen.Pair("generation", "x", ()), [table])
    assert (found.metric, found.rival_name, found.ratios) == ("tstr", "gaussian_copula", (0.97, 0.9))
    assert found.ahead == pytest.approx(0.1)
    assert "0.970, the best rival 0.900" in unseen.ratio_line([found])
    ahead = {
        "baseline/gaussian_copula/tstr": [0.1, 0.05, 0.2],
        "baseline/gaussian_copula/tstr_fitted": [-0.1, -0.2, 0.0],
    }
    more = table["numbers"] | {"test/tstr_fitted": 0.7, "test/tstr_ratio_fitted": 0.74}
    fitted = unseen.compared(unseen.Pair("generation", "x", ()), [table | {"numbers": more, "ahead": ahead}])
    assert (fitted.metric, fitted.ratios, fitted.interval) == ("tstr_fitted", (0.74, 0.9), (-0.2, 0.0))
    assert fitted.ahead == pytest.approx(-0.1)
    image = unseen.compared(unseen.Pair("generation", "x", ()), [table | {"numbers": numbers}])
    assert (image.metric, image.rival_name, image.ratios) == ("fid", "pca_gaussian", None)
    assert unseen.ratio_line([image]) is None


def test_a_run_that_failed_has_no_number(unseen: ModuleType) -> None:
    assert unseen.compared(unseen.Pair("anomaly", "x", ()), [{"pair": "anomaly/x", "seed": 1, "error": "no"}]) is None


def test_about_a_third_is_held_back_and_a_set_is_so_for_every_task(unseen: ModuleType) -> None:
    names = {*(f"keel-{name}" for name in unseen.KEEL), *(f"ucr-{name}" for name in unseen.UCR)}
    held = [name for name in names if unseen.Pair("anomaly", name, ()).held_back]
    assert 0.2 < len(held) / len(names) < 0.5
    assert held == [name for name in names if unseen.Pair("generation", name, ()).held_back]


@pytest.mark.long
def test_a_pair_is_run_once_and_shown_again(
    unseen: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/keel").mkdir(parents=True)
    generator = np.random.default_rng(0)
    label = np.where(np.arange(120) % 6, "negative", "positive")
    rows = pd.DataFrame(generator.normal(size=(120, 3)), columns=list("abc")).assign(label=label)
    rows.to_csv(tmp_path / "data/keel/zoo-3.csv", index=False)
    monkeypatch.setenv("COLUMNS", "200")
    command = ["unseen.py", "anomaly/*", "--data", str(tmp_path / "data"), "--results", str(tmp_path / "kept"),
               "--everything", "--jobs", "1", "--with", "trainer.max_steps=40"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    assert unseen.main() == 0
    said = capsys.readouterr()
    assert "2 of 2: anomaly/keel-zoo-3, seed 2" in said.out
    assert "anomaly/keel-zoo-3" in said.out.partition("best rival")[2]
    assert "left out, since they are not there" in said.err
    kept = [json.loads(text) for text in (tmp_path / "kept/results.jsonl").read_text().splitlines()]
    assert [found["seed"] for found in kept] == [1, 2]
    assert all(f"baseline/{name}/auroc" in kept[0]["ahead"] for name in ("pca", "knn", "isolation_forest"))

    def refuse(*arguments: Any) -> None:
        raise AssertionError("it runs what is known")

    monkeypatch.setattr(unseen, "run", refuse)
    assert unseen.main() == 0
    assert "anomaly/keel-zoo-3" in capsys.readouterr().out


def test_what_failed_is_tried_again(unseen: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/keel").mkdir(parents=True)
    (tmp_path / "data/keel/zoo-3.csv").touch()
    command = ["unseen.py", "anomaly/*", "--data", str(tmp_path / "data"), "--results", str(tmp_path), "--everything"]
    monkeypatch.setattr(sys, "argv", command)
    tried: list[int] = []

    def run(pair: Any, seed: int, *arguments: Any) -> dict[str, Any]:
        tried.append(seed)
        return {"pair": pair.name, "seed": seed, "seconds": 1.0} | (
            {"error": "no room"} if len(tried) < 3 else line(seed, 0.9, 0.7, 0.8) | {"pair": pair.name}
        )

    monkeypatch.setattr(unseen, "run", run)
    assert unseen.main() == 1
    assert unseen.main() == 0
    assert unseen.main() == 0  # all is known
    assert sorted(tried) == [1, 1, 2, 2]
