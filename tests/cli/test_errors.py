"""A wrong command line gives one message that names the key or file and the remedy, and leaves no run behind."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from PIL import Image

from vaelab.cli import train
from vaelab.config.location import config_dir
from vaelab.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "named", "remedy"),
    [
        # unknown keys, with the nearest known one
        ("latent_dimm=3", "latent_dimm", "did you mean latent_dim?"),
        ("+latent_dimm=3", "latent_dimm", "did you mean latent_dim?"),
        ("++latent_dimm=3", "latent_dimm", "did you mean latent_dim?"),
        ("modle=ae", "modle", "did you mean model?"),
        ("+modle=ae", "modle", "did you mean model?"),
        ("model.betta=4", "model.betta", "did you mean model.beta?"),
        ("+model.betta=4", "model.betta", "did you mean model.beta?"),
        ("trainer.acelerator=cpu", "trainer.acelerator", "did you mean trainer.accelerator?"),
        ("+trainer.acelerator=cpu", "trainer.acelerator", "did you mean trainer.accelerator?"),
        ("optimizer.lrr=1", "optimizer.lrr", "did you mean optimizer.lr?"),
        ("callbacks.bestt.monitor=x", "callbacks.bestt.monitor", "did you mean callbacks.best.monitor?"),
        ("paths.log_dirr=x", "paths.log_dirr", "did you mean paths.log_dir?"),
        ("+paths.log_dirr=x", "paths.log_dirr", "did you mean paths.log_dir?"),
        ("lr=1", "lr", "did you mean optimizer.lr?"),
        ("trainer.benchmark=true", "trainer.benchmark", "+trainer.benchmark="),
        ("trainer.benchmrk=true", "trainer.benchmrk", "did you mean +trainer.benchmark?"),
        ("encoder.widths=[3]", "encoder.widths", "encoder.hidden"),
        ("model=piwae model/schedule=free_bits", "model.estimator=piwae", "use another schedule"),
        ("model=ae model.beta=3", "model.beta", "model.sparsity"),
        ("model=ae model/schedule=linear", "model/schedule", "model=ae has no schedule"),
        ("debug=fdr logger=mlflow logger.mlflow.tracking_uri=x", "logger.mlflow.tracking_uri", "debug=fdr leaves"),
        # unknown options, with what there is
        ("model=vea", "model=vea", "did you mean vae?"),
        ("model=xx", "model=xx", "iwae"),
        ("model=", "model=", "iwae"),
        ("model/schedule=xx", "model/schedule=xx", "cyclical"),
        ("data=cifar11", "data=cifar11", "did you mean cifar10?"),
        ("debug=xyz", "debug=xyz", "fdr"),
        ("logger=xx", "logger=xx", "wandb"),
        ("logger=[wandb,xx]", "logger=xx", "tensorboard"),
        ("experiment=nope", "experiment=nope", "no such option"),
        ("model=3", "model=3", "should name an option of model"),
        ("model=null", "model=null", "should name an option of model"),
        ("callbacks=[default,3]", "callbacks=[default,3]", "should name an option of callbacks"),
        # wrong types
        ("latent_dim=abc", "latent_dim=abc", "integer"),
        ("latent_dim=2.5", "latent_dim=2.5", "integer"),
        ("latent_dim=true", "latent_dim=true", "number, not true"),
        ("latent_dim=null", "latent_dim=null", "integer"),
        ("latent_dim=[3]", "latent_dim=[3]", "integer"),
        ("encoder.hidden=512", "encoder.hidden=512", "list"),
        ("encoder.hidden=[true]", "encoder.hidden=[true]", "number, not true"),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc", "integer"),
        ("optimizer.lr=abc", "optimizer.lr=abc", "number"),
        ("train=maybe", "train=maybe", "boolean"),
        ("tags=abc", "tags=abc", "list"),
        ("task.monitor=3", "task.monitor=3", "string"),
        ("+callbacks.mine=3", "callbacks.mine=3", "_target_"),
        # what does not fit the kind of data, with what would
        ("encoder=gru", "GRUEncoder supports roll, series, tokens", "encoder=conv or encoder=mlp"),
        ("decoder=conv1d", "digits is image data", "decoder=conv or decoder=mlp"),
        ("data=breast_cancer encoder=resnet", "breast_cancer is table data", "encoder=mlp"),
        ("data=breast_cancer likelihood=categorical", "likelihood=categorical", "likelihood=gaussian"),
        ("likelihood=mixed", "likelihood=mixed", "likelihood=discretized_logistic"),
        ("data=breast_cancer corruption=salt_pepper task=denoising", "salt_pepper", "try mask"),
        ("data=breast_cancer task=anomaly", "data.normal=null", "data.normal=['benign']"),
        ("data=table task=embedding", "data.path", ".csv"),
        ("data=digits task=disentanglement", "digits does not have them", "data=shapes"),
        ("data=text", "data.path", "hub id"),
        ("data=series", "data.path", ".npy"),
        ("data=midi", "data.path", "MIDI"),
        # values out of range
        ("latent_dim=0", "latent_dim=0", "greater than 0"),
        ("latent_dim=-3", "latent_dim=-3", "greater than 0"),
        ("seed=-1", "seed=-1", "greater than or equal to 0"),
        ("seed=99999999999999999999", "seed=99999999999999999999", "less than 4294967296"),
        ("model.beta=-1", "model.beta=-1", "greater than or equal to 0"),
        ("model.beta=inf", "model.beta", "finite"),
        ("model.beta=nan", "model.beta", "finite"),
        ("encoder.hidden=[0]", "encoder.hidden=[0]", "greater than 0"),
        ("encoder=conv encoder.widths=[]", "encoder.widths=[]", "at least 1"),
        ("data.val_fraction=2", "data.val_fraction=2", "less than 1"),
        ("data.batch_size=0", "data.batch_size=0", "greater than 0"),
        ("scheduler.warmup_steps=-1", "scheduler.warmup_steps=-1", "greater than or equal to 0"),
        ("likelihood=gaussian likelihood.sigma=-1", "likelihood.sigma=-1", "greater than 0"),
        ("likelihood=gaussian likelihood.sigma=learnd", "likelihood.sigma=learnd", "'learned'"),
        ("trainer.max_epochs=-5", "trainer: `max_epochs`", "non-negative"),
        ("trainer.devices=0", "trainer: `Trainer(devices=0)`", "not a valid input"),
        ("callbacks.best.mode=xx", "callbacks.best", "min, max"),
        # what does not fit together
        ("likelihood=bernoulli", "likelihood=bernoulli", "likelihood.binarize=dynamic"),
        ("task=denoising corruption=none", "corruption=none", "corruption=gaussian"),
        ("task.monitor=train/loss", "task.monitor=train/loss", "val/elbo"),
        ("train=false", "train=false", "ckpt_path="),
        ("+scheduler.total_steps=3", "scheduler.total_steps", "leave it out"),
        ("~latent_dim", "latent_dim", "needs a value"),
        ("~model", "model", "cannot be left out"),
        ("latent_dim=???", "latent_dim", "Missing"),
        # interpolations
        ("model.beta=${nope}", "nope", "model.beta"),
        ("latent_dim=${oc.env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE", "latent_dim"),
        ("latent_dim=${seed} seed=${latent_dim}", "latent_dim", "ecursive"),
        # overrides that cannot be read
        ("=3", "=3", "key=value"),
        ("model=[vae", "model=[vae", "key=value"),
        ("latent_dim", "latent_dim", "key=value"),
        ("latent_dim=2,3", "latent_dim=2,3", "--multirun"),
        ("--config-dir /no/such/folder", "/no/such/folder", "is not a folder"),
        # classes that may not be named
        ("model._target_=os.system", "model._target_=os.system", "trusted=[os]"),
        ("model._target_=vaelab_evil.x", "vaelab_evil.x", "trusted=[vaelab_evil]"),
        ("model._target_=vaelab.models.VAEE", "vaelab.models.VAEE", "did you mean vaelab.models.VAE?"),
        ("model._target_=torch.nn.Identity", "torch.nn.Identity", "Model"),
        ("data=images", "data.path", "a folder of images"),
        ("data=images data.path=", "data.path", "a folder of images"),
    ],
)
def test_a_wrong_config_is_refused_by_name(
    refusal: Callable[..., Any], overrides: str, named: str, remedy: str
) -> None:
    refused = refusal("logger=none", *overrides.split(" "))
    assert refused.code == 2
    assert named in refused.message
    assert remedy in refused.message
    assert refused.left == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("trainer", ["gpu", "ddp"])
def test_a_missing_gpu_is_one_message(refusal: Callable[..., Any], trainer: str) -> None:
    refused = refusal("logger=none", f"trainer={trainer}")
    assert refused.code == 2
    assert "trainer: No supported gpu" in refused.message


def test_an_override_with_a_space_is_named(refusal: Callable[..., Any]) -> None:
    assert "tags=a b" in refusal("tags=a b c=").message.replace("  ", " ")


def test_an_unwritable_log_folder_is_named(
    in_process: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("a file, no folder")
    with pytest.raises(SystemExit):
        in_process("logger=none")
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert str(tmp_path / "logs") in message


@pytest.mark.parametrize(
    ("text", "named"),
    [("latent_dim: [3\n", "mine.yaml"), ("model:\n  betta: 3\n", "did you mean model.beta?")],
    ids=["no YAML", "unknown key"],
)
def test_a_users_own_option_is_checked_too(refusal: Callable[..., Any], tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text("# @package _global_\n" + text)
    assert named in refusal(f"--config-dir={tmp_path / 'conf'}", "experiment=mine").message


def test_a_refused_sweep_leaves_nothing_behind(
    in_process: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        in_process("-m", "logger=none", "latent_dim=0,-1")
    assert stopped.value.code == 2
    assert "latent_dim=0" in capsys.readouterr().err
    assert [p for p in (tmp_path / "logs").rglob("*") if p.is_file()] == []


class Code:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


SMALL = ("logger=none", "latent_dim=2", "encoder.hidden=[4]", "decoder.hidden=[4]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    logs = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        GlobalHydra.instance().clear()
        train([*SMALL, "trainer.max_epochs=1", "trainer.limit_train_batches=1", "test=false", f"paths.log_dir={logs}"])
    return next(logs.glob("generation/digits-vae/*"))


def test_a_checkpoint_of_another_architecture_is_refused(refusal: Callable[..., Any], trained: Path) -> None:
    refused = refusal(*SMALL, "latent_dim=3", f"ckpt_path={trained}")
    assert refused.code == 1
    assert "best.ckpt" in refused.message
    assert "latent_dim=2 there, 3 here" in refused.message
    assert refused.left == []


def _breakage(name: str, whole: bytes, architecture: dict[str, Any], mark: Path, file: Path) -> None:
    written = {
        "cut": lambda: file.write_bytes(whole[: len(whole) // 2]),
        "empty": lambda: file.touch(),
        "text": lambda: file.write_text("weights"),
        "pickle": lambda: file.write_bytes(pickle.dumps({"architecture": architecture, "x": Code(mark)})),
        "code": lambda: torch.save({"architecture": architecture, "x": Code(mark)}, file),
        "no_weights": lambda: torch.save({"architecture": architecture}, file),
        "tensor": lambda: torch.save(torch.ones(3), file),
        "missing": lambda: None,
    }
    written[name]()


LONG = [pytest.param(name, marks=pytest.mark.long) for name in ("empty", "text", "pickle", "no_weights", "tensor")]


@pytest.mark.parametrize("name", ["cut", "code", "missing", *LONG])
def test_broken_checkpoints_are_refused_by_name(
    name: str, refusal: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    whole = (trained / "checkpoints/best.ckpt").read_bytes()
    architecture = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)["architecture"]
    mark = tmp_path / "code ran"
    _breakage(name, whole, architecture, mark, tmp_path / f"{name}.ckpt")
    refused = refusal(*SMALL, f"ckpt_path={tmp_path / name}.ckpt")
    assert refused.code == 1
    assert f"{name}.ckpt" in refused.message
    assert refused.left == []
    assert not mark.exists()


def test_a_folder_that_is_no_run_is_refused_as_a_checkpoint(refusal: Callable[..., Any], tmp_path: Path) -> None:
    assert "a run folder" in refusal(*SMALL, f"ckpt_path={tmp_path}", "train=false").message


def test_resuming_nothing_is_refused(refusal: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    assert "overrides.yaml" in refusal(f"resume={tmp_path}").message
    (tmp_path / "overrides.yaml").write_text("[]\n")
    assert "last.ckpt" in refusal(f"resume={tmp_path}").message
    assert "--multirun" in refusal(f"resume={trained}", "-m").message


def test_flags_may_stand_anywhere(refusal: Callable[..., Any]) -> None:
    assert "latent_dim=0" in refusal("logger=none", "latent_dim=0", "--run", "seed=1").message


def test_a_process_ends_with_the_code_and_one_message(tmp_path: Path) -> None:
    command = [sys.executable, str(config_dir().parent / "train.py"), "model.betta=2", f"paths.log_dir={tmp_path}"]
    environment = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == "error: unknown key model.betta; did you mean model.beta?\n"


@pytest.mark.parametrize("override", ["model.betta=2", "+model.betta=2"])
def test_the_traceback_is_there_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    GlobalHydra.instance().clear()
    with pytest.raises((HydraException, ConfigError), match=r"model\.betta"):
        train([override, f"paths.log_dir={tmp_path}"])


@pytest.mark.parametrize(
    ("model", "setting"), [("topk_ae", "model=topk_ae"), ("rae_gp", "model.decoder_gradient=0.001")]
)
def test_a_term_of_reconstructions_that_are_no_numbers_is_refused(
    refusal: Callable[..., Any], tmp_path: Path, model: str, setting: str
) -> None:
    (tmp_path / "lines.txt").write_text("one line\nanother line\n" * 50)
    refused = refusal("data=text", f"data.path={tmp_path}/lines.txt", f"model={model}")
    assert f"{setting}: needs numeric reconstructions, and lines has tokens" in str(refused)


def test_a_broken_image_is_named_before_anything_runs(refusal: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "my [images]"
    folder.mkdir()
    for number in range(9):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:40])
    refused = refusal("logger=none", "data=images", f"data.path='{folder}'")
    assert refused.code == 1
    assert str(folder / "4.png") in refused.message
    assert refused.left == []


@pytest.mark.parametrize("several", [[], ["-m", "seed=1,2"]], ids=["a run", "a sweep"])
def test_a_place_where_no_folder_can_be_made_is_named(
    several: list[str], tmp_path: Path, refusal: Callable[..., Any]
) -> None:
    (tmp_path / "logs").touch()
    refused = refusal("logger=none", *several)
    assert refused.code == 1
    assert f"{tmp_path / 'logs'}/" in refused.message
    assert "(Not a directory)" in refused.message
    assert refused.message.endswith("paths.log_dir=<another folder>")
