"""Lookup-free quantization: words that are bits, and entropies whose least loss is what it should be."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.latents import LFQ, Uniform

USUAL: dict[str, Any] = {
    "groups": 1, "entropy": 0.1, "diversity": 1.0, "commitment": 0.25, "temperature": 1.0, "joint": 8,
}  # fmt: skip


def made(shape: tuple[int, ...], **settings: Any) -> LFQ:
    lfq = LFQ(**USUAL | settings)
    lfq.bind(lfq.group(shape))
    return lfq


def codes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def terms(lfq: LFQ, code: Tensor) -> dict[str, Tensor]:
    prior = Uniform()
    prior.bind(lfq.group(tuple(code.shape[1:])), None, None)  # type: ignore[arg-type]
    q = lfq(code)
    return dict(lfq.draw(q, prior.distribution(), None, 1).penalties) | lfq.batch_penalties(q, 1.0)


def every_word(bits: int) -> Tensor:
    return 2.0 * (torch.arange(2**bits).unsqueeze(1) // 2 ** torch.arange(bits) % 2) - 1


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(4,), (4, 3, 5), (36,)])
def test_signs_and_indices_name_each_other(shape: tuple[int, ...], groups: int) -> None:
    if shape == (36,):
        groups = 2  # 2^18 words
    lfq, code = made(shape, groups=groups), codes(7, *shape)
    q, group = lfq(code), lfq.group(shape)
    assert q.indices.shape == (7, *(group.indices or ()))
    torch.testing.assert_close(q.mean, code.sign())
    torch.testing.assert_close(lfq.from_indices(q.indices), code.sign())
    assert int(q.indices.max()) < 2 ** (shape[0] // groups) == group.levels
    assert all(term.isfinite().all() for term in terms(lfq, code).values())


def test_the_first_channel_is_the_lowest_bit_and_gradients_pass_straight_through() -> None:
    lfq, code = made((3,)), torch.tensor([[2.0, -0.1, -3.0], [-1.0, -1.0, 0.5]]).requires_grad_()
    q = lfq(code)
    assert q.indices[:, 0].tolist() == [1, 4]
    weights = codes(2, 3)
    (gradient,) = torch.autograd.grad((q.mean * weights).sum(), code)
    torch.testing.assert_close(gradient, weights)


@pytest.mark.parametrize("joint", [1, 2, 3])
def test_a_batch_that_uses_all_words_equally_has_the_least_loss(joint: int) -> None:
    lfq = made((3,), joint=joint, diversity=1.5, commitment=0.0)
    certain = 20 * every_word(3)

    def loss(code: Tensor) -> float:
        return float(sum(terms(lfq, code).values()).mean())  # type: ignore[arg-type, union-attr]

    least = loss(certain)
    assert least == pytest.approx(-0.1 * 1.5 * 3 * log(2), rel=1e-4)
    for other in (certain[:1], certain[:4], certain[torch.tensor([0, 0, 0, 1, 2, 3])], every_word(3) / 8, codes(64, 3)):
        assert loss(other) > least + 1e-3
    two = certain[torch.tensor([0, 7])]  # 000 and 111 use each bit equally, but not all words
    assert (loss(two) > least + 1e-3) == (joint > 1)
    free = codes(64, 3, seed=5).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        sum(terms(lfq, free).values()).mean().backward()  # type: ignore[union-attr]
        optimizer.step()
    assert loss(free.detach()) == pytest.approx(least, abs=3e-3)


def test_entropies_are_those_of_an_enumeration_of_all_words() -> None:
    lfq, code = made((4, 2, 3), temperature=0.7), 0.4 * codes(5, 4, 2, 3)
    rows = code.movedim(1, -1).reshape(5, 6, 4)
    share = (-(rows.unsqueeze(2) - every_word(4)).square().sum(3) / 0.7).softmax(2)
    each = -(share * share.log()).sum((1, 2))
    mean = share.mean((0, 1))
    found = terms(lfq, code)
    torch.testing.assert_close(found["entropy"], 0.1 * each)
    torch.testing.assert_close(found["diversity"], (0.1 * 6 * (mean * mean.log()).sum()).expand(5))
    torch.testing.assert_close(found["commitment"], 0.25 * (code - code.sign()).square().flatten(1).sum(1))


@pytest.mark.parametrize("temperature", [1.0, 0.01])
def test_the_same_as_vector_quantize_pytorch(temperature: float) -> None:
    package = pytest.importorskip("vector_quantize_pytorch")
    theirs = package.LFQ(
        dim=4, codebook_size=16, entropy_loss_weight=0.1, diversity_gamma=1.3, commitment_loss_weight=0.25
    ).train()
    lfq, code = made((4, 2, 3), temperature=temperature, diversity=1.3), codes(8, 4, 2, 3).requires_grad_()
    expected = theirs(code, inv_temperature=1 / temperature)
    torch.testing.assert_close(lfq(code).mean, expected.quantized)
    highest_first = torch.tensor([8, 4, 2, 1])
    bits = lfq(code).indices.unsqueeze(-1) // torch.tensor([1, 2, 4, 8]) % 2
    assert torch.equal((bits * highest_first).sum(-1), expected.indices.long())
    found = terms(lfq, code)
    of_a_word = {name: term.mean() / 6 for name, term in found.items()}  # theirs are means over words, of 4 numbers
    loss = of_a_word["entropy"] + of_a_word["diversity"] + of_a_word["commitment"] / 4
    torch.testing.assert_close(loss, expected.entropy_aux_loss, atol=1e-4, rtol=1e-4)
    gradients = [torch.autograd.grad(one, code, retain_graph=True)[0] for one in (loss, expected.entropy_aux_loss)]
    assert gradients[0].isfinite().all()
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-3)


def test_half_precision_layers_lose_no_sign() -> None:
    lfq, code = made((4, 3, 5)), codes(16, 4, 3, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lfq(code).indices, lfq(code.float()).indices)
        assert all(term.dtype == torch.float32 for term in terms(lfq, code).values())


def test_words_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"posterior\.groups=3 and latent_dim=4: groups should divide it"):
        LFQ(**USUAL | {"groups": 3}).group((4, 2, 2))
    with pytest.raises(ConfigError, match=r"give codebook entries of 64 bits.*use posterior\.groups=4"):
        LFQ(**USUAL).group((64,))
