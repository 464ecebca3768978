"""The perceptual term: what it measures, whom it moves, and which networks it takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.data.images.digits import Digits
from vaelab.errors import ConfigError
from vaelab.evaluation.perceptual import ClassifierLayers, ExportedLayers


class Layers(nn.Module):
    """Two maps of a colour image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 7, 3, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(x).relu()
        return first, self.second(first)


def exported(folder: Path, network: nn.Module, side: int = 8) -> Path:
    path = folder / "layers.pt2"
    x = torch.rand(2, 3, side, side)
    torch.export.save(torch.export.export(network, (x,), dynamic_shapes=[{0: torch.export.Dim("batch")}]), path)
    return path


@pytest.fixture
def through_classifier(digits: Digits, tmp_path: Path) -> ClassifierLayers:
    found = ClassifierLayers(0.5, str(tmp_path))
    found.prepare(digits)
    return found


def test_it_is_nothing_for_equal_images_and_grows_with_the_distance(
    digits: Digits, through_classifier: ClassifierLayers
) -> None:
    x = digits.clean("test", torch.arange(6))
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    distances = [through_classifier.distance(x, x + scale * noise) for scale in (0.0, 0.1, 0.5)]
    assert not distances[0].any()
    assert bool((distances[0] < distances[1]).all() and (distances[1] < distances[2]).all())
    torch.testing.assert_close(distances[2], through_classifier.distance(x + 0.5 * noise, x))


def test_it_is_the_mean_over_layers_of_squared_distances_of_unit_vectors(digits: Digits, tmp_path: Path) -> None:
    network = Layers()
    perceptual = ExportedLayers(0.5, str(exported(tmp_path, network)))
    perceptual.prepare(digits)
    x, other = digits.clean("test", torch.arange(3)), torch.rand(3, 1, 8, 8)
    expected = []
    with torch.no_grad():
        for one, two in zip(network(x.expand(-1, 3, -1, -1)), network(other.expand(-1, 3, -1, -1)), strict=True):
            cosine = nn.functional.cosine_similarity(one, two, dim=1)
            both = (one.norm(dim=1) > 0).float(), (two.norm(dim=1) > 0).float()  # a vector of zeros has no direction
            expected.append((both[0] + both[1] - 2 * cosine).flatten(1).mean(1))
    torch.testing.assert_close(perceptual.distance(x, other), torch.stack(expected).mean(0), atol=1e-4, rtol=1e-3)
    batch = Batch(x, x, torch.zeros(3).long(), x, ExampleNoise(0, range(3)), 1.0)
    torch.testing.assert_close(perceptual.term(other, batch), 0.5 * 64 * perceptual.distance(x, other))


def test_a_run_learns_by_it_and_keeps_nothing_of_the_network(train: Callable[..., Path]) -> None:
    words = ("encoder=mlp", "encoder.hidden=[16]", "trainer.max_epochs=2", "task=compression", "task.baselines=false")
    plain, moved = train(*words), train(*words, "perceptual=classifier")
    curves = (moved / "metrics.csv").read_text().splitlines()
    assert "train/perceptual" in curves[0].split(",")
    kept = load_file(moved / "model/model.safetensors")
    assert kept.keys() == load_file(plain / "model/model.safetensors").keys()
    assert any(
        not torch.equal(value, load_file(plain / "model/model.safetensors")[name]) for name, value in kept.items()
    )
    about = json.loads((moved / "environment.json").read_text())["perceptual"]
    assert about["network"] == "classifier"
    assert len(about["weights"]) == 12


@pytest.mark.parametrize(("make", "said"), [
    (lambda folder: ExportedLayers(1.0, None), "perceptual.path: needs a file"),
    (lambda folder: ExportedLayers(1.0, str(folder / "none.pt2")), "none.pt2: no such file"),
    (lambda folder: ExportedLayers(1.0, __file__), "is not a file written by torch.export.save"),
    (lambda folder: ExportedLayers(1.0, str(exported(folder, Layers(), 16))), r"every number of images \[1, 8, 8\]"),
])  # fmt: skip
def test_a_network_that_cannot_be_had_is_one_message(
    digits: Digits, tmp_path: Path, make: Callable[[Path], ExportedLayers], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make(tmp_path).prepare(digits)


def test_a_program_for_one_size_of_batch_and_one_that_changes_itself_are_refused(
    digits: Digits, tmp_path: Path
) -> None:
    x, path = torch.rand(2, 3, 8, 8), tmp_path / "fixed.pt2"
    torch.export.save(torch.export.export(Layers(), (x,)), path)
    with pytest.raises(ConfigError, match="with a dynamic batch"):
        ExportedLayers(1.0, str(path)).prepare(digits)
    changing = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    with pytest.raises(ConfigError, match=r"export it after network\.eval"):
        ExportedLayers(1.0, str(exported(tmp_path, changing))).prepare(digits)


def test_the_network_takes_no_gradient(digits: Digits, tmp_path: Path) -> None:
    perceptual = ExportedLayers(1.0, str(exported(tmp_path, Layers())))
    perceptual.prepare(digits)
    other = torch.rand(2, 1, 8, 8, requires_grad=True)
    perceptual.distance(torch.rand(2, 1, 8, 8), other).sum().backward()
    assert other.grad.any()
    assert all(weight.grad is None for weight in perceptual._layers.parameters())


def test_a_run_goes_on_with_the_network_that_it_began_with(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = exported(tmp_path, Layers())
    words = ("encoder.hidden=[8]", "trainer.max_epochs=1", "test=false")
    run = train(*words, "perceptual=exported", f"perceptual.path={path}")
    torch.manual_seed(1)
    exported(tmp_path, nn.Sequential(nn.Conv2d(3, 5, 3)))
    with pytest.raises(SystemExit):
        train(f"resume={run}", f"perceptual.path={path}", "trainer.max_epochs=2")
    assert "the network has other weights" in capsys.readouterr().err


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="perceptual: needs images"):
        ClassifierLayers(1.0, str(tmp_path)).check(DataSpec("rows", "table", (6,), "real"))


@pytest.fixture
def digits() -> Any:
    from vaelab.corruptions import Identity

    data = Digits(
        None, corruption=Identity(), batch_size=32, val_fraction=0.1, test_fraction=0.2, split_seed=0, seed=0,
        normal=None,
    )  # fmt: skip
    data.setup()
    return data
