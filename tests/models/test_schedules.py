"""Schedules are pure functions of the step."""

import pytest
import torch

from vaelab.backbones.conv1d import Conv1dDecoder
from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.core import DataSpec
from vaelab.likelihoods import Bernoulli
from vaelab.models import VAE
from vaelab.models.schedules import ROLL, Capacity, Constant, Cyclical, FreeBits, Ignorable, Linear, Usual
from vaelab.models.vae import ignorable

SPECS = {
    "text": DataSpec("lines", "tokens", (12,), "categories", 5, end=2, characters=(0, 0, 0, 1, 1)),
    "roll": DataSpec("roll", "roll", (5, 7), "binary", 2),
    None: DataSpec("voices", "tokens", (4, 6), "categories", 9),
}
KL = torch.tensor([[0.5, 3.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), {0: 1, 1: 1, 10**9: 1}),
        (Linear(100), {0: 0, 1: 0.01, 50: 0.5, 99: 0.99, 100: 1, 101: 1, 10**9: 1}),
        (Linear(1), {0: 0, 1: 1, 2: 1}),
        # Four cycles of 25 steps: up over the first half, then flat, then anew from 0.
        (
            Cyclical(100, 4, 0.5),
            {0: 0, 5: 0.4, 12: 0.96, 13: 1, 24: 1, 25: 0, 30: 0.4, 50: 0, 75: 0, 80: 0.4, 99: 1, 100: 1, 125: 1},
        ),
        (Cyclical(49, 7, 1.0), {0: 0, 7: 0, 13: 6 / 7, 14: 0, 42: 0, 48: 6 / 7, 49: 1}),
        (Capacity(5.0, 10), {0: 1, 5: 1, 10: 1, 100: 1}),
        (FreeBits(0.5), {0: 1, 100: 1}),
    ],
)
def test_weight(schedule, expected: dict[int, float]) -> None:
    for step in [*expected, *reversed(expected)]:  # asked in any order
        assert schedule.weight(step) == pytest.approx(expected[step], abs=1e-12)


def test_cycles_repeat_exactly() -> None:
    schedule = Cyclical(120, 3, 0.7)
    first = [schedule.weight(step) for step in range(40)]
    for start in (40, 80):
        assert [schedule.weight(start + step) for step in range(40)] == pytest.approx(first)
    assert all(0 <= weight <= 1 for weight in first)


@pytest.mark.parametrize("schedule", [Constant(), Linear(10), Cyclical(10, 2, 0.5)])
def test_weights_leave_the_kl_itself_alone(schedule) -> None:
    torch.testing.assert_close(schedule.apply(KL, schedule.numbers(5)), torch.tensor([3.5, 1.0]))


@pytest.mark.parametrize(("step", "expected"), [(0, [3.5, 1.0]), (5, [1.5, 1.0]), (10, [0.5, 3.0]), (1000, [0.5, 3.0])])
def test_capacity_is_the_distance_to_a_growing_target(step: int, expected: list[float]) -> None:
    torch.testing.assert_close(Capacity(4.0, 10).apply(KL, Capacity(4.0, 10).numbers(step)), torch.tensor(expected))


def test_capacity_pulls_from_both_sides() -> None:
    kl = KL.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Capacity(2.0, 10).apply(kl, {"capacity": 2.0}).sum(), kl)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))


def test_free_bits_price_each_dimension_at_least_its_nats() -> None:
    kl = KL.clone().requires_grad_()
    price = FreeBits(0.75).apply(kl, {})
    torch.testing.assert_close(price.detach(), torch.tensor([3.75, 1.75]))
    (gradient,) = torch.autograd.grad(price.sum(), kl)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


def test_the_usual_schedule_has_free_bits_where_a_decoder_can_ignore_its_code() -> None:
    schedule = Usual(nats=4.0)
    for what, nats in (("text", 4.0), ("roll", 4.0 * ROLL)):
        chosen = schedule.chosen(latent_dim=16, ignorable=what)
        assert isinstance(chosen, FreeBits)
        assert chosen.nats == nats / 16
    assert type(schedule.chosen(latent_dim=16, ignorable=None)) is Constant
    assert Linear(10).chosen(16, ignorable="text").weight(5) == 0.5


@pytest.mark.parametrize("kind", SPECS)
def test_text_and_rolls_are_what_a_decoder_explains_without_its_code(kind: Ignorable | None) -> None:
    assert ignorable(SPECS[kind]) == kind


def test_a_vae_on_rolls_has_free_bits_only_where_its_decoder_reads_the_frames_before() -> None:
    spec, likelihood = SPECS["roll"], Bernoulli(SPECS["roll"], binarize=None)
    encoder = GRUEncoder((5, 7), 4, spec, 8, layers=1)
    steps = GRUDecoder(2, likelihood.raw_shape, spec, 8, layers=1, word_dropout=0.0)
    at_once = Conv1dDecoder(2, likelihood.raw_shape, [4, 8], "silu")
    schedules = [VAE(encoder, made, likelihood, 2, schedule=Usual(4.0)).schedule for made in (steps, at_once)]
    assert [type(schedule) for schedule in schedules] == [FreeBits, Constant]
