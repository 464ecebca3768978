"""Splits, scaling, binarization and corruption of a data set."""

from types import SimpleNamespace

import pytest
import torch

from in_memory import InMemory
from options import stated
from vaelab.core import Batch, DataSpec
from vaelab.corruptions import Corruption, Gaussian, Identity
from vaelab.data.examples import Examples
from vaelab.data.images.digits import Digits
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError, DataError


def digits(
    corruption: Corruption | None = None, seed: int = 0, split_seed: int = 0, binarize: str | None = None, **settings
) -> Digits:
    settings = {"batch_size": 64, "val_fraction": 0.1, "test_fraction": 0.2} | settings
    settings |= {"split_seed": split_seed, "seed": seed, "binarize": binarize}
    data = Digits(**stated("data/digits") | {"corruption": corruption or Identity()} | settings)
    data.setup()
    return data


class Rows(DataModule):
    """Numbered rows, with whatever splits of their own."""

    def __init__(self, count: int, parts: dict[str, range], values: torch.Tensor | None = None, **settings) -> None:
        settings = {"val_fraction": 0.25, "test_fraction": 0.25, "binarize": None} | settings
        super().__init__(corruption=Identity(), batch_size=4, split_seed=0, seed=0, **settings)
        self._count, self._parts, self._values = count, parts, values

    def load(self) -> Examples:
        values = torch.arange(float(self._count)).unsqueeze(1) if self._values is None else self._values
        return Examples(values, torch.full((self._count,), -1), DataSpec("rows", "table", (1,), "real"), self._parts)


ON_CPU = SimpleNamespace(root_device=torch.device("cpu"))


def epoch_of(data: DataModule, epoch: int) -> list[Batch]:
    """The prepared training batches of an epoch."""
    data.trainer = SimpleNamespace(current_epoch=epoch, global_rank=0, world_size=1, strategy=ON_CPU)
    return [data.on_after_batch_transfer(raw, 0) for raw in data.train_dataloader()]


def evaluated(data: DataModule, split: str = "val", field: str = "target") -> torch.Tensor:
    return torch.cat([getattr(data.on_after_batch_transfer(raw, 0), field) for raw in data.eval_loader(split)])


def in_order(epoch: list[Batch], field: str) -> torch.Tensor:
    """Rows of an epoch in an order that does not depend on the shuffle: by their clean pixels."""
    rows = [(tuple(c.flatten().tolist()), r) for b in epoch for c, r in zip(b.clean, getattr(b, field), strict=True)]
    return torch.stack([row for _, row in sorted(rows, key=lambda pair: pair[0])])


def test_digits_are_what_they_say() -> None:
    data = digits()
    assert data.spec == DataSpec("digits", "image", (1, 8, 8), "unit", 17, tuple("0123456789"))
    everything = torch.cat([evaluated(data, split) for split in ("train", "val", "test")])
    assert everything.shape == (1797, 1, 8, 8)
    levels = everything * 16
    assert torch.equal(levels, levels.round())
    assert (everything.min(), everything.max()) == (0, 1)


@pytest.mark.parametrize("split_seed", [0, 1])
def test_splits_are_disjoint_complete_and_of_the_size_asked_for(split_seed: int) -> None:
    split = digits(split_seed=split_seed).split
    together = torch.cat(list(split.values()))
    assert torch.equal(together.sort().values, torch.arange(1797))
    assert {name: len(index) for name, index in split.items()} == {"test": 359, "val": 144, "train": 1294}


def test_splits_depend_on_split_seed_alone() -> None:
    base, other_seed, other_split = digits().split, digits(seed=5).split, digits(split_seed=1).split
    for name in ("train", "val", "test"):
        assert torch.equal(base[name], other_seed[name])
        assert not torch.equal(base[name].sort().values, other_split[name].sort().values)


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train": range(20)}, (11, 4, 5)),
        ({"train": range(16), "test": range(16, 20)}, (12, 4, 4)),
        ({"train": range(15), "val": range(15, 20)}, (11, 5, 4)),
        ({"train": range(14), "val": range(14, 17), "test": range(17, 20)}, (14, 3, 3)),
    ],
)
def test_a_set_keeps_the_splits_it_brings(parts: dict[str, range], sizes: tuple[int, int, int]) -> None:
    data = Rows(20, parts)
    data.setup()
    assert tuple(len(data.split[name]) for name in ("train", "val", "test")) == sizes
    assert torch.equal(torch.cat(list(data.split.values())).sort().values, torch.arange(20))
    for name in ("val", "test"):
        if name in parts:
            assert data.split[name].tolist() == list(parts[name])


