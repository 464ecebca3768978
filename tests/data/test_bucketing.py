"""Batches of sequences hold similar lengths; all else about the order stays as it was."""

import pytest
import torch

from in_memory import InMemory
from vaelab.core import DataSpec
from vaelab.corruptions import Mask
from vaelab.data.loader import TrainLoader
from vaelab.data.storage import Store

COUNT, LONGEST, BATCH = 1003, 40, 10
LENGTHS = torch.randint(1, LONGEST + 1, (COUNT,), generator=torch.Generator().manual_seed(0))
VALUES = torch.where(torch.arange(LONGEST) < LENGTHS.unsqueeze(1), torch.arange(COUNT).unsqueeze(1) % 7, -1)
SPEC = DataSpec("tokens", "tokens", (LONGEST,), "categories", levels=7, has_missing=True)


def loader(seed: int = 0, epoch: int = 0, rank: int = 0, world_size: int = 1, lengths: bool = True) -> TrainLoader:
    rows = torch.arange(COUNT)
    return TrainLoader(
        Store(VALUES, rows), rows, BATCH, seed, lambda: epoch, rank, world_size, lengths=LENGTHS if lengths else None
    )


def rows(loader: TrainLoader) -> list[list[int]]:
    return [batch.label.tolist() for batch in loader]


def test_an_epoch_visits_each_example_once() -> None:
    seen = rows(loader())
    assert sorted(row for batch in seen for row in batch) == list(range(COUNT))
    assert [len(batch) for batch in seen] == [BATCH] * (COUNT // BATCH) + [COUNT % BATCH]


def test_a_batch_holds_similar_lengths() -> None:
    def padding(batches: list[list[int]]) -> float:
        return sum(float(LENGTHS[batch].max() * len(batch) - LENGTHS[batch].sum()) for batch in batches)

    assert padding(rows(loader())) < 0.15 * padding(rows(loader(lengths=False)))


def test_batches_come_in_no_order_of_length() -> None:
    means = torch.tensor([LENGTHS[batch].float().mean() for batch in rows(loader())])
    places = torch.arange(len(means)).float()
    assert torch.corrcoef(torch.stack([means, places]))[0, 1].abs() < 0.3
    assert rows(loader()) != rows(loader(epoch=1))


def test_steps_are_those_of_the_longest_on_any_device() -> None:
    alone = list(loader())
    for world_size in (2, 3):
        shares = list(zip(*(loader(rank=rank, world_size=world_size) for rank in range(world_size)), strict=True))
        for whole, ranks in zip(alone, shares, strict=True):
            assert whole.steps == LENGTHS[whole.label].max()
            assert {rank.steps for rank in ranks} == {whole.steps}
            assert torch.equal(torch.cat([rank.label for rank in ranks if rank.weight]), whole.label)


def test_a_resumed_epoch_goes_on_with_what_it_had_not_seen() -> None:
    whole = rows(loader(epoch=3))
    first = loader(epoch=3)
    begun = iter(first)
    for _ in range(17):
        next(begun)
    second = loader(epoch=3)
    second.load_state_dict(first.state_dict())
    assert rows(second) == whole[17:]


def tokens(corrupted: bool = False, spec: DataSpec = SPEC) -> InMemory:
    return InMemory(VALUES, spec, corruption=Mask(0.3, positions="random") if corrupted else None, batch_size=BATCH)


def test_batches_are_cut_to_their_longest() -> None:
    data = tokens()
    for batches in (data.batches("test", batch_size=16), map(prepared(data), data.train_dataloader())):
        for batch in batches:
            assert (batch.target[:, -1] >= 0).any()
            assert batch.x.shape == batch.target.shape == batch.clean.shape


def prepared(data: InMemory):
    return lambda raw: data.on_after_batch_transfer(raw, 0)


def test_corruption_of_an_example_does_not_depend_on_its_batch() -> None:
    data = tokens(corrupted=True)
    alone = [batch.x[0] for batch in data.batches("test", batch_size=1)]
    together = [row for batch in data.batches("test", batch_size=50) for row in batch.x]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other[: len(one)])


@pytest.mark.parametrize("spec", [
    DataSpec("series", "series", (LONGEST,), "real", has_missing=True),
    DataSpec("tokens", "tokens", (LONGEST,), "categories", levels=7),
])  # fmt: skip
def test_data_without_padding_keep_their_order_and_shape(spec: DataSpec) -> None:
    values = VALUES.clamp(min=0) if spec.support == "categories" else VALUES.float()
    data = InMemory(values, spec, batch_size=BATCH)
    assert all(raw.steps is None and raw.values.shape[1] == LONGEST for raw in data.train_dataloader())
    assert data.clean("train").shape[1] == LONGEST
