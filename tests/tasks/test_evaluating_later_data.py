"""A trained run is evaluated on files that came later: nothing is fitted to them, and what they lack is left out."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

Run = Callable[..., Path]
SMALL = ("encoder.hidden=[8]", "decoder.hidden=[8]", "latent_dim=2")


def numbers(run: Path) -> dict[str, float]:
    read: dict[str, float] = json.loads((run / "metrics.json").read_text())
    return read


def about(run: Path) -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = json.loads((run / "metrics_metadata.json").read_text())
    return read


# Anomaly detection


def sensors(count: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Four readings of two causes; in one row of ten, called 'broken, "b"', the second is on its own."""
    generator = np.random.default_rng(seed)
    causes = generator.normal(size=(count, 2))
    readings = causes @ np.array([[1, 0.5, -0.3, 2], [0, 1, 1, -1]]) + 0.1 * generator.normal(size=(count, 4)) + shift
    broken = np.arange(count) % 10 == 3
    readings[broken, 1] = 4 * generator.normal(size=broken.sum())
    table = pd.DataFrame(readings, columns=["a", "b", "c", "d"])
    return table.assign(state=np.where(broken, 'broken, "b"', "fine"))


@pytest.fixture
def rows(tmp_path: Path) -> Callable[[str, pd.DataFrame], str]:
    def write(name: str, table: pd.DataFrame) -> str:
        table.to_csv(tmp_path / name, index=False)
        return f"data.path={tmp_path / name}"

    return write


ANOMALY = (
    "task=anomaly",
    "data=table",
    "data.label=state",
    "data.normal=[fine]",
    *SMALL,
    "model=ae",
    "task.resamples=100",
)


