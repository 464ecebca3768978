"""Finite scalar quantization: all code words and no others, indices and back, and gradients straight through."""

from math import log, prod

import pytest
import torch
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.latents import FSQ, LatentGroup, LatentSpec, Uniform
from vaelab.latents.quantizers import index_use

LEVELS = [[4], [3], [5, 4], [8, 8, 8], [5, 5, 4, 3]]


def rounded(values: Tensor, levels: list[int]) -> Tensor:
    """The paper's section 3.1 with one number after the other, `(N, numbers)` to the same shape."""
    columns = []
    for number, count in enumerate(levels):
        half, offset = (count - 1) * 1.001 / 2, 0.5 if count % 2 == 0 else 0.0
        shift = torch.tensor(offset / half).atanh()
        columns.append((((values[:, number] + shift).tanh() * half - offset).round()) / (count // 2))
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_word_is_reached_and_no_other(levels: list[int]) -> None:
    fsq = FSQ(levels)
    words = fsq.from_indices(torch.arange(prod(levels)).view(-1, 1))
    assert len(words.unique(dim=0)) == prod(levels)
    for number, count in enumerate(levels):
        expected = (torch.arange(count) - count // 2) / (count // 2)
        torch.testing.assert_close(words[:, number].unique(), expected)
    steps = torch.linspace(-4, 4, 25 if len(levels) > 3 else 41)
    q = fsq(torch.cartesian_prod(*[steps] * len(levels)).view(-1, len(levels)))
    assert len(q.mean.unique(dim=0)) == len(q.indices.unique()) == prod(levels)
    assert {tuple(row) for row in q.mean.tolist()} == {tuple(row) for row in words.tolist()}


@pytest.mark.parametrize("levels", LEVELS)
def test_values_are_rounded_as_the_paper_says(levels: list[int]) -> None:
    values = 2 * torch.randn(500, len(levels), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(FSQ(levels)(values).mean, rounded(values, levels))


@pytest.mark.parametrize("shape", [(3,), (6,), (3, 2, 4), (6, 2, 4)])
def test_indices_and_z_name_each_other(shape: tuple[int, ...]) -> None:
    fsq = FSQ([4, 3, 5])
    group = fsq.group(shape)
    assert group.indices is not None
    q = fsq(2 * torch.randn(50, *shape, generator=torch.Generator().manual_seed(0)))
    assert q.indices.shape == (50, *group.indices)
    torch.testing.assert_close(fsq.from_indices(q.indices), q.mean)
    assert group.levels == 60
    assert LatentSpec((group,)).finest.nats == pytest.approx(group.tokens * log(60))


def test_a_word_is_the_channels_of_one_place() -> None:
    """Changing one place changes the index of that place alone; of several words the first takes the first channels."""
    fsq, code = FSQ([4, 3]), torch.zeros(1, 4, 2, 2)
    code[0, :2, 1, 0] = 3.0
    indices = fsq(code).indices[0] - fsq(torch.zeros_like(code)).indices[0]
    assert indices.shape == (2, 2, 2)
    assert indices.nonzero().tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("levels", LEVELS)
def test_gradients_pass_the_rounding_as_if_it_were_not_there(levels: list[int]) -> None:
    code = torch.randn(20, len(levels), generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    fsq = FSQ(levels)
    (through,) = torch.autograd.grad(fsq(code).mean.sum(), code)
    half = (fsq.sizes - 1) * 1.001 / 2
    offset = torch.where(fsq.sizes % 2 == 0, 0.5, 0.0).double()
    smooth = (code + (offset / half).atanh()).tanh() * half / (fsq.sizes // 2)
    (expected,) = torch.autograd.grad(smooth.sum(), code)
    torch.testing.assert_close(through, expected, rtol=1e-5, atol=1e-7)
    assert (through > 0).all()


def test_under_autocast_it_rounds_in_single_precision() -> None:
    fsq, layer = FSQ([8, 8, 8]), torch.nn.Linear(5, 3)
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        code = layer(x)
        q = fsq(code)
    assert code.dtype == torch.bfloat16
    assert q.mean.dtype == torch.float32
    whole = fsq(code.float())
    assert torch.equal(q.indices, whole.indices)
    assert torch.equal(q.mean, whole.mean)


def test_latent_dim_must_hold_whole_words() -> None:
    with pytest.raises(ConfigError, match=r"latent_dim=4: latent_dim should be a multiple of 3, such as 3"):
        FSQ([8, 8, 8]).group((4, 7, 7))


# What a code costs, and how much of it is used


def test_a_code_under_the_uniform_prior_costs_the_log_of_its_levels() -> None:
    fsq, prior = FSQ([4, 3]), Uniform()
    group = fsq.group((2, 3, 3))
    prior.bind(group, None, lambda x: x)  # type: ignore[arg-type]
    q = fsq(torch.randn(7, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
    draw = fsq.draw(q, prior.distribution(), None, 1)
    assert draw.rate is not None
    assert draw.log_ratio is not None
    torch.testing.assert_close(draw.rate, torch.full((7,), group.nats))
    torch.testing.assert_close(draw.log_ratio, torch.full((7, 1), -group.nats))
    assert draw.parts is not None
    assert draw.parts.shape == (7, 9)


def test_draws_of_the_uniform_prior_are_equally_likely_indices() -> None:
    prior = Uniform()
    prior.bind(LatentGroup((2,), (1,), 6), None, lambda x: x)  # type: ignore[arg-type]
    drawn = prior.sample(60_000, (1,), seed=4)
    torch.testing.assert_close(drawn.flatten().bincount() / 60_000, torch.full((6,), 1 / 6), atol=0.01, rtol=0)
    assert torch.equal(drawn, prior.sample(60_000, (1,), seed=4, temperature=0.1))
    with pytest.raises(ConfigError, match="prior=uniform: needs a discrete code"):
        Uniform().bind(LatentSpec.vector(2).finest, None, lambda x: x)  # type: ignore[arg-type]


def test_use_of_indices_is_that_of_known_shares() -> None:
    even = index_use(torch.full((16,), 5))
    assert even == {"code_usage": 1.0, "code_perplexity": pytest.approx(16)}
    assert index_use(torch.tensor([8, 0, 0, 0])) == {"code_usage": 0.25, "code_perplexity": pytest.approx(1)}
    # Of ten indices one is used at a tenth of its uniform share, which counts, and one below that, which does not.
    shares = torch.tensor([100.0, 100, 100, 100, 100, 100, 100, 100, 8.2, 2.0])
    total = shares.sum()
    assert shares[8] / total >= 0.01 > shares[9] / total
    found = index_use(shares)
    assert found["code_usage"] == 0.9
    expected = torch.distributions.Categorical(probs=shares).entropy().exp().item()
    assert found["code_perplexity"] == pytest.approx(expected)


def test_counts_change_after_a_step_and_in_no_forward_pass() -> None:
    fsq = FSQ([3, 3])
    q = fsq(torch.randn(30, 2, generator=torch.Generator().manual_seed(0)))
    assert not fsq.counts.any()
    assert fsq.diagnostics() == {}
    statistics = fsq.statistics(q)
    assert torch.equal(statistics["index_counts"].long(), q.indices.flatten().bincount(minlength=9))
    fsq.update(statistics)
    fsq.update(statistics)
    torch.testing.assert_close(fsq.counts, 1.99 * statistics["index_counts"])
    assert fsq.diagnostics() == pytest.approx(index_use(statistics["index_counts"]))


def test_many_millions_of_code_words_are_told_apart() -> None:
    fsq = FSQ([8] * 8 + [3])
    q = fsq(torch.randn(500, 9, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(fsq.from_indices(q.indices), q.mean)


def test_a_diverged_code_shows_in_z_and_names_a_code_word() -> None:
    q = FSQ([8, 8])(torch.full((2, 2), torch.nan))
    assert q.mean.isnan().all()
    assert (q.indices >= 0).all()
    assert (q.indices < 64).all()
