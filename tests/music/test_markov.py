"""The chain is a distribution, finds what repeats, and counts frames that are there alone."""

from math import log

import pytest
import torch

from vaelab.core.spec import DataSpec
from vaelab.evaluation.baselines.markov import Markov, fit_markov

TOKENS = DataSpec("t", "tokens", (2, 8), "categories", 6, has_missing=True)
ROLL = DataSpec("r", "roll", (5, 8), "binary", 2, has_missing=True)


def frames(spec: DataSpec, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(spec.levels or 2, (count, *spec.shape), generator=generator)


@pytest.mark.parametrize("spec", [TOKENS, ROLL])
def test_what_is_never_seen_is_uniform(spec: DataSpec) -> None:
    chain = Markov.fit(spec, 4, frames(spec, 0), 0)
    assert chain.nll_per_step(frames(spec, 9)) == pytest.approx(spec.shape[0] * log(spec.levels or 2))


def test_all_frames_of_a_short_sequence_have_probability_one_together() -> None:
    """Every sequence of two frames of two voices of three tokens, each with its own probability."""
    spec = DataSpec("t", "tokens", (2, 2), "categories", 3)
    chain = Markov.fit(spec, 4, torch.randint(3, (20, 2, 2), generator=torch.Generator().manual_seed(1)), 0)
    every = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 2, 2)
    chances = torch.tensor([-2 * chain.nll_per_step(one.unsqueeze(0)) for one in every], dtype=torch.float64).exp()
    assert float(chances.sum()) == pytest.approx(1)


def test_what_repeats_is_predicted() -> None:
    train = torch.tensor([[2, 1, 3, 1, 2, 1, 3, 1], [4, 1, 1, 1, 5, 1, 1, 1]]).expand(50, 2, 8)
    chain, on_val = fit_markov(TOKENS, 4, train, train, 0)
    assert on_val < 0.05
    assert chain.added == 0.001


def test_padding_is_not_counted() -> None:
    train, test = frames(TOKENS, 30), frames(TOKENS, 5)
    chain = Markov.fit(TOKENS, 4, train, 1)
    padded = test.clone()
    padded[:, :, 5:] = -1
    short = DataSpec("t", "tokens", (2, 5), "categories", 6)
    same = Markov(short, 4, chain.counts, chain.added)
    assert chain.nll_per_step(padded) == pytest.approx(same.nll_per_step(test[:, :, :5]))