@pytest.mark.long
def test_later_rows_are_scored_with_the_threshold_of_the_run(
    train: Run, rows: Callable[[str, pd.DataFrame], str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows("before.csv", sensors(600, 0))
    run = train(*ANOMALY, before, "trainer.max_epochs=4", "encoder.hidden=[]", "decoder.hidden=[]")
    evaluate = (*ANOMALY, "encoder.hidden=[]", "decoder.hidden=[]", "train=false", f"ckpt_path={run}")

    again = train(*evaluate, before)
    assert (again / "scores.csv").read_text() == (run / "scores.csv").read_text()
    assert (again / "model/threshold.json").read_text() == (run / "model/threshold.json").read_text()
    measured = {name: value for name, value in numbers(run).items() if name.startswith(("test/", "baseline/"))}
    assert numbers(again) == pytest.approx(measured)

    capsys.readouterr()
    table = sensors(300, 1)
    plain = train(*evaluate, rows("unlabelled.csv", table.drop(columns="state")))
    found = numbers(plain)
    assert found["test/threshold"] == measured["test/threshold"]
    assert found["test/false_alarm_rate_promised"] == 0.05
    assert not {"test/auroc", "test/false_alarm_rate", "baseline/pca/auroc"} & found.keys()
    assert about(plain)["test/auroc"]["not measured"].startswith("no example has a label")
    said = capsys.readouterr().err
    assert "only the share of alarms is measured" in said
    assert "changed since training" not in said
    scores = pd.read_csv(plain / "scores.csv")
    assert scores["row"].tolist() == list(range(300))
    assert scores["label"].isna().all()
    assert found["test/alarm_rate"] == pytest.approx((scores["combined"] > found["test/threshold"]).mean())

    drifted = train(*evaluate, rows("drifted.csv", sensors(300, 1, shift=6)))
    assert numbers(drifted)["test/false_alarm_rate"] > 0.3
    assert "the data have changed since training" in capsys.readouterr().err
    assert about(drifted)["test/alarm_rate"]["more than promised"] == "the data have changed since training"
    with (drifted / "scores.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["label"] for row in read] == sensors(300, 1)["state"].tolist()
    assert [row["anomalous"] for row in read] == [str(int(number % 10 == 3)) for number in range(300)]

    fine = train(*evaluate, rows("fine.csv", table[table["state"] == "fine"]))
    assert "test/false_alarm_rate" in numbers(fine)
    assert not {"test/auroc", "test/detection_rate"} & numbers(fine).keys()
    one = train(*evaluate, rows("one.csv", table[:1].assign(state="never seen")))
    assert numbers(one)["test/detection_rate"] in (0, 1)
    assert "count as anomalous: never seen" in capsys.readouterr().err


@pytest.mark.long
def test_a_threshold_of_other_weights_or_for_another_rate_is_refused(
    train: Run, rows: Callable[[str, pd.DataFrame], str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("trainer.max_epochs=1", "task.false_alarm_rate=0.2")
    run = train(*ANOMALY, rows("before.csv", sensors(200, 0)), *settings)
    later = rows("later.csv", sensors(30, 1))
    torch.save(_moved(torch.load(run / "checkpoints/last.ckpt")), run / "checkpoints/last.ckpt")
    for overrides, message in (
        (
            [f"ckpt_path={run}", "task.false_alarm_rate=0.1"],
            "task.false_alarm_rate=0.1: the run's threshold is for 0.2",
        ),
        ([f"ckpt_path={run}", "task.score=latent"], "task.score=latent: the run's threshold is for the score combi"),
        ([f"ckpt_path={run}/checkpoints/last.ckpt"], "ckpt_path: the weights differ from those in"),
    ):
        with pytest.raises(SystemExit):
            train(*ANOMALY, later, "train=false", "task.false_alarm_rate=0.2", *overrides)
        assert message in capsys.readouterr().err
    (run / "model/threshold.json").unlink()
    with pytest.raises(SystemExit):
        train(*ANOMALY, later, "train=false", "task.false_alarm_rate=0.2", f"ckpt_path={run}")
    assert "holds no detector" in capsys.readouterr().err


def _moved(checkpoint: dict) -> dict:
    for value in checkpoint["state_dict"].values():
        value.add_(0.01)
    return checkpoint


# The other tasks


def pictures(root: Path, classes: dict[str, int]) -> str:
    generator = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(generator.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / name / f"{number}.png")
    return f"data.path={root}"


@pytest.fixture
def evaluated(train: Run, tmp_path: Path) -> Callable[..., Path]:
    """Evaluates one embedding run on later images with any task."""
    shared = ("data=images", *SMALL, "task.monitor=val/mse")
    before = pictures(tmp_path / "before", {"a": 40, "b": 40})
    run = train("task=embedding", before, *shared, "trainer.max_epochs=1")

    def evaluate(path: str, *overrides: str) -> Path:
        found = train(path, *shared, *overrides, "train=false", f"ckpt_path={run}")
        assert numbers(found)["test/mse"] > 0
        assert not [name for name in numbers(found) if name.startswith(("val/", "baseline/"))]
        return found

    return evaluate


@pytest.mark.long
def test_tasks_measure_later_images(evaluated: Callable[..., Path], tmp_path: Path) -> None:
    later = pictures(tmp_path / "later", {"b": 5, "c": 4})
    evaluated(later, "task=denoising", "corruption=gaussian")
    found = evaluated(later, "task=panel")  # compression, generation and embedding
    assert about(found)["test/knn_accuracy"]["left out"] == "4 examples of classes that train does not have"
    assert [path.name for path in (found / "latents").iterdir()] == ["test.parquet"]


@pytest.mark.long
@pytest.mark.parametrize("task", ["compression", "denoising", "embedding", "generation", "panel"])
def test_tasks_measure_a_single_image(evaluated: Callable[..., Path], tmp_path: Path, task: str) -> None:
    more = ["corruption=gaussian"] if task == "denoising" else []
    evaluated(pictures(tmp_path / "one", {"": 1}), f"task={task}", *more)


@pytest.mark.long
def test_a_prior_that_the_run_fitted_is_used_again(
    train: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, later = (pictures(tmp_path / name, {"": count}) for name, count in (("before", 40), ("later", 7)))
    shared = ("data=images", *SMALL, "model=ae", "fitted_prior=gaussian")
    run = train("task=generation", before, *shared, "trainer.max_epochs=1")
    found = train("task=generation", later, *shared, "train=false", f"ckpt_path={run}")
    assert (found / "model/fitted_prior.json").read_text() == (run / "model/fitted_prior.json").read_text()
    assert "standardised by, the train split" in about(found)["test/fid"]["not measured"]
    with pytest.raises(SystemExit):
        train("task=generation", later, *shared, "fitted_prior=mixture", "train=false", f"ckpt_path={run}")
    assert (
        "fitted_prior=mixture: needs train codes, but the model was not trained on these data"
        in capsys.readouterr().err
    )
