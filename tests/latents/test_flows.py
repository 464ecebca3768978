"""Flows: densities that integrate to one, draws that have them, and a KL that is the one of its estimate."""

from math import log, pi
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("zuko")

from vaelab.errors import ConfigError
from vaelab.latents import FlowPosterior, FlowPrior, LatentGroup, StandardNormal


def prior(kind: Any = "affine", size: int = 2) -> FlowPrior:
    torch.manual_seed(0)
    made = FlowPrior(2, [16], kind)
    made.bind(LatentGroup((size,)), None, None)  # type: ignore[arg-type]
    for part in made.parameters():
        part.data += 0.3 * torch.randn_like(part)
    return made


def posterior(size: int = 2) -> FlowPosterior:
    torch.manual_seed(0)
    made = FlowPosterior(2, [16], 3)
    made.bind(LatentGroup((size,)))
    for part in made.parameters():
        part.data += 0.3 * torch.randn_like(part)
    return made


def grid(reach: float, steps: int) -> tuple[Tensor, float]:
    line = torch.linspace(-reach, reach, steps)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


@pytest.mark.parametrize("kind", ["affine", "spline"])
@torch.no_grad()
def test_a_density_integrates_to_one_and_is_that_of_the_draws(kind: str) -> None:
    p = prior(kind)
    points, area = grid(12, 500)
    density = p.distribution().log_prob(points.unsqueeze(1))[:, 0].exp()
    assert float(density.sum() * area) == pytest.approx(1, abs=0.01)
    drawn = p.sample(50_000, (2,), seed=1)
    mean = (density.unsqueeze(1) * points).sum(0) * area
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.04, rtol=0)
    assert torch.equal(drawn, p.sample(50_000, (2,), seed=1))
    narrow = p.sample(1_000, (2,), seed=1, temperature=0.01)
    assert float(narrow.std(0).max()) < 0.1 * float(drawn.std(0).max())


@torch.no_grad()
def test_the_density_of_a_posterior_is_that_of_its_draws() -> None:
    made = posterior()
    code = 0.5 * torch.randn(1, *made.code_shape((2,)), generator=torch.Generator().manual_seed(2))
    noise = torch.randn(1, 40_000, 2, generator=torch.Generator().manual_seed(3))
    found = made.draw(made(code), StandardNormal().distribution(), noise, 40_000)
    assert found.log_ratio is not None
    assert found.q is not None
    assert found.rate is not None
    # The mean of p / q over draws of q is 1 for every p within q, if q is the density of the draws.
    middle, deviation = found.z.mean((0, 1)), 0.5 * found.z.std((0, 1))
    within = -0.5 * ((found.z - middle) / deviation).square().sum(2) - deviation.log().sum() - log(2 * pi)
    assert float((within - found.q()).exp().mean()) == pytest.approx(1, abs=0.03)
    torch.testing.assert_close(found.rate, -found.log_ratio.mean(1))


@torch.no_grad()
def test_each_number_of_a_draw_depends_on_those_before_it_and_the_order_turns() -> None:
    made = posterior(3)
    code = torch.zeros(1, *made.code_shape((3,)))
    q = made(code)
    for number, function in enumerate(made.functions):
        z = torch.zeros(1, 1, 3)
        before = function(q.context.unsqueeze(1)).call_and_ladj(z)[0]
        last = 2 if number % 2 == 0 else 0
        moved = z.clone()
        moved[..., last] = 1.0
        after = function(q.context.unsqueeze(1)).call_and_ladj(moved)[0]
        changed = (after != before)[0, 0]
        assert changed.tolist() == [place == last for place in range(3)]


def test_what_has_no_flow_is_refused() -> None:
    with pytest.raises(ConfigError, match="latent=vector"):
        FlowPosterior(1, [4], 2).code_shape((2, 4, 4))
    with pytest.raises(ConfigError, match=r"prior=flow: needs a real vector"):
        FlowPrior(1, [4], "affine").bind(LatentGroup((2, 4, 4)), None, None)  # type: ignore[arg-type]
