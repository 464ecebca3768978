"""Vector quantization: nearest words, the terms of the paper, and codebooks that are learned and stay in use."""

from dataclasses import dataclass
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.latents import VQ, LatentSpec, Uniform

FORMS = [{}, {"depth": 3}, {"groups": 2}, {"groups": 2, "depth": 2}]
SHAPES = [(4,), (4, 3, 5)]
USUAL: dict[str, Any] = {"depth": 1, "groups": 1, "commitment": 0.25, "codebook": "average", "revive": 0.01}


def made(shape: tuple[int, ...] = (4, 3, 5), words: int = 16, **settings: Any) -> VQ:
    torch.manual_seed(0)
    vq = VQ(words, **USUAL | settings)
    vq.bind(vq.group(shape))
    return vq


def codes(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(vq: VQ, code: Tensor) -> Any:
    prior = Uniform()
    prior.bind(vq.group(tuple(code.shape[1:])), None, None)  # type: ignore[arg-type]
    return vq.draw(vq(code), prior.distribution(), None, 1)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_indices_and_words_name_each_other(shape: tuple[int, ...], form: dict[str, int]) -> None:
    vq = made(shape, **form)
    q, group = vq(codes(7, *shape)), vq.group(shape)
    assert q.indices.shape == (7, *(group.indices or ()))
    torch.testing.assert_close(vq.from_indices(q.indices), q.mean)
    assert torch.equal(vq(q.mean).indices, q.indices) or form.get("depth", 1) > 1
    assert LatentSpec((group,)).finest.nats == pytest.approx(group.tokens * log(16))
    assert float(drawn(vq, codes(7, *shape)).rate[0]) == pytest.approx(group.tokens * log(16), rel=1e-5)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_word_is_the_nearest_to_what_is_left_over(form: dict[str, int]) -> None:
    vq, code = made(**form), codes(2, 4, 3, 5)
    q = vq(code)
    groups, depth = form.get("groups", 1), form.get("depth", 1)
    indices = q.indices.reshape(2, groups, depth, 3, 5)
    for b, g, h, w in torch.cartesian_prod(*(torch.arange(n) for n in (2, groups, 3, 5))).tolist():
        rest = code[b].view(groups, -1, 3, 5)[g, :, h, w]
        for level in range(depth):
            distances = (vq.words[g, level] - rest).square().sum(1)
            assert int(indices[b, g, level, h, w]) == int(distances.argmin())
            rest = rest - vq.words[g, level, distances.argmin()]


def test_the_terms_are_those_of_equation_3_and_move_what_it_says() -> None:
    vq, code = made(codebook="gradient", commitment=0.25), codes(2, 4, 3, 5).requires_grad_()
    found = drawn(vq, code)
    distance = (code - vq.from_indices(vq(code).indices)).square().flatten(1).sum(1)
    torch.testing.assert_close(found.penalties["codebook"], distance)
    torch.testing.assert_close(found.penalties["commitment"], 0.25 * distance)
    for term, of_code, of_words in (("commitment", True, False), ("codebook", False, True)):
        gradients = torch.autograd.grad(found.penalties[term].sum(), [code, vq.words], retain_graph=True,
                                        allow_unused=True)  # fmt: skip
        assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == [of_code, of_words]
    straight = torch.autograd.grad(found.z.sum(), [code, vq.words], allow_unused=True)
    assert torch.equal(straight[0], torch.ones_like(code))
    assert straight[1] is None


def test_a_residual_codebook_learns_what_is_left_over() -> None:
    vq, code = made(depth=2, codebook="gradient"), codes(2, 4, 3, 5)
    q = vq(code)
    first = vq.words[0, 0][q.indices[:, 0]].movedim(-1, 1)
    second = first + vq.words[0, 1][q.indices[:, 1]].movedim(-1, 1)
    held = (code - first).square() + (code - second).square()
    torch.testing.assert_close(drawn(vq, code).penalties["commitment"], 0.25 * held.flatten(1).sum(1))
    (gradient,) = torch.autograd.grad(drawn(vq, code).penalties["codebook"].sum(), vq.words)
    by_hand = torch.zeros_like(vq.words)
    for level, rest in ((0, code - first), (1, code - second)):
        for word in range(16):
            near = (q.indices[:, level] == word).unsqueeze(1)
            by_hand[0, level, word] = (-2 * rest * near).movedim(1, -1).flatten(0, -2).sum(0)
    torch.testing.assert_close(gradient, by_hand)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_an_averaged_codebook_comes_to_the_means_of_its_cells(form: dict[str, int]) -> None:
    vq, code = made(revive=0.0, words=4, **form), codes(64, 4, 3, 5)
    before = drawn(vq, code).penalties["commitment"].mean()
    for _ in range(1_500):
        vq.update(vq.statistics(vq(code)))
    assert drawn(vq, code).penalties["commitment"].mean() < before
    q = vq(code)
    indices = vq._unplaced(q.indices)
    for g, level, word in torch.cartesian_prod(*(torch.arange(n) for n in vq.words.shape[:3])).tolist():
        near = q.rests[g, level][indices[g, level] == word]
        if len(near):  # of later codebooks the cells still move a little, since words before them do
            tolerance = 0.02 if level == 0 else 0.15
            torch.testing.assert_close(vq.words[g, level, word], near.mean(0), atol=tolerance, rtol=0.02)


def test_two_halves_of_a_batch_on_two_devices_give_the_codebook_of_one() -> None:
    code = codes(8, 4, 3, 5)
    one, two = made(), made()
    one.update(one.statistics(one(code)))
    parts = [two.statistics(two(half)) for half in code.chunk(2)]
    two.update({name: parts[0][name] + parts[1][name] for name in parts[0]})
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value)


