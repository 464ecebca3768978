"""The record of a sweep may come from a stranger: it chooses options and sets plain values, nothing else."""

from pathlib import Path

import pytest

from vaelab.config.location import config_dir
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.errors import CheckpointError, ConfigError

FOLDERS = [config_dir()]


def taken(words: list[str], *typed: str, folders: list[Path] = FOLDERS) -> tuple[list[str], list[str]]:
    return recorded_overrides(words, list(typed), Path("sweep.json"), folders)


def test_options_and_plain_values_are_taken_and_what_is_typed_wins() -> None:
    words = ["model=ae", "model/schedule=linear", "latent_dim=3", "encoder.hidden=[8,8]", "tags=['a b']", "seed=null"]
    assert taken(words) == (words, [])
    assert taken(words, "seed=4", "latent_dim=5") == ([*words[:2], *words[3:5]], ["seed=4", "latent_dim=5"])
    assert taken(["data.path=a/b.csv", "paths.log_dir=/tmp", "resume=x"]) == (["data.path=a/b.csv"], [])
    assert taken(["seed=1", "launcher=slurm", "launcher.partition=x", "+launcher._target_=os.system"]) == (
        ["seed=1"],
        [],
    )


@pytest.mark.parametrize(
    "word",
    [
        "trusted=[subprocess]",
        "+callbacks.x={_target_: torch.hub.load, repo_or_dir: x}",
        "callbacks.best={_target_: torch.hub.load}",
        "++latent_dim=3",
        "~callbacks",
        "model._target_=os.system",
        "hydra.run.dir=/tmp/x",
        "hydra/launcher=other",
        "paths.data_dir=/tmp/x",
        "callbacks.best.dirpath=/tmp/x",
        "callbacks.best.filename=../../../pwn_dir/pwned",
        "data.name=../private",
        "logger.wandb.entity=evil",
        "trainer.devices=8",
        "logger.mlflow.tracking_uri=http://host",
        "data.path=${oc.env:HOME}",
        "encoder.hidden=['${seed}']",
        "model=../../other",
        "model=nothing_there",
        "model@other=ae",
        "latent_dim=3,4",
        "logger.x.token=<hidden>",
    ],
)
def test_all_else_has_to_be_typed_again(word: str) -> None:
    key = word.lstrip("+~").partition("=")[0]
    with pytest.raises(CheckpointError, match="type them again") as refused:
        taken(["seed=1", word])
    assert key in str(refused.value)
    assert "seed" not in str(refused.value)
    typed = word.replace("<hidden>", "a").replace("3,4", "5")
    assert taken(["seed=1", word], typed) == (["seed=1"], [typed])


def test_options_of_folders_that_are_named_again_are_taken(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/mine.yaml").touch()
    with pytest.raises(CheckpointError, match="encoder="):
        taken(["encoder=mine"])
    assert taken(["encoder=mine"], folders=[*FOLDERS, tmp_path]) == (["encoder=mine"], [])


def test_each_job_has_its_own_of_several_values_that_are_typed() -> None:
    typed = "+trainer.benchmark=true,false"
    assert taken(["+trainer.benchmark=False"], typed) == ([], ["+trainer.benchmark=False"])
    with pytest.raises(ConfigError, match=r"not among these values"):
        taken(["+trainer.benchmark=3"], typed)
    with pytest.raises(CheckpointError, match="not an override"):
        taken(["model=[ae"])
