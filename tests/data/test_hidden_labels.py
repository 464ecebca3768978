"""Labels of a few train examples: which ones, who sees them, and what is refused."""

import pytest
import torch
from torch import Tensor

from in_memory import InMemory, digits
from vaelab.core import DataSpec
from vaelab.data.labels import drawn_by_class
from vaelab.data.loader import TrainLoader
from vaelab.errors import ConfigError

SPEC = DataSpec("rows", "table", (2,), "real", classes=("a", "b", "c"))


def counts(label: Tensor) -> list[int]:
    return label[label >= 0].bincount(minlength=10).tolist()


@pytest.mark.parametrize(("labelled", "each"), [(100, {10}), (25, {2, 3}), (10, {1})])
def test_as_many_of_each_class_keep_their_label_and_evaluation_keeps_all(labelled: int, each: set[int]) -> None:
    everything, data = digits(), digits(labelled=labelled)
    assert set(counts(data.labels("train"))) == each
    assert sum(counts(data.labels("train"))) == labelled
    kept = data.labels("train") >= 0
    assert torch.equal(data.labels("train")[kept], everything.labels("train")[kept])
    for split in ("val", "test"):
        assert torch.equal(data.labels(split), everything.labels(split))
    assert torch.equal(torch.cat([batch.label for batch in data.batches("train")]), data.labels("train"))


def test_which_labels_are_kept_depends_on_the_split_seed_alone() -> None:
    one, other_seed, other_split = digits(labelled=20), digits(labelled=20, seed=7), digits(labelled=20, split_seed=1)
    assert torch.equal(one.labels("train"), other_seed.labels("train"))
    kept = [set(data.split["train"][data.labels("train") >= 0].tolist()) for data in (one, other_split)]
    assert kept[0] != kept[1]


def test_a_rare_class_gives_all_it_has_and_the_others_more() -> None:
    label = torch.tensor([0] * 2 + [1] * 50 + [2] * 50 + [-1] * 30)
    chosen = drawn_by_class(label, 12, seed=0)
    assert sorted(counts(label[chosen])[:3]) == [2, 5, 5]
    assert len(chosen.unique()) == 12


def test_every_device_repeats_the_same_examples() -> None:
    data = digits(labelled=20)
    data.labelled_share = 0.1
    whole = [batch.label for batch in data.train_dataloader()]
    rows = data._epoch_rows()
    parts = [TrainLoader(data._store(), rows, 64, data.seed, lambda: 0, rank, 2) for rank in range(2)]
    for batch, *own in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([part.label for part in own]), batch)
    assert sum(int((batch >= 0).any()) for batch in whole) == len(whole)  # no batch is without a label


@pytest.mark.parametrize(
    ("label", "settings", "message"),
    [
        (torch.full((40,), -1), {"labelled": 5}, r"data\.labelled=5: .* have no labels"),
        (
            torch.arange(40) % 3,
            {"labelled": 39},
            r"data\.labelled=39: .* has 29 examples with a label; use a smaller number",
        ),
        (torch.arange(40) % 3, {"labelled": 2}, r"data\.labelled=2: .* 3 classes.*at least 3"),
        (torch.arange(40) % 3, {"labelled": 9, "normal": ["a"]}, r"data\.labelled=9 and data\.normal=\['a'\]"),
    ],
)
def test_labels_that_cannot_be_hidden_are_refused(label: Tensor, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InMemory(torch.randn(40, 2), SPEC, label, **settings)


def test_what_measures_is_the_same_whatever_is_hidden_and_baselines_are_not() -> None:
    everything, data = digits(), digits(labelled=20)
    assert torch.equal(data.labels_for_measuring("train"), everything.labels("train"))
    assert data.fingerprint(for_measuring=True) == everything.fingerprint()
    assert data.fingerprint() != everything.fingerprint()
