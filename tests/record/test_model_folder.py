"""`model/`: what is shared is JSON and safetensors, and is checked before anything in it is imported."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import vaelab
from vaelab.config.builder import Builder
from vaelab.core.spec import DataSpec
from vaelab.errors import UserError
from vaelab.models.building import architecture, build_model
from vaelab.models.saved_model import save_model
from vaelab.record.checkpoints import flat

MLP = {"hidden": [4], "activation": "relu"}
CONFIG = {
    "latent_dim": 2,
    "model": {"_target_": "vaelab.models.VAE", "schedule": {"_target_": "vaelab.models.schedules.Constant"}},
    "encoder": {"_target_": "vaelab.backbones.MLPEncoder", **MLP},
    "decoder": {"_target_": "vaelab.backbones.MLPDecoder", **MLP},
    "likelihood": {"_target_": "vaelab.likelihoods.DiscretizedLogistic", "mixtures": 1},
}
SPEC = DataSpec("squares", "image", (1, 5, 7), "unit", 17, ("a", "b"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(build_model(architecture(CONFIG, SPEC), Builder()), tmp_path / "model")
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_saved_model_comes_back_as_it_was(folder: Path) -> None:
    first, second = vaelab.load(folder).model, vaelab.load(folder / "model").model
    x = torch.rand(3, 1, 5, 7)
    assert not first.training
    assert first.likelihood.spec == SPEC
    assert torch.equal(first.decode(first.encode(x)), second.decode(second.encode(x)))
    assert first.decode(first.encode(x)).shape == x.shape


def test_a_shared_model_cannot_run_code(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "written"
    writes = {"_target_": "vaelab.run_folder.write_text", "path": str(mark), "text": "x"}
    for encoder in ({"_target_": "os.mkdir", "path": str(mark)}, writes, {**CONFIG["encoder"], "hidden": writes}):
        edit(folder, encoder=encoder)
        with pytest.raises(UserError, match="encoder"):
            vaelab.load(folder)
    assert not mark.exists()


def test_arguments_that_a_signature_does_not_name_run_nothing(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "written"
    writes = {"_target_": "vaelab.atomic_write.write_file", "path": str(mark), "content": "x"}
    loads = {"_target_": "vaelab.models.saved_model.load_model", "run": str(folder), "trusted": ["subprocess"]}
    for inner in (writes, loads, [writes], {"a": writes}):
        edit(folder, encoder={"_target_": "torch.nn.Identity", "x": inner})
        with pytest.raises(UserError, match=r"encoder\._target_=torch\.nn\.Identity: should be a Module of vaelab"):
            vaelab.load(folder)
        with pytest.raises(UserError, match=r"encoder\.x"):  # trusting the class does not let it have more
            vaelab.load(folder, trusted=("torch.nn",))
    assert not mark.exists()


def test_trust_comes_from_the_caller_and_never_from_the_file(folder: Path) -> None:
    edit(folder, encoder={"_target_": "os.getcwd", "trusted": ["os"]})
    with pytest.raises(UserError, match=r"encoder\._target_=os\.getcwd"):
        vaelab.load(folder)
    edit(folder, trusted=["os"])
    with pytest.raises(UserError, match="unknown key trusted"):
        vaelab.load(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_or_broken_file_is_named(folder: Path, name: str) -> None:
    path = folder / "model" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="broken or cut short"):
        vaelab.load(folder)
    path.unlink()
    with pytest.raises(UserError, match=rf"holds no model \({name} is missing\)"):
        vaelab.load(folder)


def test_files_of_two_models_are_refused(folder: Path) -> None:
    edit(folder, latent_dim=3)
    with pytest.raises(UserError, match="do not belong together"):
        vaelab.load(folder)
    (folder / "model" / "model.json").write_text("[]")
    with pytest.raises(UserError, match=r"model\.json"):
        vaelab.load(folder)


def test_a_backbone_for_other_data_is_refused() -> None:
    rows = DataSpec("rows", "table", (9,), "real")
    conv = CONFIG | {"encoder": {"_target_": "vaelab.backbones.ConvEncoder", "widths": [4], "activation": "silu"}}
    conv |= {"likelihood": {"_target_": "vaelab.likelihoods.Gaussian", "sigma": 1.0}}
    with pytest.raises(UserError, match=r"encoder: ConvEncoder supports image; rows is table data"):
        build_model(architecture(conv, rows), Builder())


def test_differences_of_architecture_are_named_by_their_keys() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}
