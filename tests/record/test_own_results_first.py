"""A run's own results are written before any baseline starts, and no baseline takes them away."""

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.ensemble import IsolationForest

from in_memory import digits
from vaelab.config.builder import Builder
from vaelab.config.location import config_dir
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.limits import FOREST_TEST, FOREST_TRAIN, NEAREST_WORK, PAIR, drawn, nearest_limits
from vaelab.evaluation.baselines.outliers import OUTLIER_SCORES
from vaelab.record.run_record import RunRecord
from vaelab.tasks import Findings
from vaelab.tasks.anomaly.scoring import baseline_scores
from vaelab.tasks.panel import Panel
from vaelab.tasks.task import Baseline, Task

Run = Callable[..., Path]
ANOMALY = ("task=anomaly", "model=ae", "data.normal=[5]", "debug=fdr", "encoder.hidden=[8]", "task.resamples=100")


@pytest.fixture
def fresh(tmp_path: Path) -> str:
    """A data folder in which no baseline has been kept."""
    return f"paths.data_dir={tmp_path / 'data'}"


def instead(monkeypatch: pytest.MonkeyPatch, name: str, score: Callable[..., Any]) -> None:
    monkeypatch.setitem(OUTLIER_SCORES, name, replace(OUTLIER_SCORES[name], score=score))


def numbers(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())


