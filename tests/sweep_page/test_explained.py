"""The share of the variance that goes with each key."""

from itertools import product

import numpy as np
import pytest

from vaelab.record.sweep import Status
from vaelab.sweep_page.explained import explained
from vaelab.sweep_page.outcomes import Entry, Value


def entry(number: int, value: float | None, **settings: Value) -> Entry:
    return Entry(number, Status.DONE, "done", settings, {} if value is None else {"val/mse": value}, str(number))


def grid() -> list[Entry]:
    """Three values of a, four of b: a counts 2 for each step, b counts 1."""
    return [entry(number, 2.0 * a + b, a=a, b=b) for number, (a, b) in enumerate(product(range(3), range(4)))]


def test_shares_are_those_of_the_variance_of_each_effect() -> None:
    shares = explained(grid(), ["a", "b"], "val/mse")
    of_a, of_b = 4 * np.var(range(3)), np.var(range(4))
    assert shares == pytest.approx({"a": of_a / (of_a + of_b), "b": of_b / (of_a + of_b)})


def test_what_keys_do_together_is_left() -> None:
    entries = [entry(n, float((a - 0.5) * (b - 0.5)), a=a, b=b, c=c) for n, (a, b, c) in
               enumerate(product(range(2), range(2), range(3)))]  # fmt: skip
    assert explained(entries, ["a", "b", "c"], "val/mse") == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0})


def test_chance_is_no_importance() -> None:
    """Without the correction a key of three values would seem to explain 2 of 11 parts of pure noise, one of four 3."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(200):
        noise = [entry(one.number, random.normal(), **one.settings) for one in grid()]
        found.append(explained(noise, ["a", "b"], "val/mse"))
    median = {key: float(np.median([shares[key] for shares in found])) for key in ("a", "b")}
    assert all(value < 0.06 for value in median.values()), median


def test_a_job_that_failed_does_not_move_effect_to_another_key() -> None:
    shares = explained([*grid()[:5], *grid()[6:]], ["a", "b"], "val/mse")
    whole = explained(grid(), ["a", "b"], "val/mse")
    assert shares == pytest.approx(whole, abs=0.08)
    assert sum(shares.values()) <= 1 + 1e-9


def test_keys_that_cannot_be_told_apart_are_left_out() -> None:
    pairs = [(0, "x", 0), (0, "x", 1), (0, "x", 2), (1, "y", 0), (1, "y", 1), (1, "y", 2)]
    entries = [entry(n, float(a + c), a=a, twin=twin, c=c) for n, (a, twin, c) in enumerate(pairs)]
    assert set(explained(entries, ["a", "twin", "c"], "val/mse")) == {"c"}


def test_nothing_is_said_of_too_few_or_of_equal_numbers() -> None:
    assert explained([], ["a"], "val/mse") == {}
    assert explained([entry(n, float(n), a=n) for n in range(9)], ["a"], "val/mse") == {}  # a value for each job
    square = [entry(n, float(n), a=n // 2, b=n % 2) for n in range(4)]
    assert explained(square, ["a", "b"], "val/mse") == {}
    assert explained([entry(n, 0.25, a=n % 2, b=n // 2) for n in range(8)], ["a", "b"], "val/mse") == {}
    assert explained([entry(n, None, a=n % 2) for n in range(8)], ["a"], "val/mse") == {}
