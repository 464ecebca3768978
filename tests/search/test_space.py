"""The space of a search, and which words of a command line are about it."""

from pathlib import Path
from typing import Any

import pytest

from vaelab.errors import ConfigError
from vaelab.search.space import Choices, Range, read_space, with_typed
from vaelab.search.words import search_words, without


def test_a_key_has_choices_or_a_range() -> None:
    space = read_space({
        "model": ["vae", "beta_vae"],
        "encoder.hidden": [[64], [128, 64]],
        "latent_dim": {"low": 2, "high": 64, "log": True},
        "optimizer.lr": {"low": 1e-4, "high": 1, "step": None},
        "data.batch_size": {"low": 32, "high": 128, "step": 32},
    })  # fmt: skip
    assert space["model"] == Choices(("model=vae", "model=beta_vae"))
    assert space["encoder.hidden"].ends("encoder.hidden") == ["encoder.hidden=[64]", "encoder.hidden=[128,64]"]
    assert space["latent_dim"] == Range(2, 64, log=True, step=None, whole=True)
    assert space["optimizer.lr"].ends("optimizer.lr") == ["optimizer.lr=0.0001", "optimizer.lr=1.0"]
    assert space["data.batch_size"].word("data.batch_size", 64) == "data.batch_size=64"


def test_a_text_that_would_be_read_as_something_else_is_quoted() -> None:
    (space,) = read_space({"data.label": ["true", "0", "a b", "plain"]}).values()
    assert space.ends("") == ["data.label='true'", "data.label='0'", "data.label='a b'", "data.label=plain"]


def test_a_typed_key_takes_the_place_of_a_dotted_one_and_null_takes_it_out() -> None:
    node = {"optimizer": {"lr": [0.1, 0.2]}, "optimizer.lr": {"low": 1, "high": 2}, "latent_dim": None}
    assert list(read_space(node)) == ["optimizer.lr"]
    assert isinstance(read_space(node)["optimizer.lr"], Choices)


def test_a_space_is_changed_by_words() -> None:
    space = {"optimizer.lr": {"low": 0.1, "high": 0.5}, "latent_dim": {"low": 2, "high": 64}, "encoder": ["mlp"]}
    words = [
        "sweep.space.optimizer.lr.high=1",
        "sweep.space.latent_dim=[2,4]",
        "~sweep.space.encoder",
        "+sweep.space.model/schedule=[linear,usual]",
        "sweep.space.model.beta={low:0.5,high:2,log:true}",
    ]
    assert read_space(with_typed(space, words)) == read_space({
        "optimizer.lr": {"low": 0.1, "high": 1},
        "latent_dim": [2, 4],
        "model/schedule": ["linear", "usual"],
        "model.beta": {"low": 0.5, "high": 2, "log": True},
    })  # fmt: skip
    for text in ("sweep.space.latent_dim=2,4", "sweep.space.latent_dim"):
        with pytest.raises(ConfigError, match=r"should be a list, sweep\.space\.latent_dim=\["):
            with_typed(space, [text])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"low": 1}, "needs low and high"),
        ({"low": 2, "high": 1}, "low=2 should be less than high=1"),
        ({"low": 0, "high": 1, "log": True}, "greater than 0 with log: true"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "without log: true"),
        ({"low": 1, "high": 2, "lag": True}, "did you mean log?"),
        ({"low": "1", "high": 2}, "should be a number"),
        ({"low": 1.5, "high": 2, "int": True}, "whole numbers"),
        ([], "a list of values"),
        (3, "a list of values"),
        ([1, 1], "has a value twice"),
        ([{"a": 1}], "numbers, texts"),
        (["${oc.env:HOME}"], "numbers, texts"),
    ],
)
def test_what_does_not_fit_is_named(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=r"sweep\.space\.latent_dim") as refused:
        read_space({"latent_dim": entry})
    assert message in str(refused.value)


def test_a_value_that_is_not_in_the_space_becomes_no_word() -> None:
    space = read_space({"model": ["vae"], "latent_dim": {"low": 2, "high": 4}})
    for key, value in (("model", "ae trusted=[os]"), ("latent_dim", 5), ("latent_dim", "2 trusted=[os]")):
        with pytest.raises(ConfigError, match="is not in the space"):
            space[key].word(key, value)


def test_the_words_of_a_search_are_told_from_those_of_its_trials() -> None:
    found = search_words(["--config-dir", "mine", "sweep=optuna", "data=digits", "sweep.trials=3", "sweep.space.a=[1]"])
    assert found is not None
    assert found.flags == ["--config-dir", "mine"]
    assert found.search == ["sweep=optuna", "sweep.trials=3", "sweep.space.a=[1]"]
    assert found.trials == ["data=digits"]
    assert found.folder is None


def test_a_command_line_without_a_search_is_none(tmp_path: Path) -> None:
    for words in (
        ["data=digits"],
        ["sweep=null"],
        ["-m", "seed=1,2"],
        [f"resume={tmp_path}"],
        ["--cfg", "job", "sweep=optuna"],
    ):
        assert search_words(words) is None


def test_the_folder_of_a_search_is_known_by_its_record(tmp_path: Path) -> None:
    (tmp_path / "search.json").touch()
    found = search_words([f"resume='{tmp_path}'", "trainer.max_time=00:01:00:00", "sweep.workers=2"])
    assert found is not None
    assert (found.folder, found.search) == (tmp_path, ["sweep.workers=2"])
    assert found.trials == ["trainer.max_time=00:01:00:00"]


@pytest.mark.parametrize("words", [["-m", "sweep=optuna"], ["sweep=optuna", "--multirun", "seed=1,2"]])
def test_multirun_beside_a_search_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="sweep=optuna with --multirun"):
        search_words(words)


def test_several_values_beside_a_search_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.space\.latent_dim=\[2,4\]"):
        search_words(["sweep=optuna", "latent_dim=2,4"])


def test_words_that_would_give_all_trials_one_folder_are_refused() -> None:
    with pytest.raises(ConfigError, match="its own folder"):
        search_words(["sweep=optuna", "hydra.run.dir=here"])


def test_words_that_set_a_key_or_choose_an_option_are_found() -> None:
    words = ["model/schedule=linear", "latent_dim=2", "+trainer.benchmark=true"]
    assert without(words, ["model/schedule", "latent_dim"]) == ["+trainer.benchmark=true"]