def test_own_results_come_first_and_a_baseline_that_fails_is_named_and_left_out(
    train: Run, fresh: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    seen: dict[str, bytes] = {}

    def look(data: Any, rows: Any) -> Any:
        (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
        seen.update({str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()})
        return np.arange(len(rows.test), dtype=float)

    def fail(data: Any, rows: Any) -> Any:
        raise MemoryError("no room\nfor trees")

    instead(monkeypatch, "pca", look)
    instead(monkeypatch, "isolation_forest", fail)
    run = train(*ANOMALY, fresh)
    # what there was when the first baseline started
    assert {"metrics.json", "metrics_metadata.json", "report.html", "scores.csv", "model/model.safetensors"} <= set(
        seen
    )
    assert {"figures/scores.png", "figures/roc_pr.png", "figures/where.png"} <= set(seen)
    found = numbers(run)
    own = {name: value for name, value in found.items() if not name.startswith("baseline/")}
    assert json.loads(seen["metrics.json"]) == own
    assert b">knn<" not in seen["report.html"]
    assert ">knn<" in (run / "report.html").read_text()
    assert (run / "figures/roc_pr.png").read_bytes() != seen["figures/roc_pr.png"]
    # the one that failed
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    (line,) = (line for line in captured.err.splitlines() if "left out" in line)
    assert line == "note: baseline/isolation_forest failed and is left out: MemoryError: no room for trees"
    assert {"baseline/pca/auroc", "baseline/knn/auroc", "test/auroc"} <= set(found)
    assert "baseline/isolation_forest/auroc" not in found
    about = json.loads((run / "metrics_metadata.json").read_text())
    assert about["baseline/isolation_forest"] == {"not measured": "MemoryError: no room for trees"}
    assert about["baseline/knn"]["fitted to"].startswith("all ")
    shown = [line for line in captured.out.splitlines() if line.startswith("baseline")]
    assert shown == ["baseline 1 of 3: pca", "baseline 2 of 3: isolation_forest", "baseline 3 of 3: knn"]


@pytest.mark.long
def test_ctrl_c_in_a_baseline_keeps_what_is_there(
    train: Run, fresh: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def press(data: Any, rows: Any) -> Any:
        raise KeyboardInterrupt

    instead(monkeypatch, "isolation_forest", press)
    with pytest.raises(SystemExit) as stopped:
        train(*ANOMALY, fresh)
    assert stopped.value.code == 130
    (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
    captured = capsys.readouterr()
    (line,) = (line for line in captured.err.splitlines() if line.startswith("error"))
    assert str(run) in line
    assert "task.baselines=false" in line
    assert "test" in captured.out  # the table of what was measured
    found = numbers(run)
    assert {"test/auroc", "baseline/pca/auroc"} <= set(found)
    assert {"report.html", "scores.csv", "figures", "model"} <= {path.name for path in run.iterdir()}


@pytest.mark.long
def test_baselines_can_be_left_out(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunRecord, "_compare", lambda *a: pytest.fail("a baseline was measured"))
    run = train("task=compression", "task.baselines=false", "model=ae", "debug=fdr")
    assert not [name for name in numbers(run) if "baseline" in name]
    assert list((run / "figures").iterdir())


def test_every_task_can_leave_them_out() -> None:
    for option in (config_dir() / "task").rglob("*.yaml"):
        config = yaml.safe_load(option.read_text())
        node = config.get("task", config)
        if "_target_" not in node:  # its settings are those of task/part
            continue
        assert node["baselines"] is True, option
        assert inspect.signature(Builder().resolve(node, "task", Task)).parameters["baselines"], option


def test_a_panel_leaves_out_the_baselines_of_single_parts() -> None:
    class Part(Task):
        def __init__(self, name: str, baselines: bool) -> None:
            super().__init__(None, baselines)
            self.name = name

        def findings(self, *others: Any) -> Findings:
            return Findings({f"test/{self.name}": 1.0}, baselines=[Baseline(self.name, lambda say: Findings())])

    found = Panel(
        {"a": Part("a", True), "b": Part("b", False)}, monitor=None, baselines=True, pictures_every=None
    ).findings(*[None] * 3)  # type: ignore[arg-type]
    assert set(found.numbers) == {"test/a", "test/b"}
    assert [baseline.name for baseline in found.baselines] == ["a"]


def test_what_is_no_finite_number_is_said_and_not_written(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "findings", lambda *a: Findings({"test/mine": float("nan"), "test/other": 2.0}))
    monkeypatch.setattr("vaelab.tasks.Compression.findings", Task.findings)
    run = train("task=compression", "model=ae", "debug=fdr")
    assert numbers(run)["test/other"] == 2
    assert "test/mine" not in numbers(run)
    about = json.loads((run / "metrics_metadata.json").read_text())
    assert "finite" in about["test/mine"]["not measured"]


# How many rows


def test_limits_leave_the_usual_sets_whole_and_bound_the_work_of_any_other() -> None:
    assert nearest_limits(54_000, 10_000, 784) == (54_000, 10_000)  # MNIST and Fashion-MNIST
    assert nearest_limits(6_000, 10_000, 784) == (6_000, 10_000)  # one digit of them
    assert (FOREST_TRAIN, FOREST_TEST) >= (199_000, 85_787)  # credit card payments, whose frauds are few
    for train, test, size in (416_000, 127_000, 40), (10**8, 10**8, 2), (80_000, 10**6, 3072), (10**6, 10**6, 10**6):
        near, far = nearest_limits(train, test, size)
        assert 1 <= near <= train
        assert min(test, 1_000) <= far <= test
        assert near * far * (size + PAIR) <= NEAREST_WORK or near == 1


def test_a_part_is_always_the_same_and_keeps_the_shares_of_both_kinds() -> None:
    rare = torch.arange(10_000) % 500 == 3
    places = drawn(10_000, 2_500, rare)
    assert torch.equal(places, drawn(10_000, 2_500, rare))
    assert torch.equal(places, places.unique())
    assert len(places) == 2_500
    assert int(rare[places].sum()) == 5
    assert int(rare[drawn(10_000, 20, rare)].sum()) == 1
    assert torch.equal(drawn(5, 5), torch.arange(5))
    assert not torch.equal(drawn(100, 50), torch.arange(50))


def test_a_score_is_taken_of_the_rows_that_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vaelab.evaluation.baselines.outliers.FOREST_TEST", 400)
    monkeypatch.setattr("vaelab.evaluation.baselines.outliers.FOREST_TRAIN", 50)
    monkeypatch.setattr("vaelab.evaluation.baselines.outliers.TREES", 5)
    data = digits(normal=[5])
    scores, about = baseline_scores("isolation_forest", data, BaselineCache(tmp_path, data))
    train, test = len(data.split["train"]), len(data.split["test"])
    assert about["fitted to"] == f"50 of {train} train rows, drawn at random"
    assert about["measured on"] == f"400 of {test:,} test rows, drawn at random"
    measured = ~np.isnan(scores)
    assert (len(scores), measured.sum()) == (test, 400)
    forest = IsolationForest(n_estimators=5, random_state=0).fit(data.rows("train", 50).numpy())
    expected = -forest.score_samples(data.rows("test").numpy()[measured])
    np.testing.assert_allclose(scores[measured], expected)
