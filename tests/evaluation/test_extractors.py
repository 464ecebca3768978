"""Extractors are named, seeded, and never taken for one another."""

import time
from pathlib import Path

import pytest
import torch

import in_memory
from in_memory import InMemory
from vaelab.core import DataSpec
from vaelab.corruptions import Gaussian
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.evaluation.distances import frechet_distance
from vaelab.evaluation.features import Choice, Extractor, refuse_absent
from vaelab.evaluation.features.real import real_features
from vaelab.evaluation.features.resize import limit_side, resize_tensorflow1

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataModule:
    return in_memory.digits()


def images(shape: tuple[int, int, int], labelled: bool, count: int = 60) -> DataModule:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(256, (count, *shape), generator=generator).to(torch.uint8)
    label = torch.arange(count) % 3 if labelled else torch.full((count,), -1)
    spec = DataSpec("odd", "image", shape, "unit", 256, ("a", "b", "c") if labelled else ())
    return InMemory(values, spec, label)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests share a classifier of the digits."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def hardly_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what does not depend on how good the classifier is."""
    monkeypatch.setattr("vaelab.evaluation.features.classifier.STEPS", (3, 3))


def choice(folder: Path, name: str = "auto") -> Choice:
    return Choice(name, folder / "inception.pt", folder)


@pytest.mark.long
def test_the_classifier_is_trained_once_and_is_the_same_after(digits: DataModule, folder: Path) -> None:
    first = choice(folder, "classifier").build(digits, CPU)
    assert first.about["test_accuracy"] > 0.93
    (made,) = folder.iterdir()
    written = made.stat().st_mtime_ns
    started = time.perf_counter()
    second = choice(folder, "classifier").build(digits, CPU)
    assert time.perf_counter() - started < 0.5
    assert made.stat().st_mtime_ns == written
    assert second.about == first.about
    batch = digits.clean("test")
    assert torch.equal(first.extract([batch]), second.extract([batch]))
    assert first.extract(batch.split(100)).shape == (len(batch), first.about["features"])

    made.write_bytes(made.read_bytes()[:1000])  # a broken file is made anew, with the same weights
    assert choice(folder, "classifier").build(digits, CPU).about == first.about


def test_a_corruption_changes_nothing_of_the_classifier(
    digits: DataModule, tmp_path: Path, hardly_trained: None
) -> None:
    noisy = in_memory.digits(Gaussian(0.3))
    weights = {choice(tmp_path, "classifier").build(data, CPU).about["weights"] for data in (digits, noisy)}
    assert len(weights) == len(list(tmp_path.iterdir())) == 1


def test_training_an_extractor_leaves_the_random_state_alone(
    digits: DataModule, tmp_path: Path, hardly_trained: None
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for name in ("classifier", "random"):
        choice(tmp_path, name).build(digits, CPU)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["classifier", "random", "values"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 27, 31), (2, 9, 6), (1, 1, 5), (3, 150, 70)])
def test_images_of_any_size_have_features(
    name: str, shape: tuple[int, int, int], tmp_path: Path, hardly_trained: None
) -> None:
    data = images(shape, labelled=True, count=40)
    extractor = choice(tmp_path, name).build(data, CPU)
    features = extractor.extract(data.clean("test").split(3))
    assert features.shape == (8, extractor.about["features"])
    assert features.isfinite().all()
    assert {"extractor", "features", "resize"} <= extractor.about.keys()
    assert extractor.about["extractor"] == name
    shrunk = name != "values" and max(shape) > 64
    assert extractor.about["resize"].startswith("64 x 30" if shrunk else "none")


@pytest.mark.long
@pytest.mark.parametrize("name", ["classifier", "random", "values"])
def test_fid_is_zero_with_itself_and_grows_with_noise(name: str, digits: DataModule, folder: Path) -> None:
    extractor = choice(folder, name).build(digits, CPU)
    clean = digits.clean("train", 1000)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator)
    features = [extractor.extract([(clean + s * noise).clamp(0, 1)]) for s in (0.0, 0.1, 0.2, 0.4)]
    distances = [frechet_distance(features[0], f) for f in features]
    assert distances[0] == pytest.approx(0, abs=1e-4 * distances[1])
    assert distances[0] < distances[1] < distances[2] < distances[3]


def test_auto_takes_the_best_there_is_and_says_which(digits: DataModule, tmp_path: Path, hardly_trained: None) -> None:
    def chosen(data: DataModule) -> str:
        return str(choice(tmp_path).build(data, CPU).about["extractor"])

    (tmp_path / "inception.pt").write_bytes(b"there, but slow without a GPU")
    assert chosen(digits) == "classifier"
    assert chosen(images((1, 8, 8), labelled=False)) == "random"
    row = InMemory(torch.randn(50, 7), DataSpec("row", "table", (7,), "real"), torch.arange(50) % 2)
    wide = InMemory(torch.randn(50, 2, 400), DataSpec("wide", "series", (2, 400), "real"), torch.arange(50) % 2)
    for data in (row, wide):
        data.setup()
    assert chosen(row) == "values"
    assert chosen(wide) == "random"
    assert choice(tmp_path).build(wide, CPU).extract([wide.clean("test")]).shape == (10, 64)