@pytest.mark.parametrize("codebook", ["average", "gradient"])
def test_a_word_that_is_not_used_is_moved_beside_one_that_is_and_stays_there(codebook: Any) -> None:
    vq, code = made(words=8, codebook=codebook, revive=0.2), codes(32, 4, 3, 5)
    vq.words.data[0, 0, 3] = 1_000.0
    for _ in range(400):
        vq.update(vq.statistics(vq(code)))
    assert float(vq.words.data[0, 0, 3].abs().max()) < 10
    assert float(vq.sizes.sum()) == pytest.approx(32 * 15, rel=0.05)  # nothing of the counts is lost
    if codebook == "average":
        assert (vq.sizes > 0.2 * vq.sizes.mean()).all()
        assert vq.diagnostics()["code_usage"] == 1.0
    still = made(words=8, codebook=codebook, revive=0.0)
    still.words.data[0, 0, 3] = 1_000.0
    for _ in range(2_000):
        still.update(still.statistics(still(code)))
    assert float(still.words.data[0, 0, 3].min()) == pytest.approx(1_000, rel=1e-5)  # nor does it fade


def test_a_codebook_begins_at_the_data() -> None:
    centers = 5 * codes(16, 4, seed=3)
    near = centers.repeat(20, 1) + 0.01 * codes(320, 4, seed=4)
    vq = made((4,))
    vq.start(near)
    assert float(torch.cdist(centers, vq.words[0, 0]).min(1).values.max()) < 0.02
    few = made((4,))
    few.start(centers[:3].repeat(10, 1))  # fewer than words
    assert len(few.words[0, 0].unique(dim=0)) == 16
    assert float(torch.cdist(few.words[0, 0], centers[:3]).min(1).values.max()) < 1
    alike = made((4,))
    before = alike.words.clone()
    alike.start(torch.zeros(10, 4))
    assert torch.equal(alike.words, before)


def test_half_precision_layers_change_no_index_of_what_they_give() -> None:
    vq, code = made(words=256), codes(16, 4, 3, 5)
    expected = vq(code.bfloat16().float()).indices
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(vq(code.bfloat16()).indices, expected)


def test_channels_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"posterior\.groups=3 and latent_dim=4"):
        VQ(8, **USUAL | {"groups": 3}).group((4, 2, 2))


@dataclass(frozen=True)
class Oracle:
    """What `vector-quantize-pytorch` makes of the same words."""

    quantized: Tensor
    indices: Tensor
    loss: Tensor


def oracle(words: Tensor, code: Tensor, commitment: float) -> Oracle:
    package = pytest.importorskip("vector_quantize_pytorch")
    depth, count, size = words.shape
    settings = {"dim": size, "codebook_size": count, "commitment_weight": commitment, "rotation_trick": False}
    if depth == 1:
        module = package.VectorQuantize(**settings)
        module._codebook.embed.data.copy_(words)
    else:
        module = package.ResidualVQ(num_quantizers=depth, **settings)
        for layer, book in zip(module.layers, words, strict=True):
            layer._codebook.embed.data.copy_(book.unsqueeze(0))
    module.train()
    quantized, indices, loss = module(code.movedim(1, -1).flatten(1, -2), freeze_codebook=True)
    return Oracle(quantized, indices, loss)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_same_as_vector_quantize_pytorch_on_the_same_words(depth: int) -> None:
    vq, code = made(depth=depth), codes(6, 4, 3, 5)
    found = oracle(vq.words[0], code, 0.25)
    q = vq(code)
    ours = q.mean.movedim(1, -1).flatten(1, -2)
    torch.testing.assert_close(ours, found.quantized)
    indices = q.indices.flatten(1) if depth == 1 else q.indices.movedim(1, -1).flatten(1, 2)
    assert torch.equal(indices, found.indices)
    if depth == 1:  # theirs is a mean over numbers, ours a sum
        mean = drawn(vq, code).penalties["commitment"].sum() / code.numel()
        torch.testing.assert_close(mean, found.loss.squeeze())
