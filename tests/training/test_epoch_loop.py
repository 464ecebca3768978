"""Steps taken in blocks are the steps that Lightning would have taken one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from vaelab.training.epoch_loop import EpochLoop

SMALL = (
    "encoder.hidden=[16]",
    "decoder.hidden=[16]",
    "data.batch_size=100",
    "trainer.max_epochs=3",
)  # 13 steps an epoch
WATCHED = ("trusted=[vaelab,test_epoch_loop]", "+callbacks.watch._target_=test_epoch_loop.EveryStep")


class EveryStep(Callback):
    """Wants to see each step."""

    seen: ClassVar[list[int]] = []

    def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
        self.seen.append(trainer.global_step)


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of plain steps taken, block by block."""
    taken: list[int] = []
    room = EpochLoop._room

    def recorded(loop: EpochLoop) -> int:
        taken.append(room(loop))
        return taken[-1]

    monkeypatch.setattr(EpochLoop, "_room", recorded)
    return taken


def same(ours: Any, theirs: Any, where: str = "") -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, f"{where}[{number}]")
    elif isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["trainer.gradient_clip_val=0.5", "scheduler=cosine", "scheduler.warmup_steps=5"],
        ["trainer.gradient_clip_val=0.01", "+trainer.gradient_clip_algorithm=value"],
        ["trainer.accumulate_grad_batches=3"],
        ["trainer.val_check_interval=5", "callbacks.last.every_n_train_steps=4"],
        ["trainer.val_check_interval=8", "trainer.check_val_every_n_epoch=null"],
        ["trainer.max_steps=17", "trainer.log_every_n_steps=4"],
        ["trainer.limit_train_batches=7", "trainer.precision=64-true"],
        ["optimizer._target_=torch.optim.NAdam", "~optimizer.fused", "trainer.max_epochs=2"],
        ["trainer.precision=bf16-mixed", "trainer.accumulate_grad_batches=2"],
        ["trainer.accumulate_grad_batches=2", "+callbacks.best.every_n_train_steps=3", "callbacks.best.monitor=null"],
    ],
    ids=lambda settings: " ".join(settings) or "as it is",
)
@pytest.mark.long
def test_blocks_change_no_number_and_no_count(
    settings: list[str], train: Callable[..., Path], blocks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelab.training.epoch_loop.BLOCK", 1e9)  # blocks grow as fast as they may
    blocked = train(*SMALL, *settings)
    assert max(blocks) > 1
    blocks.clear()
    monkeypatch.syspath_prepend(Path(__file__).parent)
    stepped = train(*SMALL, *settings, *WATCHED)
    assert not blocks
    ours, theirs = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (blocked, stepped))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "epoch", "train_terms"):
        same(ours[key], theirs[key], key)
    for file in ("metrics.json", "metrics.csv"):
        assert (blocked / file).read_text() == (stepped / file).read_text()


@pytest.mark.long
def test_a_callback_that_wants_each_step_gets_it(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import test_epoch_loop

    test_epoch_loop.EveryStep.seen.clear()
    train(*SMALL, *WATCHED)
    assert test_epoch_loop.EveryStep.seen == list(range(1, 40))


@pytest.mark.long
def test_an_optimizer_that_evaluates_the_objective_itself_may(train: Callable[..., Path], blocks: list[int]) -> None:
    plain = [f"~optimizer.{key}" for key in ("fused", "betas", "eps", "weight_decay")]
    run = train(*SMALL, "optimizer._target_=torch.optim.LBFGS", *plain, "trainer.max_epochs=1", "test=false")
    assert (run / "metrics.json").is_file()
    assert not blocks
