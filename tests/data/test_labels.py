"""Training on chosen labels only."""

import pytest
import torch

from in_memory import SETTINGS
from vaelab.corruptions import Identity
from vaelab.data.images.digits import Digits
from vaelab.data.labels import label_numbers, renumbered
from vaelab.errors import ConfigError, DataError

ABC = ("cat", "dog", "1")
LABEL = torch.tensor([0, 1, 2])


def digits(normal: list[str | int] | None, split_seed: int = 0) -> Digits:
    data = Digits(corruption=Identity(), normal=normal, **SETTINGS | {"split_seed": split_seed})
    data.setup()
    return data


@pytest.mark.parametrize("normal", [[3], ["3"], [0, "7"]])
def test_train_and_val_hold_normal_labels_only_and_test_all_others(normal: list[str | int]) -> None:
    everything, data = digits(None), digits(normal)
    chosen = torch.tensor([int(n) for n in normal])
    for split in ("train", "val"):
        assert torch.isin(data.labels(split), chosen).all()
        assert not data.is_anomaly(split).any()
        assert len(data.split[split]) > 0
    rows = torch.cat(list(data.split.values()))
    assert torch.equal(rows.sort().values, torch.arange(len(rows)))  # every example is in one split
    assert len(rows) == sum(map(len, everything.split.values()))
    usual = torch.isin(data.labels("test"), chosen)
    total = int(usual.sum()) + len(data.split["train"]) + len(data.split["val"])
    assert int(usual.sum()) == round(0.2 * total)
    assert torch.equal(data.is_anomaly("test"), ~usual)
    seen = torch.cat([batch.label for batch in data.train_dataloader()])
    assert torch.equal(seen.unique(), chosen)
    assert len(seen) == len(data.split["train"])


def test_without_normal_labels_nothing_is_an_anomaly() -> None:
    assert not digits(None).is_anomaly("test").any()


def test_a_name_comes_before_a_number() -> None:
    assert label_numbers(["dog", 0], ABC, LABEL) == [1, 0]
    assert label_numbers([1], ABC, LABEL) == [2]
    assert label_numbers([2], ABC, LABEL) == [2]
    assert label_numbers([1], (), LABEL) == [1]


@pytest.mark.parametrize(
    ("normal", "classes", "label", "message"),
    [
        (["dgo"], ABC, LABEL, "data.normal=dgo: no such label; known here: cat, dog, 1"),
        ([7], ABC, LABEL, "data.normal=7: no such label; known here: cat, dog, 1"),
        ([-1], ABC, LABEL, "data.normal=-1: no such label"),
        ([], ABC, LABEL, "data.normal=\\[\\]: names no label; known here: cat, dog, 1"),
        ([0], (), torch.tensor([-1, -1]), "no labels"),
    ],
)
def test_unknown_labels_are_refused(normal, classes, label, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        label_numbers(normal, classes, label)


def test_labels_without_a_training_example_are_refused() -> None:
    data = Digits(corruption=Identity(), normal=[4], **SETTINGS | {"val_fraction": 0.01})
    data.load = lambda: _without_fours(Digits.load(data))  # type: ignore[method-assign]
    with pytest.raises(DataError, match="leave none for the train split"):
        data.setup()


def _without_fours(examples):
    examples.label[examples.label == 4] = 5
    return examples


@pytest.mark.parametrize(
    ("classes", "trained", "numbers", "named"),
    [
        (("ok",), ("bad", "ok"), [1], ("bad", "ok")),
        (("ok", "bad"), ("bad", "ok"), [1, 0], ("bad", "ok")),
        (("aaa", "ok"), ("bad", "ok"), [2, 1], ("bad", "ok", "aaa")),  # one that comes first in its own file
        (("1.0", "0.0", "2.0"), ("0", "1"), [1, 0, 2], ("0", "1", "2.0")),  # an empty cell makes floats of integers
        (("01", "1"), ("1", "01"), [1, 0], ("1", "01")),  # two classes in training stay two
        (("nan", "x"), ("inf", "x"), [2, 1], ("inf", "x", "nan")),
        ((), ("bad", "ok"), [], ("bad", "ok")),
    ],
)
def test_classes_keep_the_numbers_of_training(
    classes: tuple[str, ...], trained: tuple[str, ...], numbers: list[int], named: tuple[str, ...]
) -> None:
    label = torch.tensor([*range(len(classes)), -1])
    found, known = renumbered(label, classes, trained)
    assert found.tolist() == [*numbers, -1]
    assert known == named


def test_a_number_means_the_class_that_it_meant_in_training() -> None:
    """Also if a class that the model does not know has that number for a name."""
    label, classes = torch.tensor([0, 2]), ("bad", "ok", "0")
    assert label_numbers([0], classes, label, trained=2) == [0]
    assert label_numbers(["0"], classes, label, trained=2) == [2]
    assert label_numbers([0], classes, label) == [2]