def test_too_few_examples_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="rows: 2 examples leave none for the"):
        Rows(2, {"train": range(2)}).setup()


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_a_saved_state_resumes_within_the_epoch(taken: int) -> None:
    interrupted, resumed = digits(), digits()
    whole = epoch_of(interrupted, 2)
    running = iter(interrupted.train_dataloader())
    for _ in range(taken):
        next(running)
    resumed.load_state_dict(interrupted.state_dict())
    rest = epoch_of(resumed, 2)
    assert [batch.x.tolist() for batch in rest] == [batch.x.tolist() for batch in whole[taken:]]
    assert [len(epoch_of(resumed, epoch)) for epoch in (3, 4)] == [len(whole)] * 2


def test_data_before_setup_is_refused() -> None:
    with pytest.raises(RuntimeError, match="setup"):
        _ = Rows(20, {"train": range(20)}).spec


def test_without_corruption_or_binarization_the_model_sees_what_it_explains() -> None:
    for batch in epoch_of(digits(), 0):
        assert torch.equal(batch.x, batch.target)
        assert torch.equal(batch.clean, batch.target)
        assert batch.weight == 1.0


def test_preparing_a_prepared_batch_changes_nothing() -> None:
    data = digits(Gaussian(0.3))
    batch = epoch_of(data, 0)[0]
    assert data.on_after_batch_transfer(batch, 0) is batch


def test_floats_are_kept_as_they_are() -> None:
    values = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    data = Rows(20, {"train": range(20)}, values)
    data.setup()
    assert torch.equal(evaluated(data, "test"), values[data.split["test"]])


# Binarization


@pytest.mark.parametrize("binarize", ["static", "dynamic", "threshold"])
def test_binarized_data_is_binary_and_says_so(binarize: str) -> None:
    data = digits(binarize=binarize)
    assert (data.spec.support, data.spec.levels, data.spec.shape) == ("binary", 2, (1, 8, 8))
    for target in (evaluated(data), torch.cat([batch.target for batch in epoch_of(data, 0)])):
        assert set(target.unique().tolist()) == {0.0, 1.0}
    for batch in epoch_of(data, 0):
        assert torch.equal(batch.x, batch.target)


def test_static_binarization_is_drawn_once() -> None:
    one, two = digits(binarize="static"), digits(binarize="static", seed=3)
    assert torch.equal(in_order(epoch_of(one, 0), "target"), in_order(epoch_of(one, 1), "target"))
    for split in ("train", "val", "test"):
        assert torch.equal(evaluated(one, split), evaluated(two, split))  # runs of all seeds see one data set
    assert not torch.equal(evaluated(one), evaluated(digits(binarize="static", split_seed=1)))


