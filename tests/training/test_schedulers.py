"""Learning-rate schedules are pure functions of the step."""

from itertools import pairwise
from math import cos, pi

import pytest

from vaelab.training.schedulers import Constant, Cosine


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(100, warmup_steps=0), {0: 1, 50: 1, 1000: 1}),
        (Constant(100, warmup_steps=4), {0: 0.2, 1: 0.4, 3: 0.8, 4: 1, 5: 1, 100: 1}),
        (Cosine(100, 0, final=0.0), {0: 1, 25: (1 + cos(pi / 4)) / 2, 50: 0.5, 100: 0, 150: 0}),
        (Cosine(100, 0, final=0.1), {0: 1, 50: 0.55, 100: 0.1, 150: 0.1}),
        (Cosine(110, warmup_steps=10, final=0.2), {0: 1 / 11, 9: 10 / 11, 10: 1, 60: 0.6, 110: 0.2}),
        (Cosine(5, warmup_steps=5, final=0.0), {0: 1 / 6, 4: 5 / 6, 5: 1, 6: 0}),
        (Cosine(0, 0, final=0.0), {0: 1, 1: 0}),
    ],
)
def test_factor(schedule, expected: dict[int, float]) -> None:
    for step in [*expected, *reversed(expected)]:
        assert schedule(step) == pytest.approx(expected[step], abs=1e-12)


def test_no_step_is_wasted_at_a_rate_of_zero_and_warm_up_only_rises() -> None:
    for schedule in (Constant(50, 10), Cosine(50, 10, 0.0)):
        factors = [schedule(step) for step in range(50)]
        assert min(factors) > 0
        assert max(factors) == 1
        assert all(a < b for a, b in pairwise(factors[:11]))
    assert all(a > b for a, b in pairwise(factors[10:]))
