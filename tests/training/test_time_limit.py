"""A run that `trainer.max_time` ends says so, and goes on as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from rich.progress import Progress

from vaelab.terminal import console
from vaelab.training.progress import TimeColumn
from vaelab.training.time_limit import shown

SMALL = ("task=compression", "test=false", "trainer.max_epochs=3", "trainer.limit_train_batches=3",
         "encoder.hidden=[4]", "decoder.hidden=[4]", "callbacks.last.every_n_train_steps=1")  # fmt: skip


def weights(run: Path) -> dict[str, Any]:
    return dict(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])


@pytest.mark.parametrize(
    "ends", ["trainer.max_time=00:00:01:00", pytest.param("trainer.max_steps=5", marks=pytest.mark.long)]
)
@pytest.mark.long
def test_no_step_is_lost_where_training_ends_within_an_epoch(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ends: str
) -> None:
    def elapsed(timer: Timer, *_: Any) -> float:
        return 70.0 if seen[0].global_step >= 5 else 0.0

    def looks(timer: Timer, trainer: Any) -> None:
        seen[:] = [trainer]
        check(timer, trainer)

    seen: list[Any] = []
    check = Timer._check_time_remaining
    with monkeypatch.context() as patch:
        patch.setattr(Timer, "time_elapsed", elapsed)
        patch.setattr(Timer, "_check_time_remaining", looks)
        run = train(*SMALL, ends)
    said = "trainer.max_time=00:00:01:00 has passed: training ended in epoch 2 of 3, after 5 steps; "
    assert (said + f"go on with resume={run} trainer.max_time=00:00:02:10" in capsys.readouterr().out) == (
        "max_time" in ends
    )
    if "max_time" in ends:  # typed without more time
        train(f"resume={run}")
        again = capsys.readouterr().out
        assert said.partition("; ")[0] in again
        assert "training was already complete" not in again
    train(f"resume={run}", "trainer.max_time=00:01:00:00" if "max_time" in ends else "trainer.max_steps=-1")
    whole = train(*SMALL)
    ours = weights(run)
    assert all(torch.equal(ours[name], weight) for name, weight in weights(whole).items())
    assert json.loads((run / "metrics.json").read_text())


def test_it_is_written_as_lightning_reads_it() -> None:
    assert [shown(seconds) for seconds in (61, 90_000, 86_400 * 12 + 3)] == [
        "00:00:01:01",
        "01:01:00:00",
        "12:00:00:03",
    ]


def test_the_bar_shows_what_is_left_and_at_the_end_what_it_took() -> None:
    clock = [0.0]
    bar = Progress(console=console(), get_time=lambda: clock[0])
    row = bar.add_task("training", total=100, limit=None, ended=False)
    task, column = bar.tasks[0], TimeColumn()
    assert column.render(task).plain == "-:-- left"
    for second in range(1, 11):
        clock[0] = second
        bar.update(row, advance=2)
    assert column.render(task).plain == "0:40 left"
    bar.update(row, limit=7.2)
    assert column.render(task).plain == "0:07 left"
    bar.update(row, ended=True)  # early
    assert column.render(task).plain == "took 0:10"
