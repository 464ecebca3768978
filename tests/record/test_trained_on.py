"""No example of a train split is ever held out, as far as can be told."""

from dataclasses import replace
from typing import Any

import pytest

from vaelab.errors import CheckpointError, ConfigError, DataError
from vaelab.record.trained_on import TrainedOn, Use

NODE: dict[str, Any] = {
    "_target_": "vaelab.data.tables.table.Table", "path": "rows.csv", "name": None, "data_dir": "data",
    "split_seed": 0, "val_fraction": 0.1, "test_fraction": 0.2, "normal": None, "scaling": "standard",
    "batch_size": 3, "seed": 1,
}  # fmt: skip
USES: tuple[Use, ...] = ("training", "resume", "evaluation")


def trained(content: str = "c", split: str = "s", examples: int = 60, **changes: Any) -> TrainedOn:
    known = TrainedOn.from_settings(NODE | changes)
    return replace(known, content=content, splits={"train": split, "test": split}, examples=examples)


def test_the_record_comes_back() -> None:
    record = replace(trained(), before=(trained("d"), trained("e")))
    assert TrainedOn.from_json(record.to_json()) == record


@pytest.mark.parametrize("broken", [None, 3, {}, {"before": 3}, {"source": 1}, {"splits": []}])
def test_a_broken_record_is_one_message(broken: Any) -> None:
    plain = trained().to_json() | broken if isinstance(broken, dict) and broken else broken
    with pytest.raises(CheckpointError):
        TrainedOn.from_json(plain)


def test_it_names_no_folder_or_file() -> None:
    assert "rows.csv" not in str(trained().to_json())


@pytest.mark.parametrize("use", USES)
def test_the_same_data_and_split_are_allowed(use: Use) -> None:
    assert trained().allows(trained(), use) is None
    assert trained().allows(trained(batch_size=7, seed=8), use) is None
    assert trained().allows(trained(path="copy.csv", data_dir="elsewhere"), use) is None


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("elsewhere", [{}, {"path": "copy.csv"}])
def test_another_split_of_the_same_data_is_not(use: Use, elsewhere: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"data\.split_seed=5: .*; type data\.split_seed=0"):
        trained().allows(trained(split="t", split_seed=5, **elsewhere), use)


@pytest.mark.parametrize("use", ["training", "evaluation"])
def test_nor_what_earlier_weights_were_trained_on(use: Use) -> None:
    tuned = replace(trained("d", path="other.csv"), before=(trained(),))
    assert tuned.allows(trained("d", path="other.csv"), use) is None
    assert tuned.allows(trained("e", path="third.csv"), use) is None
    assert tuned.allows(trained(), use) is None
    with pytest.raises(ConfigError, match=r"data\.split_seed=5"):
        tuned.allows(trained(split="t", split_seed=5), use)


def test_other_data_are_allowed_but_not_to_go_on() -> None:
    for changes in ({"path": "other.csv"}, {"data_dir": "elsewhere"}, {"_target_": "vaelab.data.images.Digits"}):
        assert trained().allows(trained("d", "t", 90, **changes), "evaluation") is None
        assert trained().allows(trained("d", "t", 90, **changes), "training") is None
        with pytest.raises(DataError, match="restore the old data"):
            trained().allows(trained("d", "t", 90, **changes), "resume")


def test_data_that_changed_in_their_place_are_refused() -> None:
    with pytest.raises(DataError, match=r"60 examples then, 70 now.*data\.path="):
        trained().allows(trained("d", "t", 70), "evaluation")
    with pytest.raises(DataError, match=r"data\.path="):
        trained().allows(trained("d"), "evaluation")
    with pytest.raises(ConfigError, match=r"type data\.split_seed=0"):
        trained().allows(trained("d", "t", split_seed=5), "evaluation")
    assert "used for training" in str(trained().allows(trained("d", "t", 70), "training"))


def test_the_same_examples_may_be_prepared_in_another_way() -> None:
    assert trained().allows(trained("d", scaling="robust"), "evaluation") is None


def test_of_an_older_run_the_settings_are_known() -> None:
    older = TrainedOn.from_settings(NODE)
    for use in ("resume", "evaluation"):
        assert older.allows(trained(), use) is None  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"data\.split_seed=0"):
            older.allows(trained(split_seed=5), use)  # type: ignore[arg-type]
    assert older.allows(trained(path="other.csv"), "evaluation") is None
    with pytest.raises(DataError):
        older.allows(trained(path="other.csv"), "resume")
