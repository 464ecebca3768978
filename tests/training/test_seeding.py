"""Zero is a seed, and no seed draws one."""

import random

import numpy as np
import pytest
import torch

from vaelab.training.seeding import seed_all


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # Lightning writes it; put back what was there


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002


@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_a_seed_fixes_every_generator(seed: int) -> None:
    assert seed_all(seed) == seed
    first = draws()
    seed_all(seed)
    assert draws() == first
    seed_all(seed + 1)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_no_seed_draws_one_that_reproduces_the_run() -> None:
    drawn = seed_all(None)
    first = draws()
    seed_all(drawn)
    assert draws() == first
    assert seed_all(None) != drawn
