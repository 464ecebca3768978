"""Words of lightning-hydra-template: they mean the same here, or one message says what to type."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from vaelab.command_line.evaluation import behind_run, evaluation_words
from vaelab.command_line.same_words import WITHOUT, own_words
from vaelab.config.location import config_dir
from vaelab.errors import ConfigError

REPOSITORY = config_dir().parent
CALLBACKS = sorted(path.stem for path in (config_dir() / "callbacks").glob("*.yaml"))


def composed(*words: str) -> Any:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", list(words)), resolve=False)


@pytest.mark.parametrize(
    ("typed", "own"),
    [
        (["hparams_search=optuna_images", "seed=2"], ["sweep=optuna_images", "seed=2"]),
        (["-m", "hparams_search=optuna"], ["sweep=optuna"]),
        (["seed=2", "--multirun", "+hparams_search=optuna"], ["seed=2", "sweep=optuna"]),
        (["--config-dir", "mine", "hparams_search=my_space"], ["--config-dir", "mine", "sweep=my_space"]),
        (["-m", "logger=null", "seed=1,2"], ["-m", "logger=none", "seed=1,2"]),
        (["callbacks=null"], ["callbacks=none"]),
        (["-m", "adversary=null,patch"], ["-m", "adversary=none,patch"]),
    ],
)
def test_a_word_of_the_template_is_a_word_of_vaelab(
    typed: list[str], own: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert own_words(typed) == own
    said = capsys.readouterr().err
    assert said.startswith("note: ")
    assert said.count("\n") == 1
    assert ("-m is not needed" in said) == (len(own) < len(typed))


def test_null_means_none_in_every_group_that_has_such_an_option() -> None:
    assert set(WITHOUT) == {path.parent.name for path in config_dir().glob("*/none.yaml")}


def test_words_of_vaelab_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["-m", "sweep=optuna", "notes='hparams_search=x'", "model.prior=null"]
    assert own_words(typed) is typed
    assert capsys.readouterr().err == ""


@pytest.mark.long
def test_a_search_by_the_name_of_the_template_is_the_same_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    small = ["logger=none", "encoder=mlp_small", "trainer.max_epochs=1", "trainer.limit_train_batches=2",
             "sweep.trials=1", "sweep.space.latent_dim=[2]", f"paths.log_dir={tmp_path}"]  # fmt: skip
    line = [sys.executable, str(REPOSITORY / "train.py"), "-m", "hparams_search=optuna", *small]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "note: hparams_search=optuna is sweep=optuna here, and -m is not needed" in done.stderr
    (record,) = tmp_path.rglob("search.json")
    assert "sweep=optuna" in record.read_text()
    assert "hparams_search" not in record.read_text()


def test_a_mistyped_search_names_the_nearest_one(
    in_process: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(SystemExit) as stopped:
        in_process("-m", "hparams_search=optuna_imagess")
    assert stopped.value.code == 2
    assert "sweep=optuna_imagess: there is no such option; did you mean optuna_images?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("sweep=optuna hydra.sweeper.n_trials=3", "type sweep.trials=<number>"),
        ("hydra.sweeper.n_trials=3", "type sweep.trials=<number>"),
        ("hydra/sweeper=optuna", "sweep=optuna searches"),
        ("optimized_metric=val/loss", "sweep.metric="),
        ("task_name=mine", "paths.log_dir=<folder>"),
        ("model.optimizer.lr=1e-3", "optimizer=adam optimizer.lr=1e-3"),
        ("data.num_workers=4", "storage=auto"),
        ("paths.root_dir=.", "paths.data_dir"),
        ("logger=csv", "metrics.csv is always written"),
        ("logger=[csv,wandb]", "metrics.csv is always written"),
        ("logger=neptune", "docs/tracking.md"),
        ("callbacks=rich_progress_bar", "callbacks=rich"),
        ("callbacks.early_stopping.patience=3", "callbacks=early_stopping adds it"),
        (
            "callbacks=early_stopping callbacks.early_stopping.patiens=3",
            "did you mean callbacks.early_stopping.patience",
        ),
        ("+trainer.precision=16", "leave out the plus sign: trainer.precision=16"),
        ("extras.enforce_tag=true", "did you mean extras.enforce_tags?"),
        ("extras.enforce_tags=maybe", "should be a valid boolean"),
        ("extras=null", "print_config, enforce_tags and ignore_warnings"),
        ("extras.enforce_tags=true", "type tags=[<word>,<word>]"),
        ("extras.enforce_tags=true -m seed=1,2", "type tags=[<word>,<word>]"),
        ("extras.enforce_tags=true sweep=optuna", "type tags=[<word>,<word>]"),
    ],
)
def test_what_there_is_not_is_one_message(refusal: Callable[..., Any], words: str, remedy: str) -> None:
    if "sweep=" in words:
        pytest.importorskip("optuna")
    refused = refusal(*words.split(" "))
    assert refused.code == 2
    assert remedy in refused.message
    assert refused.left == []


@pytest.mark.long
def test_tags_are_asked_for_once_in_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["extras.enforce_tags=true", "logger=none", "encoder=mlp_small", "trainer.max_epochs=1", "test=false",
             "trainer.limit_train_batches=2", f"paths.log_dir={tmp_path}"]  # fmt: skip
    line = [sys.executable, str(REPOSITORY / "train.py"), *words]
    process = subprocess.Popen(line, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    shown, answered, deadline = "", False, time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the end, as Linux says it
            break
        if not part:
            break
        shown += part.decode(errors="replace")
        if not answered and "separated by commas: " in shown:
            os.write(ours, b"paper, it's final\n")
            answered = True
    assert process.wait(60) == 0, shown
    os.close(ours)
    assert shown.count("separated by commas: ") == 1
    (record,) = tmp_path.rglob("config.yaml")
    assert yaml.safe_load(record.read_text())["tags"] == ["paper", "it's final"]
    words = yaml.safe_load((record.parent / "overrides.yaml").read_text())
    assert composed(*words[:1], words[-1])["tags"] == ["paper", "it's final"]


def test_debugging_and_a_run_with_tags_are_not_asked(refusal: Callable[..., Any]) -> None:
    for words in (["tags=[a]"], ["debug=fdr"]):  # refused for another reason, later
        assert "latent_dim=0" in refusal("extras.enforce_tags=true", "logger=none", "latent_dim=0", *words).message


@pytest.mark.parametrize("pair", permutations([name for name in CALLBACKS if name != "none"], 2), ids="-".join)
def test_callbacks_combine_in_any_order(pair: tuple[str, str]) -> None:
    one, other = (composed(f"callbacks={name}")["callbacks"] for name in pair)
    both = composed(f"callbacks=[{','.join(pair)}]")["callbacks"]
    assert both == one | other == other | one
    assert {"best", "last"} <= both.keys()


def test_many_loggers_are_several_trackers() -> None:
    assert composed("logger=many_loggers")["logger"].keys() == {"wandb", "tensorboard"}
    assert composed("logger=many_loggers") == composed("logger=[wandb,tensorboard]")
    assert composed("logger=[many_loggers,mlflow]")["logger"].keys() == {"wandb", "tensorboard", "mlflow"}


def test_an_evaluation_is_a_command_line_of_train() -> None:
    assert evaluation_words(["logs/a", "task=embedding"]) == ["train=false", "ckpt_path=logs/a", "task=embedding"]
    assert evaluation_words(["ckpt_path=logs/a"]) == ["train=false", "ckpt_path=logs/a"]
    assert evaluation_words(["--config-dir", "mine", "my run"]) == ["--config-dir", "mine", "train=false",
                                                                    "ckpt_path='my run'"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which run?"),
        (["task=embedding"], "which run?"),
        (["a", "b"], "not a and b"),
        (["a", "ckpt_path=b"], "not a and ckpt_path=b"),
        (["a", "train=true"], "never trains"),
        (["a", "resume=b"], "resume=b: vaelab eval does not resume training"),
    ],
)
def test_a_wrong_evaluation_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match="vaelab eval") as refused:
        evaluation_words(words)
    assert message in str(refused.value)


def test_completion_of_an_evaluation_begins_behind_its_run() -> None:
    assert behind_run(" logs/a task=emb") == "task=emb"
    assert behind_run(" ckpt_path=logs/a latent_dim=3 ta") == "ckpt_path=logs/a latent_dim=3 ta"
    assert behind_run(" logs/a ") == ""
    assert behind_run(" log") is None
    assert behind_run("") is None
