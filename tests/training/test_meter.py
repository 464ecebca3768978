"""Means weigh by examples, and a number that is none is found where it arose."""

from contextlib import suppress

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from vaelab.errors import DivergenceError, UserError
from vaelab.training.meter import TermMeter

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def strategy() -> SingleDeviceStrategy:
    return SingleDeviceStrategy(device="cpu")


class Beside:
    """Two devices, of which the other one has already sent what `other` holds."""

    root_device = torch.device("cpu")
    is_global_zero = True

    def __init__(self, other: TermMeter) -> None:
        self._sent: torch.Tensor | None = None
        with suppress(DivergenceError):
            other.window(self)

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        if self._sent is None:
            self._sent = tensor
            return tensor
        return tensor + self._sent


def holding(*steps: dict[str, torch.Tensor]) -> TermMeter:
    meter = TermMeter()
    for step, row in enumerate(steps):
        meter.add(row, step)
    return meter


def terms(loss: list[float], **others: list[float]) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(loss)} | {name: torch.tensor(value) for name, value in others.items()}


def test_means_over_uneven_batches_are_over_examples(strategy) -> None:
    values = torch.randn(23, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    meter = TermMeter()
    for step, part in enumerate(values.split([10, 10, 3])):
        meter.add({"loss": part, "kl": 2 * part + 1}, step)
    means = meter.epoch(strategy)
    assert means == {
        "loss": pytest.approx(values.mean().item(), rel=1e-12),
        "kl": pytest.approx(2 * values.mean().item() + 1, rel=1e-12),
    }


def test_windows_partition_the_epoch(strategy) -> None:
    meter = TermMeter()
    meter.add(terms([1.0, 2.0]), 0)
    meter.add(terms([6.0]), 1)
    assert meter.window(strategy) == {"loss": pytest.approx(3)}
    assert meter.window(strategy) == {}
    meter.add(terms([11.0]), 2)
    assert meter.window(strategy) == {"loss": pytest.approx(11)}
    meter.add(terms([0.0]), 3)  # not yet read
    assert meter.epoch(strategy) == {"loss": pytest.approx(20 / 5)}
    assert meter.epoch(strategy) == {}
    meter.add(terms([7.0]), 4)
    assert meter.epoch(strategy) == {"loss": pytest.approx(7)}


def test_devices_weigh_by_their_examples() -> None:
    meter = TermMeter()
    meter.add(terms([1.0, 3.0]), 0)
    assert meter.window(Beside(holding(terms([2.0, 2.0, 2.0, 2.0, 2.0, 10.0])))) == {"loss": pytest.approx(24 / 8)}


def test_a_repeated_row_does_not_count(strategy) -> None:
    meter = TermMeter()
    meter.add(terms([1.0, 3.0]), 0)
    meter.add(terms([100.0]), 1, counts=False)
    assert meter.epoch(strategy) == {"loss": pytest.approx(2)}


def test_an_interrupted_epoch_goes_on_with_the_same_means(strategy) -> None:
    interrupted, resumed = TermMeter(), TermMeter()
    interrupted.add(terms([1.0, 2.0], kl=[0.5, 0.5]), 0)
    interrupted.window(strategy)
    interrupted.add(terms([3.0], kl=[1.0]), 1)  # a window that is still open
    resumed.load_state(interrupted.state(strategy), strategy)
    for meter in (interrupted, resumed):
        meter.add(terms([6.0], kl=[2.0]), 2)
    assert resumed.window(strategy) == interrupted.window(strategy) == {"loss": 4.5, "kl": 1.5}
    assert resumed.epoch(strategy) == interrupted.epoch(strategy) == {"loss": 3.0, "kl": 1.0}


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("term", ["reconstruction", "kl", "contraction"])
def test_the_first_bad_step_and_its_term_are_named(strategy, term: str, bad: float) -> None:
    meter = TermMeter()
    for step in (40, 41, 42, 43):
        row = {name: [1.0, 1.0, 1.0] for name in ("reconstruction", "kl", "elbo", "contraction")}
        if step >= 42:
            row[term][1] = bad
            row["elbo"][1] = bad
        meter.add(terms([bad if step >= 42 else 1.0, 1.0, 1.0], **row), step)
    with pytest.raises(DivergenceError, match=rf"train/{term} is not a number at step 42\b.*optimizer\.lr"):
        meter.window(strategy)


def test_a_bad_loss_of_good_terms_is_named_itself(strategy) -> None:
    meter = TermMeter("val")
    meter.add(terms([NAN], kl=[1.0]), 5)
    with pytest.raises(DivergenceError, match="val/loss is not a number at step 5"):
        meter.epoch(strategy)


def test_another_device_s_bad_number_stops_this_one_too() -> None:
    meter = TermMeter()
    meter.add(terms([1.0]), 9)
    with pytest.raises(DivergenceError, match="step 9, on another device"):
        meter.window(Beside(holding(terms([NAN]))))


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    good = {"encoder.weight": torch.ones(2), "batches": torch.tensor(3), "note": "text"}
    TermMeter().check_weights(good, 1)
    with pytest.raises(DivergenceError, match=r"weight decoder\.bias is not a number at step 8"):
        TermMeter().check_weights(good | {"decoder.bias": torch.tensor([0.0, NAN])}, 8)


def test_keeps_no_graph() -> None:
    weight = torch.ones(3, requires_grad=True)
    meter = TermMeter()
    meter.add({"loss": weight * 2}, 0)
    assert not any(row.requires_grad for _, row in meter._rows)


# Terms that begin later than the first step


LATE = (terms([1.0, 2.0]), terms([3.0], late=[1.0]), terms([4.0], late=[5.0], later=[8.0]))


def test_a_term_is_0_before_it_begins(strategy) -> None:
    assert holding(*LATE).epoch(strategy) == {"loss": 2.5, "late": 1.5, "later": 2.0}


def test_a_term_may_begin_in_a_later_window_and_pause(strategy) -> None:
    meter = holding(LATE[0])
    assert meter.window(strategy) == {"loss": 1.5}
    meter.add(LATE[1], 1)
    assert meter.window(strategy) == {"loss": 3.0, "late": 1.0}
    meter.add(terms([4.0]), 2)
    assert meter.window(strategy) == {"loss": 4.0, "late": 0.0}
    assert meter.epoch(strategy) == {"loss": 2.5, "late": 0.25}


def test_terms_are_told_apart_by_name_and_not_by_place(strategy) -> None:
    swapped = dict(reversed(terms([3.0], kl=[5.0]).items()))
    assert holding(terms([1.0], kl=[2.0]), swapped).epoch(strategy) == {"loss": 2.0, "kl": 3.5}


@pytest.mark.parametrize("before", [1, 2, 3])
def test_an_interrupted_epoch_goes_on_when_a_term_begins_before_or_after(strategy, before: int) -> None:
    whole, interrupted, resumed = holding(*LATE), TermMeter(), TermMeter()
    for step, row in enumerate(LATE[:before]):
        interrupted.add(row, step)
    resumed.load_state(interrupted.state(strategy), strategy)
    for step, row in enumerate(LATE[before:], before):
        resumed.add(row, step)
    assert resumed.epoch(strategy) == whole.epoch(strategy)


def test_a_late_term_is_summed_over_devices() -> None:
    assert holding(*LATE).epoch(Beside(holding(*LATE))) == {"loss": 2.5, "late": 1.5, "later": 2.0}


def test_devices_that_know_other_terms_are_told_so() -> None:
    with pytest.raises(UserError, match=r"other terms on other devices, on this one loss, late, later;.*zeros"):
        holding(*LATE).window(Beside(holding(*LATE[:1])))


def test_a_late_term_that_is_no_number_is_named_with_its_step(strategy) -> None:
    with pytest.raises(DivergenceError, match=r"train/late is not a number at step 1\b"):
        holding(terms([1.0]), terms([NAN], late=[NAN])).window(strategy)
