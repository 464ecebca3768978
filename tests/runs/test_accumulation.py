"""The gradient of a batch does not depend on how it is cut."""

from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.mark.long
def test_accumulating_two_halves_is_one_step_over_the_whole(train: Any) -> None:
    # An AE draws no noise, and 1,294 = 2 x 647 = 1 x 1,294: one step an epoch either way.
    settings = (
        "model=ae",
        "trainer.max_epochs=2",
        "optimizer=adam",
        "trainer.precision=32-true",
        "encoder.hidden=[16]",
    )
    whole = train(*settings, "data.batch_size=1294")
    halves = train(*settings, "data.batch_size=647", "trainer.accumulate_grad_batches=2")
    ours, theirs = (_weights(folder) for folder in (whole, halves))
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-4, atol=1e-6, msg=name)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
