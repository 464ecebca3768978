"""What is usual for data under a task stands in front of the command line, and a user's own words win."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from PIL import Image

import vaelab.run
from vaelab.config.command_line import typed_words
from vaelab.config.location import config_dir
from vaelab.config.usual import OF_THE_MODEL, default_task, read_usual, usual_for

IMAGES = ("data=images", "data.path=pictures")
DENOISING = ("task=denoising", *IMAGES)
TABLES = ("task=generation", "data=table", "data.path=people.csv")
Configs = Callable[..., list[tuple[dict[str, Any], list[str]]]]


@pytest.fixture
def configs(in_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Configs:
    """The config and the recorded overrides of each run of a command line, nothing trained."""
    found: list[tuple[dict[str, Any], list[str]]] = []

    def run(config: DictConfig, *_: Any) -> None:
        plain: Any = OmegaConf.to_container(config, resolve=False)
        del plain["paths"]
        found.append((plain, typed_words(HydraConfig.get())))

    def composed(*words: str) -> list[tuple[dict[str, Any], list[str]]]:
        found.clear()
        in_process("logger=none", *words)
        return list(found)

    monkeypatch.setattr(vaelab.run, "run", run)
    return composed


def parts_of(config: dict[str, Any]) -> tuple[str, ...]:
    names = [str(config[group]["_target_"]).rpartition(".")[2] for group in ("encoder", "decoder", "latent")]
    return (*names, "shortcut" if config["shortcut"] else "no shortcut")


GRID = ("ConvEncoder", "ConvDecoder", "Grid", "no shortcut")
VECTOR = ("MLPEncoder", "MLPDecoder", "Vector", "shortcut")


@pytest.mark.parametrize("usual", read_usual(config_dir()), ids=str)
def test_what_is_usual_is_made_of_options_that_there_are(usual: Any) -> None:
    for word in usual.beside_words:
        assert (config_dir() / f"{word.replace('=', '/')}.yaml").is_file()
    aside = OF_THE_MODEL if usual.set_aside_by is None else usual.set_aside_by
    assert {word.partition("=")[0] for word in usual.words} <= {*aside}
    for option in (one for one in usual.set_aside_by or () if "=" in one):
        assert (config_dir() / f"{option.replace('=', '/')}.yaml").is_file()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        compose("train", [*usual.words, *usual.beside_words])


@pytest.mark.parametrize(
    "word",
    ["model=ae", "encoder=mlp", "encoder.hidden=[8]", "decoder=conv", "latent=vector", "latent_dim=8", "prior=null",
     "+shortcut.pace=1", "~shortcut", "experiment=mnist_ladder", "latent_dim=8,16", "latent.downsample=8"],
)  # fmt: skip
def test_a_word_about_the_model_sets_the_usual_ones_aside(word: str) -> None:
    assert usual_for(DENOISING) is not None
    assert usual_for([*DENOISING, word]) is None
    assert usual_for([word, *DENOISING]) is None


@pytest.mark.parametrize(
    "word",
    ["seed=3", "data.size=32", "corruption=gaussian", "optimizer.lr=0.1", "corruption.sigma=0.2", "data.path=a,b"],
)
def test_a_word_about_anything_else_does_not(word: str) -> None:
    assert usual_for([*DENOISING, word]) == usual_for(DENOISING)


@pytest.mark.parametrize(
    "word",
    ["fitted_prior=gaussian", "fitted_prior=none", "fitted_prior=gaussian,mixture", "~fitted_prior",
     "task.sampler=standard_normal", "prior=vampprior", "posterior=fsq", "latent=grid", "model.condition=label",
     "+model.condition=label", "model=fsq", "model=ladder_vae", "model=vae,fsq", "experiment=mnist_ladder"],
)  # fmt: skip
def test_another_prior_or_a_code_that_is_none_of_a_mixture_sets_the_mixture_of_tables_aside(word: str) -> None:
    assert usual_for([*TABLES, word]) is None
    assert usual_for([word, *TABLES]) is None


@pytest.mark.parametrize(
    "word", ["model=ae", "model.beta=0.5", "latent_dim=8", "encoder=mlp", "shortcut=none", "fitted_prior.components=5"]
)
def test_generated_tables_keep_their_mixture_with_another_model(word: str) -> None:
    usual = usual_for(TABLES)
    assert usual is not None
    assert usual.words == ("fitted_prior=mixture",)
    assert usual_for([*TABLES, word]) == usual


def test_the_default_task_counts_as_typed(configs: Configs, capsys: pytest.CaptureFixture[str]) -> None:
    assert default_task(config_dir()) == "generation"
    assert usual_for(TABLES[1:]) == usual_for(TABLES)
    ((config, words),) = configs(*TABLES[1:])
    assert config["fitted_prior"]["_target_"] == "vaelab.latents.fitted.FullMixture"
    assert words[0] == "fitted_prior=mixture"
    assert "defaults for table x generation" in capsys.readouterr().err
    for others in (["task=embedding"], ["task=embedding,generation"], ["experiment=mnist_ladder"]):
        assert usual_for([*TABLES[1:], *others]) is None
    assert usual_for(["data=breast_cancer"]) is None  # a built-in set keeps its defaults


def test_the_default_task_is_that_of_ones_own_settings(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "train.yaml").write_text("defaults:\n  - task: generation\n")
    (tmp_path / "local/default.yaml").write_text("# @package _global_\nseed: 1\n")
    assert default_task(tmp_path) == "generation"
    (tmp_path / "local/default.yaml").write_text("defaults:\n  - override /task: embedding\n")
    assert default_task(tmp_path) == "embedding"


def test_a_setting_of_the_mixture_goes_with_it(configs: Configs) -> None:
    ((config, _),) = configs(*TABLES, "fitted_prior.components=5")
    assert config["fitted_prior"] == {"_target_": "vaelab.latents.fitted.FullMixture", "components": 5}
    ((config, _),) = configs(*TABLES, "fitted_prior=none")
    assert config["fitted_prior"] == {"_target_": None}
    jobs = configs("-m", "model=ae,fsq", *TABLES)
    assert [bool(config.get("fitted_prior")) for config, _ in jobs] == [True, False]


@pytest.mark.parametrize(
    "words", [IMAGES, ["task=denoising"], ["task=denoising", "data=mnist"], [*DENOISING, "data=mnist"], []]
)
def test_data_and_task_have_to_be_typed(words: list[str]) -> None:
    assert usual_for(words) is None


@pytest.mark.parametrize("word", ["corruption=mask", "corruption=gaussian,mask", "corruption=null"])
def test_what_was_not_measured_has_no_usual_words(word: str) -> None:
    assert usual_for([*DENOISING, word]) is None


def test_a_run_has_what_is_usual_unless_its_user_says_otherwise(
    configs: Configs, capsys: pytest.CaptureFixture[str]
) -> None:
    ((config, words),) = configs(*DENOISING)
    assert parts_of(config) == GRID
    usual = usual_for(DENOISING)
    assert usual is not None
    assert words[: len(usual.words)] == list(usual.words)
    assert str(usual) in capsys.readouterr().err
    ((config, words),) = configs(*DENOISING, "encoder=mlp")
    assert parts_of(config) == VECTOR
    assert words[:2] == ["logger=none", "task=denoising"]
    assert "defaults for" not in capsys.readouterr().err


def test_recorded_overrides_give_the_same_config_again(configs: Configs) -> None:
    for typed in (DENOISING, (*DENOISING, "latent_dim=8")):
        ((config, words),) = configs(*typed)
        ((again, same),) = configs(*(word for word in words if not word.startswith("paths.")))
        assert again == config
        assert set(same) == set(words)


@pytest.mark.long
def test_each_job_of_a_sweep_has_what_is_usual_for_its_own_data_and_task(
    configs: Configs, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = configs("-m", "task=denoising,embedding", "seed=1,2", *IMAGES)
    assert [parts_of(config) for config, _ in jobs] == [GRID, GRID, VECTOR, VECTOR]
    assert capsys.readouterr().err.count("defaults for images x denoising") == 1
    jobs = configs("-m", "encoder=mlp,conv", *DENOISING)
    assert [parts_of(config)[2] for config, _ in jobs] == ["Vector", "Vector"]


def test_a_printed_config_has_what_is_usual(configs: Configs, capsys: pytest.CaptureFixture[str]) -> None:
    assert configs("--cfg", "job", *DENOISING) == []
    printed = yaml.safe_load(capsys.readouterr().out)
    assert parts_of(printed) == GRID


def test_the_help_names_it(in_process: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    in_process("--help")
    shown = " ".join(capsys.readouterr().out.split())
    for usual in read_usual(config_dir()):
        assert " ".join([*usual.beside_words, *usual.words]) in shown


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """40 of 8 x 8 pixels, all different."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, pixels in enumerate(generator.integers(256, size=(40, 8, 8), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.long
def test_a_run_goes_on_and_is_evaluated_with_the_parts_that_it_began_with(
    in_process: Callable[..., None], pictures: Path, tmp_path: Path
) -> None:
    small = ("data.batch_size=16", "task.baseline_examples=0", "logger=none", "seed=1")

    def targets(folder: Path) -> tuple[str, ...]:
        return parts_of(yaml.safe_load((folder / "config.yaml").read_text()))

    for words, parts in (((), GRID), (("encoder=mlp",), VECTOR)):
        run = tmp_path / parts[2]
        place = (f"paths.output_dir={run}", f"hydra.run.dir={run}")
        in_process(
            "task=denoising", "data=images", f"data.path={pictures}", *words, *small, "trainer.max_epochs=1", *place
        )
        assert targets(run) == parts
        in_process(f"resume={run}", "trainer.max_epochs=2")
        assert targets(run) == parts
        evaluated = tmp_path / f"{parts[2]}-evaluated"
        in_process("train=false", f"ckpt_path={run}", f"paths.output_dir={evaluated}", f"hydra.run.dir={evaluated}")
        assert targets(evaluated) == parts
