"""Options and packages of a user's own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import vaelab.run
from vaelab.check import check
from vaelab.config.location import find_trusted

Choose = Callable[..., list[str]]


@pytest.fixture
def chosen(in_process: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Choose:
    """The last parts of the encoder's and decoder's targets in each run of a command line."""
    found: list[str] = []

    def run(config: DictConfig, *_: Any) -> None:
        cfg, _ = check(config)
        found.append("/".join(cfg[part]["_target_"].rpartition(".")[2] for part in ("encoder", "decoder")))

    def choose(*overrides: str) -> list[str]:
        found.clear()
        in_process(f"--config-dir={tmp_path / 'conf'}", "logger=none", *overrides)
        return found

    (tmp_path / "conf/encoder").mkdir(parents=True)
    (tmp_path / "conf/encoder/mine.yaml").write_text("# mine\n_target_: vaelab.backbones.ConvEncoder\n")
    monkeypatch.setattr(vaelab.run, "run", run)
    return choose


@pytest.mark.long
def test_an_encoder_alone_has_the_decoder_of_the_data(chosen: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen("encoder=mine") == ["ConvEncoder/MLPDecoder"]
    assert "no decoder=mine for encoder=mine, so decoder=mlp is used" in capsys.readouterr().err
    assert chosen("encoder=mine", "decoder=conv") == ["ConvEncoder/ConvDecoder"]
    assert capsys.readouterr().err == ""
    assert chosen("-m", "encoder=mine,resnet") == ["ConvEncoder/MLPDecoder", "ResNetEncoder/ResNetDecoder"]


def test_a_decoder_that_is_typed_has_to_exist(chosen: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chosen("encoder=mine", "decoder=mine")
    assert "decoder=mine: there is no such option" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        chosen("encoder=mnie")
    assert "did you mean mine?" in capsys.readouterr().err


def test_an_option_that_vaelab_has_itself_is_refused(
    chosen: Choose, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = tmp_path / "conf/model/schedule/linear.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("steps: 3\n")
    with pytest.raises(SystemExit) as refused:
        chosen("encoder=mine")
    assert refused.value.code == 2
    said = f"error: {own}: vaelab has its own model/schedule=linear, which is used; rename this one\n"
    assert capsys.readouterr().err == said


def test_a_trusted_package_is_found_in_the_current_folder_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "yaml").mkdir()
    before = list(sys.path)
    for trusted in ([], ["yaml"], ["package_elsewhere"], ["no/name"], ["__main__"], "package_of_mine"):
        find_trusted(OmegaConf.create({"trusted": trusted}))
        assert sys.path == before
    find_trusted(OmegaConf.create({}))
    for _ in range(2):
        find_trusted(OmegaConf.create({"trusted": ["package_of_mine.networks"]}))
    assert sys.path == [*before, str(tmp_path)]  # in the last place: it stands before nothing
