import csv
from pathlib import Path

from vaelab.record.curves import CurveLogger, read_curves


def steps(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="") as file:
        return [(row["step"], row["val/loss"]) for row in csv.DictReader(file)]


def log(folder: Path, values: dict[int, float]) -> None:
    logger = CurveLogger(folder)
    for step, value in values.items():
        logger.log_metrics({"val/loss": value}, step)
    logger.finalize("success")


def test_a_resumed_run_keeps_earlier_rows_and_replaces_later_ones(tmp_path: Path) -> None:
    log(tmp_path, {1: 4.0, 2: 3.0, 3: 99.0, 4: 99.0})
    log(tmp_path, {3: 2.0, 5: 1.0})
    expected = [("1", "4.0"), ("2", "3.0"), ("3", "2.0"), ("5", "1.0")]
    assert steps(tmp_path / "metrics.csv") == expected
    assert read_curves(tmp_path / "metrics.csv") == {"val/loss": [(1, 4.0), (2, 3.0), (3, 2.0), (5, 1.0)]}


def test_numbers_of_one_step_share_a_row_and_new_columns_may_come(tmp_path: Path) -> None:
    logger = CurveLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 1)
    logger.log_metrics({"b": 2.0}, 1)
    logger.log_metrics({"c": float("nan")}, 2)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,a,b,c", "1,1.0,2.0,", "2,,,nan"]
    assert read_curves(tmp_path / "metrics.csv") == {"a": [(1, 1.0)], "b": [(1, 2.0)]}


def test_a_run_that_logs_nothing_leaves_old_curves_alone(tmp_path: Path) -> None:
    log(tmp_path, {1: 4.0})
    CurveLogger(tmp_path).finalize("failed")
    assert steps(tmp_path / "metrics.csv") == [("1", "4.0")]
    assert read_curves(tmp_path / "nothing.csv") == {}


def test_rows_written_bit_by_bit_are_those_written_at_once(tmp_path: Path) -> None:
    """A row that was written as the last one may change, and later rows may bring columns."""
    often, once = CurveLogger(tmp_path / "often"), CurveLogger(tmp_path / "once")
    for folder in ("often", "once"):
        (tmp_path / folder).mkdir()
    for step in range(12):
        for logger in (often, once):
            logger.log_metrics({"train/loss": 1 / (step + 1)}, step)
        often.save()
        for logger in (often, once):
            logger.log_metrics({"val/loss" if step < 6 else "val/mse": step}, step)
        if step % 3 == 0:
            often.save()
    for logger in (often, once):
        logger.finalize("success")
    assert (tmp_path / "often" / "metrics.csv").read_bytes() == (tmp_path / "once" / "metrics.csv").read_bytes()