def test_dynamic_binarization_is_drawn_anew_in_training_and_fixed_in_evaluation() -> None:
    data = digits(binarize="dynamic")
    first, again, second = (in_order(epoch_of(data, epoch), "target") for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(evaluated(data), evaluated(data))
    assert torch.equal(evaluated(data), evaluated(digits(binarize="dynamic", seed=4, batch_size=500)))


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_drawn_pixels_are_one_with_their_grey_value_as_probability(binarize: str) -> None:
    grey = evaluated(digits(), "train")
    drawn = evaluated(digits(binarize=binarize), "train")
    for level in range(17):
        chosen = drawn[(grey * 16).round() == level]
        error = 4.5 * (level / 16 * (1 - level / 16) / len(chosen)) ** 0.5
        assert abs(chosen.mean().item() - level / 16) <= error


def test_threshold_is_at_one_half() -> None:
    data = digits(binarize="threshold")
    assert torch.equal(evaluated(data), (evaluated(digits()) > 0.5).float())


@pytest.mark.parametrize("binarize", ["dynamic", "threshold"])
def test_metrics_compare_with_the_grey_values(binarize: str) -> None:
    assert torch.equal(evaluated(digits(binarize=binarize), field="clean"), evaluated(digits()))


def test_binarizing_real_values_is_refused() -> None:
    with pytest.raises(ConfigError, match="rows is not in"):
        Rows(20, {"train": range(20)}, binarize="dynamic").setup()


# Corruption


def test_corruption_changes_the_input_only() -> None:
    data = digits(Gaussian(0.3))
    for batch in epoch_of(data, 0):
        assert torch.equal(batch.target, batch.clean)
        assert not torch.equal(batch.x, batch.clean)
        assert torch.equal((batch.clean * 16).round() / 16, batch.clean)


def test_corruption_is_fresh_in_training_and_tied_to_the_example_in_evaluation() -> None:
    data = digits(Gaussian(0.3))
    first, again, second = (in_order(epoch_of(data, epoch), "x") for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(evaluated(data, field="x"), evaluated(data, field="x"))
    assert torch.equal(evaluated(data, field="x"), evaluated(digits(Gaussian(0.3), seed=9, batch_size=1000), field="x"))


def test_the_splits_have_noise_of_their_own() -> None:
    data = digits(Gaussian(0.3))
    noise = {split: evaluated(data, split, "x") - evaluated(data, split, "clean") for split in ("val", "test")}
    assert not torch.equal(noise["val"][0], noise["test"][0])


def test_denoising_binary_data_corrupts_grey_and_explains_binary_values() -> None:
    batch = epoch_of(digits(Gaussian(0.1), binarize="dynamic"), 0)[0]
    assert set(batch.target.unique().tolist()) == {0.0, 1.0}
    assert (batch.x - batch.clean).abs().mean() < 0.1


def test_seed_zero_is_a_seed() -> None:
    zero, again, one = (in_order(epoch_of(digits(Gaussian(0.3), seed=seed), 0), "x") for seed in (0, 0, 1))
    assert torch.equal(zero, again)
    assert not torch.equal(zero, one)


def labelled(label: list[int], classes: tuple[str, ...] = (), split_seed: int = 0, **settings) -> DataModule:
    spec = DataSpec("rows", "table", (1,), "real", classes=classes)
    values = torch.arange(float(len(label))).unsqueeze(1)
    return InMemory(values, spec, torch.tensor(label), split_seed=split_seed, **settings)


def test_examples_to_show_are_of_all_classes_in_turn() -> None:
    """Also of a file that is sorted by class, where the first ones are of one class."""
    data = labelled([0] * 300 + [1] * 300 + [2] * 5 + [-1] * 300)
    shown = data.drawn("test", 8)
    assert data.labels("test")[shown].tolist() == [-1, 0, 1, 2, -1, 0, 1, 2]
    assert len(shown.unique()) == 8
    more = data.labels("test")[data.drawn("test", 60)]
    assert (more == 2).sum() == (data.labels("test") == 2).sum()  # all there are, and no gap for those there are not
    assert {int((more == label).sum()) for label in (-1, 0, 1)} <= {18, 19, 20}
    assert sorted(data.drawn("test", 10_000).tolist()) == list(range(len(data.split["test"])))


def test_examples_to_show_are_the_same_in_every_run_of_the_same_data() -> None:
    first, other = labelled([0] * 400, seed=1), labelled([0] * 400, seed=2)
    assert torch.equal(first.drawn("test", 8), other.drawn("test", 8))
    assert not torch.equal(first.drawn("test", 8), torch.arange(8))
    assert not torch.equal(first.drawn("test", 8), labelled([0] * 400, split_seed=3).drawn("test", 8))


def test_of_more_classes_than_are_shown_some_are_drawn() -> None:
    data = labelled([number % 100 for number in range(3000)])
    shown = data.labels("test")[data.drawn("test", 8)]
    assert len(shown.unique()) == 8
    assert shown.max() > 20


def test_chosen_examples_are_prepared_as_in_the_whole_pass() -> None:
    data = digits(Gaussian(0.3))
    places = torch.tensor([7, 0, 200])
    (batch,) = data.batches("test", "cpu", 3, places)
    whole = torch.cat([each.x for each in data.batches("test")])
    torch.testing.assert_close(batch.x, whole[places])


class Later(Rows):
    """Rows that a trained model never saw."""

    all_as_test = True


def test_all_examples_of_later_data_are_in_test_in_their_order() -> None:
    data = Later(5, {"val": range(2), "test": range(2, 5)}, val_fraction=0.5, normal=["any"])
    data.setup()
    assert {name: rows.tolist() for name, rows in data.split.items()} == {
        "train": [],
        "val": [],
        "test": [0, 1, 2, 3, 4],
    }
    assert torch.isfinite(data.mean()).all()
    assert not data.is_anomaly("test").any()  # what has no label is not known to be one
    assert data.fingerprint() == data.fingerprint()
    assert len(data.clean("train")) == 0
    assert data.drawn("test", 3).tolist() != [0, 1, 2]


def test_a_single_row_is_enough_to_evaluate_on() -> None:
    data = Later(1, {"train": range(1)})
    data.setup()
    assert len(list(data.batches("test"))) == 1


def test_data_without_a_train_split_are_refused_for_training_alone() -> None:
    with pytest.raises(DataError, match="has no train split, only test"):
        Rows(5, {"test": range(5)}).setup()
