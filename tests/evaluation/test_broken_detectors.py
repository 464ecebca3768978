"""The files of a detector are checked as the model's are: one message names the file, and no memory is taken before."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaelab.atomic_write import write_file
from vaelab.config.builder import Builder
from vaelab.core.spec import DataSpec
from vaelab.errors import CheckpointError
from vaelab.evaluation.scores import Detector, conformal_threshold
from vaelab.models.building import architecture, build_model
from vaelab.models.saved_model import save_model

CONFIG = {
    "latent_dim": 2,
    "model": {"_target_": "vaelab.models.VAE", "schedule": {"_target_": "vaelab.models.schedules.Constant"}},
    "encoder": {"_target_": "vaelab.backbones.MLPEncoder", "hidden": [4], "activation": "relu"},
    "decoder": {"_target_": "vaelab.backbones.MLPDecoder", "hidden": [4], "activation": "relu"},
    "likelihood": {"_target_": "vaelab.likelihoods.Gaussian", "sigma": 0.5},
}
SPEC = DataSpec("squares", "image", (1, 5, 7), "unit", 17)
X = torch.rand(9, 1, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build_model(architecture(CONFIG, SPEC), Builder()).eval()
    save_model(model, tmp_path / "model")
    detector = Detector(model, nll_samples=3)
    with torch.no_grad():
        detector.fit(lambda: iter([X]))
    detector.threshold = conformal_threshold("latent", detector.score(X, "latent"), 0.2)
    for name, content in detector.files().items():
        write_file(tmp_path / name, content)
    return tmp_path


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        Detector.load(folder)
    assert str(error.value).startswith(str(folder))
    return str(error.value)


def test_a_detector_comes_back_as_it_was(folder: Path) -> None:
    first, second = Detector.load(folder), Detector.load(folder / "model")
    assert first.threshold == second.threshold
    assert torch.equal(first.score(X), second.score(X))
    path = folder / "model/scores.safetensors"
    save_file(load_file(path), path)  # one without a digest, as older runs have
    assert torch.equal(Detector.load(folder).score(X), first.score(X))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("score", "elbow", "elbow is not a score of this model"),
        ("score", None, "threshold.score="),
        ("value", "high", "threshold.value=high: should be a valid number"),
        ("value", True, "threshold.value=true"),
        ("rate", 2, "threshold.rate=2: should be less than 1"),
        ("n", -1, "threshold.n=-1"),
        ("nll_samples", 0, "nll_samples should be an integer up to 1,000,000"),
        ("nll_samples", 10**12, "nll_samples should be an integer up to 1,000,000"),
        ("nll_samples", None, "nll_samples should be an integer up to 1,000,000"),
    ],
)
def test_a_threshold_that_cannot_be_is_named(folder: Path, key: str, value: Any, said: str) -> None:
    path = folder / "model/threshold.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {key: value}))
    assert said in refused(folder)
    path.write_text(json.dumps({name: about[name] for name in about if name != key}))
    assert "threshold.json: is broken" in refused(folder)


@pytest.mark.parametrize("content", ["", "[]", "null", "3", "[" * 10_000, '{"value": Infinity}'])
def test_a_threshold_that_is_no_object_is_refused(folder: Path, content: str) -> None:
    (folder / "model/threshold.json").write_text(content)
    assert "threshold.json: is broken" in refused(folder)


def test_an_unreachable_threshold_comes_back(folder: Path) -> None:
    path = folder / "model/threshold.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"value": None}))
    threshold = Detector.load(folder).threshold
    assert threshold is not None
    assert threshold.value == math.inf


def test_the_state_of_scores_is_held_against_the_model(folder: Path) -> None:
    path = folder / "model/scores.safetensors"
    state = load_file(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "it has changed since it was written" in refused(folder)
    path.write_bytes(whole[:-9])
    assert "scores.safetensors: is broken or cut short" in refused(folder)
    (name,) = [name for name in state if name.endswith("precision")]
    save_file(state | {name: torch.eye(3)}, path)
    assert f"{name} has shape [3, 3] in scores.safetensors and [2, 2] by model.json" in refused(folder)
    save_file(state | {name: state[name] * math.nan}, path)
    assert f"{name} holds NaN or infinity" in refused(folder)
    path.unlink()
    assert "holds no detector; train with task=anomaly (scores.safetensors is missing)" in refused(folder)
