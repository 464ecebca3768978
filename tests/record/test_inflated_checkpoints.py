"""A checkpoint that would take more memory than its size says, or none of a file, is refused before it does."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
import yaml

from vaelab import careful_read
from vaelab.cli import train
from vaelab.errors import CheckpointError
from vaelab.models import VAE
from vaelab.record import checkpoints
from vaelab.record.checkpoints import read_start

SMALL = ("encoder.hidden=[4]", "decoder.hidden=[4]", "latent_dim=2", "data.batch_size=400", "trainer.max_epochs=1",
         "task=compression", "model=vae", "logger=none", "test=false")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    train([*SMALL, f"paths.log_dir={logs}"])
    (config,) = logs.rglob("config.yaml")
    return config.parent


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of a run."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def change(path: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    checkpoint = torch.load(path, weights_only=True)
    how(checkpoint)
    torch.save(checkpoint, path)


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        read_start(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


POSING = {
    "one number that poses as many": torch.zeros(1).expand(10**12),
    "numbers that overlap": torch.zeros(9).as_strided((5, 5), (1, 1)),
    "nowhere": torch.empty(10**12, device="meta"),
    "sparse": torch.zeros(3, 4).to_sparse(),
}


@pytest.mark.parametrize("name", POSING)
def test_a_weight_that_is_not_all_in_the_file(run: Path, name: str) -> None:
    path = run / "checkpoints/best.ckpt"
    change(path, lambda c: c["state_dict"].update({"decoder.net.0.weight": POSING[name]}))
    assert "decoder.net.0.weight is larger than the file" in refused(path)


@pytest.mark.parametrize(
    "weight",
    [torch.zeros(3, 4), torch.zeros(4, 3).T, torch.zeros(0, 3), torch.tensor(1.0), torch.zeros(9)[2:5],
     torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.zeros(4, 1, 3).expand(4, 1, 3)],
)  # fmt: skip
def test_any_order_of_the_numbers_is_whole(weight: torch.Tensor) -> None:
    assert careful_read.lies_whole(weight)


def nested(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.zeros(2), "not plain data"),
        pytest.param(
            nested(3_000),
            "not plain data",
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python cannot write so deep a pickle"),
        ),
        ([[]] * 300_000, "lists and objects"),
    ],
)
def test_an_architecture_that_no_model_has(run: Path, value: Any, why: str) -> None:
    path = run / "checkpoints/best.ckpt"
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # to write it
    try:
        change(path, lambda c: c["architecture"].update(encoder=value))
    finally:
        sys.setrecursionlimit(before)
    assert why in refused(path)


def test_a_compressed_checkpoint(run: Path) -> None:
    path = run / "checkpoints/best.ckpt"
    with ZipFile(made_copy := path.with_suffix(".zip"), "w", ZIP_DEFLATED) as packed, ZipFile(path) as plain:
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    made_copy.replace(path)
    assert "is compressed" in refused(path)


def test_a_structure_that_is_too_large(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_STRUCTURE", 1000)
    assert "take more than 1,000 bytes" in refused(run / "checkpoints/best.ckpt")


def test_parts_that_overlap(run: Path) -> None:
    path = run / "checkpoints/best.ckpt"
    with ZipFile(path, "a") as archive:
        archive.filelist += archive.filelist * 30
        archive.writestr("best/data/more", b"")
    assert "larger than the file" in refused(path)


def test_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.ckpt")
    assert "is no file" in refused(tmp_path / "last.ckpt")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "training.json"])
@pytest.mark.parametrize("there", ["pipe", "folder", "giant", "cut short", "nonsense"])
def test_a_part_of_a_model_folder_that_is_none(run: Path, name: str, there: str) -> None:
    path = run / "model" / name
    content = path.read_bytes()
    path.unlink()
    if there == "pipe":
        os.mkfifo(path)
    elif there == "folder":
        path.mkdir()
    elif there == "giant":
        path.touch()
        os.truncate(path, 2**40)
    else:
        path.write_bytes(content[:-3] if there == "cut short" else b"[" * 10_000)
    with pytest.raises(CheckpointError, match=f"{name}: (is|cannot)"):
        read_start(run / "model/model.safetensors")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_part_of_a_model_folder_is_named(run: Path, name: str) -> None:
    (run / "model" / name).unlink()
    with pytest.raises(CheckpointError, match=rf"model: holds no model \({name} is missing\)"):
        read_start(run / "model/model.safetensors")


def test_a_model_is_not_built_before_its_weights_fit(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config and the checkpoint agree on a size that the weights do not have."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"latent_dim": 50_000}))
    words = (run / "overrides.yaml").read_text()
    (run / "overrides.yaml").write_text(words.replace("latent_dim=2", "latent_dim=50000"))
    for name in ("best", "last"):
        change(run / f"checkpoints/{name}.ckpt", lambda c: c["architecture"].update(latent_dim=50_000))
    begin, devices = VAE.__init__, []

    def begun(self: Any, *given: Any, **named: Any) -> None:
        devices.append(torch.get_default_device().type)
        begin(self, *given, **named)

    monkeypatch.setattr(VAE, "__init__", begun)
    for word in (f"ckpt_path={run}", f"resume={run}"):
        with pytest.raises(SystemExit):
            train([word, *(() if word[0] == "r" else ("train=false",)), f"paths.log_dir={tmp_path}"])
        assert "weights that differ: encoder." in capsys.readouterr().err
    assert devices == ["meta", "meta"]
