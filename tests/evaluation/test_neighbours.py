"""Distances to the nearest training examples, beside a score of the model."""

import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaelab.core import Column, DataSpec
from vaelab.data.columns import features
from vaelab.evaluation.scores.combined import Combined
from vaelab.evaluation.scores.neighbours import NEAREST, Neighbours
from vaelab.evaluation.scores.scores import Reconstruction
from vaelab.evaluation.scores.standard import Standard, thinned
from vaelab.likelihoods import Gaussian
from vaelab.models import AE

ROWS = DataSpec("rows", "table", (3,), "real")


class Plain(nn.Module):
    """Leaves what it gets as it is."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """`(B, ...)` to `(B, *shape)`."""
        return x.reshape(len(x), *self.shape)


def identity(spec: DataSpec) -> AE:
    """Its code is the row, and so is its reconstruction."""
    size = spec.size
    return AE(Plain((size,)), Plain((1, *spec.shape)), Gaussian(spec, 1.0), size).eval()


def rows(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_many_batches_are_thinned_evenly_whatever_their_sizes() -> None:
    numbers = torch.arange(1000.0).view(-1, 1)
    for size in (1, 7, 64, 1000):
        kept = thinned(iter(numbers.split(size)), 100).flatten()
        assert 50 < len(kept) <= 100
        assert set(kept.diff().tolist()) == {16.0}
        assert kept[0] == 0
    assert torch.equal(thinned(iter(numbers.split(7)), 2000), numbers)


def test_batches_that_are_thinned_do_not_stay_in_memory() -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def batches() -> Iterator[Tensor]:
        for _ in range(30):
            values = np.zeros((64, 2), dtype=np.float32)
            made.append(weakref.ref(values))
            yield torch.from_numpy(values)
            del values
            alive.append(sum(reference() is not None for reference in made))

    thinned(batches(), 100)
    assert max(alive) <= 2


def test_tokens_that_were_cut_to_the_longest_of_their_batch_are_padded() -> None:
    first, second = torch.tensor([[[1, 2]], [[3, -1]]]), torch.tensor([[[4, 5, 6]]])
    kept = thinned(iter([first, second]), 10)
    assert kept.tolist() == [[[1, 2, -1]], [[3, -1, -1]], [[4, 5, 6]]]


def test_distances_of_rows_that_come_many_times_are_no_rounding_errors() -> None:
    distinct = rows(4)
    train = distinct[torch.arange(200) % 4]
    model, score = identity(ROWS), Neighbours(3, 0, ROWS)
    score.fit(model, iter(train.split(16)))
    assert score.standard.median.tolist() == [0.0, 0.0]
    assert score.standard.spread.tolist() == [1.0, 1.0]
    assert score(model, train).abs().max() == 0
    assert score(model, train[:1] * (1 + 1e-7)).item() == 0  # as another size of the batch may round it
    assert score(model, train[:1] + 0.01).item() > 0.001


def test_neighbours_is_the_mean_distance_to_the_nearest_by_the_usual_distance() -> None:
    model, train, x = identity(ROWS), rows(40), rows(9, seed=1)
    score = Neighbours(3, 0, ROWS)
    score.fit(model, iter(train.split(16)))

    def nearest(of: Tensor, own: bool) -> Tensor:
        distances = torch.cdist(of.double(), train.double()).sort(1).values[:, own : NEAREST + own]
        return distances.mean(1)

    usual = nearest(train, own=True)
    low, median, high = usual.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(score(model, x).double(), (nearest(x, own=False) - median) / (high - low))


def test_a_missing_value_adds_no_distance_and_a_category_is_a_value_of_its_own() -> None:
    columns = (Column("a", ()), Column("b", ()), Column("kind", ("x", "y", "z")))
    spec = DataSpec("rows", "table", (3,), "mixed", columns=columns, has_missing=True)
    train = torch.cat([rows(30)[:, :2], torch.arange(30.0).view(-1, 1) % 3], 1)
    model: Any = SimpleNamespace(
        latent_dim=3, device="cpu", likelihood=SimpleNamespace(spec=spec), encode=Tensor.nan_to_num, decode=Tensor.clone
    )
    score = Neighbours(3, 0, spec)
    score.fit(model, iter([train]))
    x = train[:4].clone()
    x[:, 1] = torch.nan
    found = score._distances(model, x)[:, 1]
    others = features(train, columns)[:, [0, 2, 3, 4]]
    by_hand = torch.cdist(others[:4].double(), others.double()).sort(1).values[:, :NEAREST].mean(1)
    torch.testing.assert_close(found, by_hand)


def test_examples_that_are_all_the_same_have_a_spread_to_divide_by() -> None:
    standard = Standard(2)
    standard.fit(torch.tensor([[1.0, 0.0]] * 7 + [[1.0, 4.0]]))
    assert standard.spread.tolist() == [1.0, pytest.approx(torch.tensor([0.0] * 7 + [4.0]).std(0, correction=0).item())]
    assert standard(torch.tensor([[1.0, 0.0]])).tolist() == [[0.0, 0.0]]


def test_combined_finds_what_either_part_alone_would_miss() -> None:
    """Train lies on a ring: its middle is reconstructed but far from all; what lies off the plane is near them."""
    angle = torch.linspace(0, 6.28, 200)
    train = torch.stack([angle.cos(), angle.sin(), torch.zeros(200)], 1) + 0.01 * rows(200)
    model = identity(ROWS)
    keep = torch.tensor([1.0, 1.0, 0.0])
    model.decode = lambda z: z * keep  # type: ignore[method-assign]
    first, neighbours = Reconstruction(), Neighbours(3, 0, ROWS)
    combined = Combined({"reconstruction": first, "neighbours": neighbours})
    for score in (neighbours, combined):
        score.fit(model, iter(train.split(32)))
    middle, above, usual = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.3], [1.0, 0.0, 0.0]])[:, None]
    assert first(model, middle) <= first(model, train).max()
    for odd in (middle, above):
        assert combined(model, odd) > combined(model, train).max()
    assert combined(model, usual) < combined(model, train).max()
    assert torch.equal(
        combined(model, above),
        combined.together({"reconstruction": first(model, above), "neighbours": neighbours(model, above)}),
    )


def test_no_examples_have_no_scores() -> None:
    model, score = identity(ROWS), Neighbours(3, 0, ROWS)
    score.fit(model, iter([rows(20)]))
    assert score(model, rows(0)).shape == (0,)


def test_combined_keeps_the_scale_that_neighbours_have_of_other_examples() -> None:
    """A training example is at no distance from itself: a scale of distances to all examples would be too small."""
    model, train = identity(ROWS), rows(60)
    neighbours, first = Neighbours(3, 0, ROWS), Reconstruction()
    combined = Combined({"reconstruction": first, "neighbours": neighbours})
    for score in (neighbours, combined):
        score.fit(model, iter([train]))
    zero, x = torch.zeros(5), rows(5, seed=2)
    assert torch.equal(
        combined(model, x),
        (combined.together({"reconstruction": first(model, x), "neighbours": zero}) + neighbours(model, x) / 2),
    )
