"""A chain applies its parts in order, each with draws of its own."""

import subprocess
import sys

import pytest
import torch

from vaelab.config.builder import Builder
from vaelab.core import DataSpec, ExampleNoise, StepNoise
from vaelab.corruptions import Blur, Chain, Corruption, Gaussian, Identity, Mask, SaltPepper
from vaelab.errors import ConfigError

IMAGE = DataSpec("colour", "image", (3, 12, 10), "unit", 256)
TABLE = DataSpec("sensors", "table", (400,), "real")


def step_noise(epoch: int = 0, count: int = 50) -> StepNoise:
    return StepNoise(0, epoch, 0, slice(None), count)


def node(option: str, **settings: object) -> dict[str, object]:
    return {"_target_": f"vaelab.corruptions.{option}", **settings}


def test_two_parts_of_one_kind_do_not_share_their_draws() -> None:
    """Independent noise of 0.3 and 0.4 adds up to 0.5; the same draws would give 0.7."""
    chain = Chain({"a": Gaussian(0.3), "b": Gaussian(0.4)})
    noisy = chain(torch.zeros(50, 400), step_noise(), TABLE)
    assert noisy.std().item() == pytest.approx(0.5, rel=0.02)
    masked = Chain({"a": Mask(0.5), "b": Mask(0.5)})(torch.ones(50, 400), step_noise(), TABLE)
    assert (masked == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)


def test_parts_draw_strengths_of_their_own() -> None:
    ranged = Gaussian((0.0, 1.0))
    first, second = (
        Chain(parts)(torch.zeros(500, 400), step_noise(count=500), TABLE).std(1)
        for parts in ({"a": ranged}, {"b": ranged})
    )
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.15


def test_order_matters_and_is_kept() -> None:
    clean = torch.full((50, 3, 12, 10), 0.5)
    noise_last = Chain({"a": Mask(0.5), "b": Gaussian(0.1)})(clean, step_noise(), IMAGE)
    mask_last = Chain({"a": Gaussian(0.1), "b": Mask(0.5)})(clean, step_noise(), IMAGE)
    assert (mask_last == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (noise_last == 0).float().mean().item() < 0.35


def test_is_fresh_in_training_and_tied_to_the_example_in_evaluation() -> None:
    chain = Chain({"a": Blur((0.5, 1.5)), "b": SaltPepper((0.1, 0.4)), "c": Mask(0.2, "block")})
    clean = torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(chain(clean, step_noise(0, 6), IMAGE), chain(clean, step_noise(1, 6), IMAGE))
    whole = chain(clean, ExampleNoise(0, range(6)), IMAGE)
    alone = [chain(clean[i : i + 1], ExampleNoise(0, [i]), IMAGE) for i in range(6)]
    torch.testing.assert_close(torch.cat(alone), whole, atol=1e-6, rtol=0)


def test_a_chain_within_a_chain_draws_anew() -> None:
    inner = Chain({"a": Gaussian(0.3)})
    noisy = Chain({"a": inner, "b": Gaussian(0.4)})(torch.zeros(50, 400), step_noise(), TABLE)
    assert noisy.std().item() == pytest.approx(0.5, rel=0.02)


def test_at_one_is_the_chain_itself_and_at_half_every_part_at_half() -> None:
    chain = Chain({"a": Gaussian(0.4), "b": Mask(0.5)})
    clean = torch.rand(50, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    assert repr(chain.at_strength(1)) == repr(chain)
    assert torch.equal(chain.at_strength(1)(clean, step_noise(), IMAGE), chain(clean, step_noise(), IMAGE))
    half = Chain({"a": Gaussian(0.2), "b": Mask(0.25)})
    assert torch.equal(chain.at_strength(0.5)(clean, step_noise(), IMAGE), half(clean, step_noise(), IMAGE))
    assert chain.limit == 2  # of the mask, whose fraction ends at 1
    with pytest.raises(ConfigError, match=r"strength=2\.5: should be a number from 0 to 2"):
        chain.at_strength(2.5)
    ranged = Chain({"a": Gaussian((0.1, 0.4)), "b": Blur(1.0)})
    assert [part.range for part in ranged.at_strength(0.5).parts.values()] == [(0.2, 0.2), (0.5, 0.5)]


def test_changes_where_any_part_does() -> None:
    assert not Chain({"a": Identity()}).changes
    assert Chain({"a": Identity(), "b": Gaussian(0.1)}).changes


def test_is_built_from_nested_nodes() -> None:
    built = Builder().build(
        node("Chain", parts={"first": node("Blur", sigma=[0.5, 1]), "second": node("Mask", fraction=0.2)}),
        "corruption",
        Corruption,
    )
    assert repr(built) == repr(Chain({"first": Blur((0.5, 1.0)), "second": Mask(0.2)}))


@pytest.mark.long
def test_every_setting_of_every_part_is_in_repr_in_any_process() -> None:
    chain = Chain({"a": Gaussian((0.1, 0.4)), "b": Chain({"c": Mask(0.5, "block")})})
    made = "Chain({'a': Gaussian((0.1, 0.4)), 'b': Chain({'c': Mask(0.5, 'block')})})"
    code = f"from vaelab.corruptions import *; print({made})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == repr(chain)
    others = [
        Chain({"a": Gaussian((0.1, 0.3)), "b": Chain({"c": Mask(0.5, "block")})}),
        Chain({"a": Gaussian((0.1, 0.4)), "b": Chain({"c": Mask(0.5)})}),
        Chain({"a": Gaussian((0.1, 0.4)), "x": Chain({"c": Mask(0.5, "block")})}),
        Chain({"b": Chain({"c": Mask(0.5, "block")}), "a": Gaussian((0.1, 0.4))}),
    ]
    assert len({repr(corruption) for corruption in (chain, *others)}) == 5


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "corruption: parts={}: needs at least one corruption"),
        ({"first": node("Gausian", sigma=1)}, r"corruption\.parts\.first\._target_=vaelab\.corruptions\.Gausian"),
        (
            {"first": node("Gaussian", sigma=-1)},
            r"corruption\.parts\.first: sigma=-1: should be a number of at least 0",
        ),
        ({"first": node("Gaussian", sigm=1)}, r"unknown key corruption\.parts\.first\.sigm; did you mean"),
        ({"first": {"_target_": "torch.nn.Identity"}}, r"corruption\.parts\.first\._target_.*should be a Corruption"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Builder().build(node("Chain", parts=parts), "corruption", Corruption)


def test_a_part_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="corruption=blur: needs images; sensors is a table"):
        Chain({"a": Gaussian(0.1), "b": Blur(1.0)})(torch.zeros(2, 400), step_noise(count=2), TABLE)