# Named and absent


def test_an_extractor_that_is_named_and_absent_says_how_to_get_it(tmp_path: Path) -> None:
    grey = DataSpec("grey", "image", (1, 8, 8), "unit", 256)
    with pytest.raises(ConfigError, match=r"inception\.pt does not exist; put a TorchScript .* task\.inception=<file>"):
        refuse_absent(choice(tmp_path, "inception"), grey)
    with pytest.raises(ConfigError, match="no images with labels"):
        refuse_absent(choice(tmp_path, "classifier"), grey)
    with pytest.raises(ConfigError, match="no images with labels"):
        choice(tmp_path, "classifier").build(images((1, 8, 8), labelled=False), CPU)
    (tmp_path / "inception.pt").touch()
    for shape, support in ((2, 8, 8), "unit"), ((1, 8, 8), "real"):
        with pytest.raises(ConfigError, match="grey or colour images"):
            refuse_absent(choice(tmp_path, "inception"), DataSpec("odd", "image", shape, support))
    for name in ("auto", "random", "values"):
        refuse_absent(choice(tmp_path, name), grey)


def test_torchmetrics_own_network_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.evaluation.features.choice.has_torch_fidelity", lambda: False)
    with pytest.raises(ConfigError, match="pip install torch-fidelity"):
        refuse_absent(choice(tmp_path, "torchmetrics"), DataSpec("grey", "image", (1, 8, 8), "unit", 256))


# Inception


class Means(torch.nn.Module):
    """Stands for the network: 2,048 copies of each image's mean, seen after scaling."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean([1, 2, 3]).unsqueeze(1).repeat(1, self.features)


def test_inception_sees_three_channels_of_299_in_its_own_range(tmp_path: Path) -> None:
    torch.jit.script(Means(2048)).save(str(tmp_path / "inception.pt"))
    data = images((1, 9, 13), labelled=True)
    extractor = choice(tmp_path, "inception").build(data, CPU)
    grey = torch.tensor([0.0, 0.5, 1.0, 1.5]).view(4, 1, 1, 1).expand(4, 1, 9, 13)
    features = extractor.extract([grey])
    assert features.shape == (4, 2048)
    torch.testing.assert_close(features[:, 0], torch.tensor([-1.0, 0.0, 127 / 128, 127 / 128]))
    assert extractor.about["resize"].startswith("299 x 299")
    assert len(extractor.about["weights"]) == 12


@pytest.mark.parametrize("broken", ["bytes", "width"])
def test_a_file_that_is_no_inception_is_refused(broken: str, tmp_path: Path) -> None:
    if broken == "bytes":
        (tmp_path / "inception.pt").write_bytes(b"not a network")
    else:
        torch.jit.script(Means(1008)).save(str(tmp_path / "inception.pt"))
    with pytest.raises(ConfigError, match=r"task\.inception=.*returns \(B, 2048\)"):
        choice(tmp_path, "inception").build(images((1, 8, 8), labelled=True), CPU)


def test_tensorflow_reads_pixel_i_at_i_times_the_scale() -> None:
    """A ramp of 4 pixels stretched to 8: 0, 0.5, 1, ... without a half-pixel shift, the last one held."""
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    row = resize_tensorflow1(ramp, 8)[0, 0, 3]
    torch.testing.assert_close(row, torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3]))
    column = resize_tensorflow1(ramp.transpose(2, 3), 8)[0, 0, :, 5]
    torch.testing.assert_close(column, row)
    torch.testing.assert_close(resize_tensorflow1(ramp, 4), ramp)


def test_small_images_are_left_as_they_are() -> None:
    small = torch.rand(2, 3, 64, 20)
    assert limit_side(small, 64) is small
    assert limit_side(torch.rand(2, 3, 65, 20), 64).shape == (2, 3, 64, 20)


class Counting(Extractor):
    """Costly, and counts how often it is asked."""

    costly = True

    def __init__(self, weights: str) -> None:
        super().__init__(CPU)
        self.about, self.asked = {"extractor": "counting", "weights": weights}, 0

    def features(self, examples: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return examples.flatten(1)


def test_costly_features_of_real_data_are_taken_once_for_data_rows_and_weights(tmp_path: Path) -> None:
    extractor, rows = Counting("a"), torch.rand(5, 3)
    for _ in range(2):
        assert torch.equal(real_features(extractor, tmp_path, "data", "5 of test", lambda: rows), rows)
    assert extractor.asked == 1
    real_features(extractor, tmp_path, "other data", "5 of test", lambda: rows)
    real_features(extractor, tmp_path, "data", "4 of test", lambda: rows)
    assert extractor.asked == 3
    other = Counting("b")
    real_features(other, tmp_path, "data", "5 of test", lambda: rows)
    assert other.asked == 1
