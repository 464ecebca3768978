"""Sparse codes: which numbers stay, how dead ones come back, and that a dictionary is found."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec
from vaelab.core.spec import Column
from vaelab.errors import ConfigError
from vaelab.likelihoods import Gaussian
from vaelab.models import Start, TopKAE
from vaelab.models.topk_ae import TopK, largest


def made(size: int, codes: int, active: int, **settings: Any) -> TopKAE:
    torch.manual_seed(0)
    likelihood = Gaussian(DataSpec("rows", "table", (size,), "real"), 0.5**0.5)
    chosen = {"of_batch": False, "dead_after": 1_000, "revived": 16, "revive": 1 / 32} | settings
    encoder, decoder = MLPEncoder((size,), codes, [], "relu"), MLPDecoder(codes, (1, size), [], "relu")
    return TopKAE(active, encoder=encoder, decoder=decoder, likelihood=likelihood, latent=codes, **chosen)


def test_the_largest_numbers_stay_as_they_are() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.5, 0.0, 0.0, 0.0]])
    assert torch.equal(largest(values, 2), torch.tensor([[3.0, 0.0, 2.0, 0.0], [0.5, 0.0, 0.0, 0.0]]))


def test_a_code_has_so_many_numbers_and_a_batch_so_many_in_the_mean() -> None:
    code = torch.randn(200, 30, generator=torch.Generator().manual_seed(0))
    one = TopK(4, False, 30)(code).mean
    assert ((one > 0).sum(1) == 4).all()
    assert (one >= 0).all()
    of_batch = TopK(4, True, 30).train()
    counts = (of_batch(code).mean > 0).sum(1)
    assert int(counts.sum()) == 800
    assert len(counts.unique()) > 3
    of_batch.update(of_batch.statistics(of_batch(code)))  # one batch is enough for a first threshold
    evaluated = of_batch.eval()(code).mean  # by the threshold that was learned, without the batch
    torch.testing.assert_close(evaluated[:1], of_batch(code[:1]).mean)
    assert int((evaluated > 0).sum()) == pytest.approx(800, rel=0.02)


def test_a_number_is_dead_when_it_was_zero_for_long_and_only_then_revived(make_batch: Callable[..., Batch]) -> None:
    model = made(6, 8, 2, dead_after=20).train()
    x = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    batch = make_batch(x)
    for _ in range(3):  # none was zero for long when a run begins
        terms = model.terms(batch)
        assert bool(terms.penalties["revival"].any()) == (int(model.posterior.silent.max()) >= 20)
        model.update(terms.statistics)
    came = (model.infer(x).q.mean > 0).any(0)
    posterior = model.posterior
    assert isinstance(posterior, TopK)
    assert torch.equal(posterior.silent == 0, came)
    weight = model.encoder.net[-1].weight
    (gradient,) = torch.autograd.grad(model.terms(batch).penalties["revival"].sum(), weight)
    assert not gradient[came].any()
    assert gradient[~came].any()
    posterior.silent.zero_()
    assert not model.terms(batch).penalties["revival"].any()


def test_a_perfect_dictionary_is_found(make_batch: Callable[..., Batch]) -> None:
    """Rows are sums of 3 of 64 directions in 32 numbers; most of them are columns of the decoder in the end."""
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.nn.functional.normalize(torch.randn(64, 32, generator=generator), dim=1)

    def rows(count: int) -> Tensor:
        chosen = torch.rand(count, 64, generator=generator).topk(3).indices
        amounts = torch.zeros(count, 64).scatter(1, chosen, 1 + torch.rand(count, 3, generator=generator))
        return amounts @ dictionary

    model = made(32, 96, 3).train()
    model.start(Start(10_000, torch.zeros(32), rows(0)))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(1_500):
        terms = model.terms(make_batch(rows(256)))
        optimizer.zero_grad()
        terms.loss.mean().backward()
        optimizer.step()
        model.update(terms.statistics)
    columns = model.decoder.net[0].weight.detach()
    assert columns.norm(dim=0).allclose(torch.ones(96))
    found = (dictionary @ columns).max(1).values > 0.9
    assert float(found.double().mean()) > 0.9


def test_a_linear_encoder_begins_as_the_transpose_of_the_dictionary_also_where_it_reads_what_is_missing() -> None:
    spec = DataSpec("rows", "table", (6,), "real", columns=tuple(Column(f"c{n}") for n in range(6)))
    parts: dict[str, Any] = {
        "encoder": MLPEncoder((6,), 8, [], "relu", spec), "decoder": MLPDecoder(8, (1, 6), [], "relu"),
        "likelihood": Gaussian(spec, 0.5**0.5), "latent": 8,
    }  # fmt: skip
    model = TopKAE(2, of_batch=False, dead_after=10, revived=2, revive=0.1, **parts)
    model.start(Start(10, torch.zeros(6), torch.zeros(0, 6)))
    weight, columns = model.encoder.net[-1].weight, model.decoder.net[0].weight
    assert torch.equal(weight[:, :6], columns.T)
    assert not weight[:, 6:].any()


def test_more_numbers_than_the_code_has_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.active=9: should be at most latent_dim=8"):
        made(6, 8, 9)


def test_state_keeps_its_precision_in_a_model_of_half_precision(make_batch: Callable[..., Batch]) -> None:
    model = made(6, 8, 2, of_batch=True).train().bfloat16()
    batch = make_batch(torch.randn(10, 6).bfloat16())
    for _ in range(1_000):
        model.posterior.update(model.posterior.statistics(model.infer(batch.x).q))
    assert model.decoder.net[0].weight.dtype == torch.bfloat16
    assert model.posterior.threshold.dtype == torch.float32
    assert int(model.posterior.silent.max()) in (0, 10_000)
