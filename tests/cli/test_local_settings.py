"""`local/default.yaml` sets what is the user's own, whatever options a command line chooses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import vaelab.run
from vaelab.check import check

Settle = Callable[..., dict[str, Any]]


@pytest.fixture
def settled(in_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settle:
    """The checked config of a command line beside a local file."""
    found: dict[str, Any] = {}

    def run(config: DictConfig, *_: Any) -> None:
        found.update(check(config)[0])

    def settle(text: str, *overrides: str) -> dict[str, Any]:
        (tmp_path / "conf/local").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf/local/default.yaml").write_text(text)
        in_process(f"--config-dir={tmp_path / 'conf'}", *overrides)
        return found

    monkeypatch.setattr(vaelab.run, "run", run)
    return settle


HEAD = "# @package _global_\n"
TEAM = HEAD + "logger: {wandb: {entity: my-team}}\n"


def test_settings_of_a_logger_apply_where_it_is_chosen_and_break_no_other(settled: Settle) -> None:
    assert settled(TEAM)["logger"]["wandb"]["entity"] == "my-team"
    assert settled(TEAM, "logger=none")["logger"] == {}
    assert set(settled(TEAM, "logger=tensorboard")["logger"]) == {"tensorboard"}
    assert settled(TEAM, "debug=fdr")["logger"] == {}


def test_settings_of_other_options_are_left_out_of_every_group(settled: Settle) -> None:
    text = HEAD + "model: {beta: 4, schedule: {steps: 9}}\nencoder: {hidden: [8]}\ntrainer: {benchmark: true}\n"
    chosen = settled(text, "logger=none", "model=ae", "encoder=conv")
    assert not {"beta", "schedule"} & set(chosen["model"])
    assert "hidden" not in chosen["encoder"]
    assert chosen["trainer"]["benchmark"] is True  # the class takes it, though no option sets it
    chosen = settled(text, "logger=none", "model/schedule=linear")
    assert (chosen["model"]["beta"], chosen["model"]["schedule"]["steps"], chosen["encoder"]["hidden"]) == (4, 9, [8])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("logger: {wandb: {entityy: x}}", "unknown key logger.wandb.entityy; did you mean logger.wandb.entity?"),
        ("logger: {wanddb: {entity: x}}", "unknown key logger.wanddb; did you mean logger.wandb?"),
        ("trainer: {maxepochs: 3}", "unknown key trainer.maxepochs; did you mean trainer.max_epochs?"),
        ("pathss: {log_dir: x}", "unknown key pathss; did you mean paths?"),
        ("latent_dim: abc", "latent_dim=abc: should be a valid integer"),
    ],
)
def test_a_mistake_names_the_file(
    settled: Settle, text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settled(HEAD + text + "\n", "logger=none")
    assert capsys.readouterr().err == f"error: {tmp_path / 'conf/local/default.yaml'}: {named}\n"


def test_a_file_that_does_not_say_where_its_keys_belong_is_refused(
    settled: Settle, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settled("paths: {log_dir: x}\n", "logger=none")
    assert "its first line must be # @package _global_" in capsys.readouterr().err
    settled("", "logger=none")


def test_a_wrong_word_of_the_command_line_is_not_lost_with_them(
    settled: Settle, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settled(TEAM, "logger=none", "logger.wandb.entity=other")
    assert "logger.wandb" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        settled(HEAD + "latent_dim: 3\n", "logger=none", "latent_dim=0")
    assert capsys.readouterr().err.startswith("error: latent_dim=0")


@pytest.mark.long
def test_they_hold_in_a_sweep(settled: Settle) -> None:
    assert OmegaConf.create(settled(TEAM, "-m", "logger=none", "seed=1,2"))["logger"] == {}
