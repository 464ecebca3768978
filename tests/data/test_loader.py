"""Loaders hand out each example once, resume exactly, and weigh uneven shares exactly."""

from itertools import pairwise

import pytest
import torch

from vaelab.data.loader import EvalLoader, TrainLoader
from vaelab.data.storage import Store

CPU = torch.device("cpu")
COUNT = 23
VALUES = torch.arange(100.0, 100 + 2 * COUNT).unsqueeze(1)  # more rows than the split has
INDEX = torch.arange(0, 2 * COUNT, 2)


def train_loader(batch_size: int = 6, seed: int = 0, epoch: int = 0, rank: int = 0, world_size: int = 1) -> TrainLoader:
    return TrainLoader(Store(VALUES, VALUES[:, 0].long()), INDEX, batch_size, seed, lambda: epoch, rank, world_size)


def batches(loader: TrainLoader | EvalLoader) -> list[list[float]]:
    return [batch.values[:, 0].tolist() for batch in loader]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("batch_size", [1, 4, 6, 23, 50])
def test_an_epoch_visits_each_example_once_over_all_ranks(world_size: int, batch_size: int) -> None:
    loaders = [train_loader(batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    shares = [[batch.values[:, 0].tolist() for batch in loader if batch.weight] for loader in loaders]
    seen = [value for share in shares for batch in share for value in batch]
    assert sorted(seen) == VALUES[INDEX, 0].tolist()


@pytest.mark.parametrize("world_size", [2, 3, 9])
def test_ranks_hold_the_rows_of_the_same_batches(world_size: int) -> None:
    alone = list(train_loader())
    shares = list(zip(*(train_loader(rank=rank, world_size=world_size) for rank in range(world_size)), strict=True))
    assert len(alone) == len(shares) == len(train_loader()) == 4
    for whole, ranks in zip(alone, shares, strict=True):
        own = [rank for rank in ranks if rank.weight]
        assert torch.equal(torch.cat([rank.values for rank in own]), whole.values)
        assert torch.equal(torch.cat([rank.label for rank in own]), whole.label)
        noise = torch.cat([rank.noise.normal("posterior", (3,), CPU) for rank in own])
        assert torch.equal(noise, whole.noise.normal("posterior", (3,), CPU))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 8, 40])
@pytest.mark.parametrize("batch_size", [6, 10, 50])
def test_weights_make_the_mean_over_ranks_exact(world_size: int, batch_size: int) -> None:
    """DDP averages over ranks with equal weights; the last batch is short and ranks may have no row of it."""
    ranks = [list(train_loader(batch_size, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for number, whole in enumerate(train_loader(batch_size)):
        own = [batches[number] for batches in ranks]
        assert all(len(batch.values) > 0 for batch in own)  # an empty mean would be no number
        mean = sum(batch.values.double().mean() * batch.weight for batch in own) / world_size
        torch.testing.assert_close(mean, whole.values.double().mean(), rtol=1e-12, atol=0)


def test_weight_is_one_where_shares_are_even() -> None:
    for world_size in (1, 2, 3):
        full = list(train_loader(6, world_size=world_size))[:3]
        assert [batch.weight for batch in full] == [1.0, 1.0, 1.0]


def test_epochs_and_seeds_have_orders_of_their_own_that_repeat() -> None:
    keys = [(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    orders = [batches(train_loader(seed=seed, epoch=epoch)) for seed, epoch in keys]
    assert len({str(order) for order in orders}) == len(keys)
    assert orders == [batches(train_loader(seed=seed, epoch=epoch)) for seed, epoch in keys]
    flat = [value for batch in orders[0] for value in batch]
    assert flat != sorted(flat)


@pytest.mark.parametrize("taken", range(5))
def test_a_saved_state_resumes_with_exactly_the_remaining_batches(taken: int) -> None:
    interrupted, epoch = train_loader(epoch=7), iter(train_loader(epoch=7))
    whole = list(epoch)
    running = iter(interrupted)
    for _ in range(taken):
        next(running)
    resumed = train_loader(epoch=7)
    resumed.load_state_dict(interrupted.state_dict())
    rest = list(resumed)
    expected = whole[taken:] if taken < len(whole) else whole  # a finished epoch is begun anew
    assert [b.values.tolist() for b in rest] == [b.values.tolist() for b in expected]
    for batch, wanted in zip(rest, expected, strict=True):
        assert torch.equal(batch.noise.normal("posterior", (2,), CPU), wanted.noise.normal("posterior", (2,), CPU))


def test_the_epoch_after_a_resumed_one_is_whole() -> None:
    now = [3]
    loader = TrainLoader(Store(VALUES, VALUES[:, 0].long()), INDEX, 6, 0, lambda: now[0])
    loader.load_state_dict({"epoch": 3, "batches": 2})
    assert len(list(loader)) == 2
    now[0] = 4
    assert batches(loader) == batches(train_loader(epoch=4))


def test_the_next_epoch_is_whole_where_the_last_was_cut_short() -> None:
    now = [0]
    loader = TrainLoader(Store(VALUES, VALUES[:, 0].long()), INDEX, 6, 0, lambda: now[0])
    next(iter(loader))
    now[0] = 1
    assert batches(loader) == batches(train_loader(epoch=1))


@pytest.mark.parametrize("world_size", [1, 2, 5, 30])
@pytest.mark.parametrize("batch_size", [4, 100])
def test_evaluation_visits_each_example_once_in_order(world_size: int, batch_size: int) -> None:
    loaders = [
        EvalLoader(Store(VALUES, VALUES[:, 0].long()), INDEX, batch_size, 0, r, world_size) for r in range(world_size)
    ]
    seen = [value for loader in loaders for batch in batches(loader) for value in batch]
    assert seen == VALUES[INDEX, 0].tolist()
    assert all(len(loader) == len(list(loader)) for loader in loaders)
    assert all(batch.weight == 1.0 for loader in loaders for batch in loader)


def test_evaluation_noise_depends_neither_on_batches_nor_on_ranks() -> None:
    def noise(batch_size: int, world_size: int = 1) -> torch.Tensor:
        loaders = [
            EvalLoader(Store(VALUES, VALUES[:, 0].long()), INDEX, batch_size, 0, r, world_size)
            for r in range(world_size)
        ]
        return torch.cat([batch.noise.normal("posterior", (4,), CPU) for loader in loaders for batch in loader])

    draws = [noise(100), noise(4), noise(1), noise(5, 3)]
    assert all(torch.equal(a, b) for a, b in pairwise(draws))


@pytest.mark.parametrize("seen", [0, 1, 3, 4])
def test_an_evaluation_goes_on_where_it_was(seen: int) -> None:
    loader, again = (EvalLoader(Store(VALUES, VALUES[:, 0].long()), INDEX, 6, 0) for _ in range(2))
    whole = batches(loader)
    assert len(whole) == 4
    coming = iter(loader)
    for _ in range(seen):
        next(coming)
    state = loader.state_dict() if seen else again.state_dict()
    again.load_state_dict(state)
    assert batches(again) == whole[seen % 4 :]
    assert batches(again) == whole  # the next pass is whole
