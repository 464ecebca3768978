"""Noise is a function of where it is used, and of nothing else."""

from itertools import pairwise

import pytest
import torch

from vaelab.core import ExampleNoise, StepNoise
from vaelab.core.noise import mix

CPU = torch.device("cpu")
KINDS = ["normal", "uniform"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [[0, 7, 13], [0, 4, 8, 13], [0, 0, 13]])
def test_rows_of_all_ranks_are_the_noise_of_one_device(kind: str, cuts: list[int]) -> None:
    whole = getattr(StepNoise(3, 1, 2, slice(None), 13), kind)("posterior", (2, 5), CPU)
    parts = [getattr(StepNoise(3, 1, 2, slice(a, b), 13), kind)("posterior", (2, 5), CPU) for a, b in pairwise(cuts)]
    assert whole.shape == (13, 2, 5)
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_step_noise_repeats_itself_and_differs_in_every_part_of_its_key(kind: str) -> None:
    def draw(seed: int, epoch: int, batch: int, stream: str = "posterior") -> torch.Tensor:
        return getattr(StepNoise(seed, epoch, batch, slice(None), 4), kind)(stream, (3,), CPU)

    assert torch.equal(draw(0, 0, 0), draw(0, 0, 0))
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 0, 0, "corruption"), (0, 0, 0, "binarize")]
    draws = [tuple(draw(*key).flatten().tolist()) for key in keys]
    assert len(set(draws)) == len(keys)


@pytest.mark.parametrize("kind", KINDS)
def test_example_noise_belongs_to_the_example(kind: str) -> None:
    """It does not change with the batch, its order or its size."""
    examples = [5, 0, 17, 3]
    whole = getattr(ExampleNoise(0, examples), kind)("posterior", (2, 3), CPU)
    alone = [getattr(ExampleNoise(0, [example]), kind)("posterior", (2, 3), CPU) for example in examples]
    assert torch.equal(torch.cat(alone), whole)
    assert torch.equal(getattr(ExampleNoise(0, examples[::-1]), kind)("posterior", (2, 3), CPU), whole.flip(0))
    assert len({tuple(row.flatten().tolist()) for row in whole}) == len(examples)


@pytest.mark.parametrize("kind", KINDS)
def test_example_noise_differs_between_seeds_and_streams(kind: str) -> None:
    def draw(seed: int, stream: str) -> torch.Tensor:
        return getattr(ExampleNoise(seed, [1, 2]), kind)(stream, (8,), CPU)

    draws = [draw(0, "posterior"), draw(1, "posterior"), draw(0, "evidence")]
    assert not any(torch.equal(a, b) for a, b in ((draws[0], draws[1]), (draws[0], draws[2]), (draws[1], draws[2])))


def test_streams_are_uncorrelated() -> None:
    """Else a denoising VAE would see in its input what its posterior is about to draw."""
    count = 40_000
    noise = StepNoise(0, 0, 0, slice(None), count)
    posterior, corruption = noise.normal("posterior", (1,), CPU), noise.normal("corruption", (1,), CPU)
    next_step = StepNoise(0, 0, 1, slice(None), count).normal("posterior", (1,), CPU)
    for other in (corruption, next_step):
        assert abs((posterior * other).mean().item()) < 4.5 / count**0.5


@pytest.mark.parametrize("rows", [StepNoise(0, 0, 0, slice(None), 2000), ExampleNoise(0, range(2000))])
def test_has_the_distribution_it_names(rows) -> None:
    normal, uniform = rows.normal("a", (25,), CPU), rows.uniform("b", (25,), CPU)
    error = 4.5 / 50_000**0.5
    assert abs(normal.mean().item()) < error
    assert abs(normal.square().mean().item() - 1) < 2**0.5 * error
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean().item() - 0.5) < error / 12**0.5


def test_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    StepNoise(0, 0, 0, slice(None), 4).normal("a", (3,), CPU)
    ExampleNoise(0, [1]).uniform("a", (3,), CPU)
    assert torch.equal(torch.rand(3), expected)


def test_mix_is_a_seed_and_tells_its_arguments_apart() -> None:
    seeds = [mix(a, b, name) for a in range(30) for b in range(30) for name in ("order", "posterior")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(1, 2) != mix(2, 1)
    assert mix(0) != mix(0, 0)
