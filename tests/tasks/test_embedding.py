"""Embedding: latents stay with their examples, numbers are those of their definitions, the page stands alone."""

import base64
import json
import re
import sys
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from in_memory import InMemory, digits
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.config.builder import Builder
from vaelab.core import DataSpec
from vaelab.corruptions import Gaussian
from vaelab.data.images.digits import Digits
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.latents import encode_split
from vaelab.figures.embedding_page import embedding_page
from vaelab.figures.latent_space import decoded_plane
from vaelab.figures.projection import Projection, project
from vaelab.figures.scatter import arrange
from vaelab.likelihoods import Gaussian as GaussianLikelihood
from vaelab.models import AE
from vaelab.tasks import Embedding, Findings, Task
from vaelab.tasks.embedding.quality import Protocol, subset

SETTINGS: dict[str, Any] = {
    "monitor": None,
    "baselines": True,
    "pictures_every": None,
    "projection": "auto",
    "neighbours": 5,
    "neighbourhood_examples": 150,
    "probe_examples": 400,
    "probe_iterations": 100,
    "shown_examples": 120,
}
PROTOCOL = Protocol(5, 150, 400, 100)


def sensors(labelled: bool) -> InMemory:
    values = torch.randn(90, 7, generator=torch.Generator().manual_seed(0))
    label = torch.arange(90) % 3 if labelled else torch.full((90,), -1)
    return InMemory(
        values, DataSpec("sensors", "table", (7,), "real"), label, batch_size=16, val_fraction=0.2, test_fraction=0.3
    )


def autoencoder(data: DataModule, latent_dim: int) -> AE:
    torch.manual_seed(0)
    shape = data.spec.shape
    decoder = MLPDecoder(latent_dim, (1, *shape), [12], activation="relu")
    return AE(
        MLPEncoder(shape, latent_dim, [12], activation="relu"), decoder, GaussianLikelihood(data.spec, 1.0), latent_dim
    ).eval()


def findings(task: Embedding, model: AE, data: DataModule, tmp_path: Any) -> Findings:
    with torch.no_grad():
        return task.findings(model, data, BaselineCache(tmp_path / "baselines", data)).complete()


def carried(page: str) -> dict[str, Any]:
    """What a page shows."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Digits, AE, Findings]:
    data = digits()
    model = autoencoder(data, 3)
    return data, model, findings(Embedding(**SETTINGS), model, data, tmp_path_factory.mktemp("found"))


# Latents


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_row_of_a_latents_file_is_the_code_of_the_example_it_names(found, split: str) -> None:
    data, model, result = found
    table = pd.read_parquet(BytesIO(result.files[f"latents/{split}.parquet"]))
    assert list(table.columns) == ["index", "label", "class", "z0", "z1", "z2"]
    assert table["index"].tolist() == data.split[split].tolist()
    assert table["label"].tolist() == data.labels(split).tolist()
    assert table["class"].tolist() == [str(label) for label in data.labels(split).tolist()]
    codes = table[["z0", "z1", "z2"]]
    assert set(codes.dtypes.astype(str)) == {"float32"}
    values, label = data._loaded.values, data._loaded.label  # the whole set, in its own order
    rows = torch.tensor(table["index"].tolist())
    assert label[rows].tolist() == table["label"].tolist()
    with torch.no_grad():
        again = model.encode(values[rows].float() / 16)
    np.testing.assert_allclose(codes.to_numpy(), again.numpy(), atol=1e-5)


def test_the_hub_library_reads_latents(found, tmp_path) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(found[2].files["latents/test.parquet"])
    loaded = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert (loaded.num_rows, loaded.features["z0"].dtype, loaded.features["class"].dtype) == (359, "float32", "string")


def test_the_example_itself_is_encoded_and_not_its_corrupted_form() -> None:
    clean, noisy = digits(), digits(Gaussian(0.5))
    model = autoencoder(clean, 3)
    with torch.no_grad():
        a, b = encode_split(model, clean, "test"), encode_split(model, noisy, "test")
    np.testing.assert_array_equal(a.codes, b.codes)


def test_latents_are_of_the_whole_split_on_the_first_of_two_devices() -> None:
    data = digits()
    data.trainer = SimpleNamespace(
        global_rank=0, world_size=2, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    with torch.no_grad():
        latents = encode_split(autoencoder(data, 3), data, "test")
    assert len(latents.codes) == len(latents.label) == len(latents.index) == 359


# Numbers


def test_baselines_are_what_scikit_learn_gives_on_the_same_split(found) -> None:
    data, _, result = found
    train, test = (data.clean(split).flatten(1).numpy() for split in ("train", "test"))
    fitted = PCA(3).fit(train)
    spaces = {"pca": (fitted.transform(train), fitted.transform(test)), "pixels": (train, test)}
    y, y_test = data.labels("train").numpy(), data.labels("test").numpy()
    few = subset(len(y), 400)
    for name, (a, b) in spaces.items():
        knn = KNeighborsClassifier(5).fit(a, y).score(b, y_test)
        scaler = StandardScaler().fit(a[few])
        probe = LogisticRegression(max_iter=1000).fit(scaler.transform(a[few]), y[few])
        assert result.numbers[f"baseline/{name}/knn_accuracy"] == pytest.approx(knn, abs=0.003)
        linear = probe.score(scaler.transform(b), y_test)
        assert result.numbers[f"baseline/{name}/linear_probe_accuracy"] == pytest.approx(linear, abs=0.003)
    rows = subset(len(test), 150)
    trust = trustworthiness(test[rows], spaces["pca"][1][rows], n_neighbors=5)
    assert result.numbers["baseline/pca/trustworthiness"] == pytest.approx(trust, abs=1e-4)
    assert "baseline/pixels/trustworthiness" not in result.numbers  # that of the identity is 1


def test_the_same_model_has_the_same_findings(found, tmp_path) -> None:
    data, model, result = found
    again = findings(Embedding(**SETTINGS), model, data, tmp_path)
    assert (again.numbers, again.metadata, again.files) == (result.numbers, result.metadata, result.files)


def test_what_numbers_depend_on_stands_beside_them(found) -> None:
    result = found[2]
    own = {name for name in result.numbers if name.startswith("test/")}
    assert own == {name for name in result.metadata if name.startswith("test/")}
    assert result.metadata["test/trustworthiness"]["test_examples"] == 150
    assert result.metadata["test/knn_accuracy"] == {"k": 5, "train_examples": 1294, "test_examples": 359}


# Data of other kinds


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
@pytest.mark.parametrize("projection", ["auto", "latent", "pca", "tsne"])
def test_rows_without_labels_keep_what_needs_none(latent_dim: int, projection: str, tmp_path) -> None:
    data = sensors(labelled=False)
    task = Embedding(**SETTINGS | {"projection": projection, "shown_examples": 20})
    result = findings(task, autoencoder(data, latent_dim), data, tmp_path)
    assert {name.rpartition("/")[2] for name in result.numbers} == {"trustworthiness", "continuity"}
    table = pd.read_parquet(BytesIO(result.files["latents/test.parquet"]))
    assert (table["label"] == -1).all()
    assert table["class"].isna().all()
    shown = carried(result.files["embedding.html"])
    assert shown["sprite"] is None
    assert not shown["byClass"]
    order = np.argsort(shown["error"], kind="stable")
    assert (np.diff(np.array(shown["group"])[order]) >= 0).all()  # shades grow with the error


@pytest.mark.parametrize("projection", ["auto", "pca", "tsne"])
@pytest.mark.parametrize("latent_dim", [2, 3])
def test_a_collapsed_code_is_a_result_and_no_error(projection: str, latent_dim: int, tmp_path) -> None:
    data = sensors(labelled=True)
    model = autoencoder(data, latent_dim)
    with torch.no_grad():
        for weights in model.encoder.parameters():
            weights.zero_()
    result = findings(Embedding(**SETTINGS | {"projection": projection}), model, data, tmp_path)
    assert result.numbers["test/knn_accuracy"] < 0.6
    assert np.isfinite([*result.numbers.values(), *carried(result.files["embedding.html"])["x"]]).all()


def test_classes_without_names_go_by_their_number(tmp_path) -> None:
    data = sensors(labelled=True)
    result = findings(Embedding(**SETTINGS), autoencoder(data, 2), data, tmp_path)
    assert [g["name"] for g in carried(result.files["embedding.html"])["groups"]] == ["0", "1", "2"]
    assert "test/knn_accuracy" in result.numbers


# Figures


def test_missing_umap_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    data = digits()
    task = Embedding(**SETTINGS | {"projection": "umap"})
    with pytest.raises(ConfigError, match="pip install umap-learn"):
        task.check(autoencoder(data, 3), data.spec, corrupts=False)


@pytest.mark.parametrize(
    ("key", "value"), [("projection", "mds"), ("neighbours", 0), ("shown_examples", 1_000_000), ("probe_examples", 1)]
)
def test_options_out_of_range_are_refused_by_name(key: str, value: Any) -> None:
    node = {"_target_": "vaelab.tasks.Embedding", **SETTINGS, key: value}
    with pytest.raises(ConfigError, match=rf"task\.{key}="):
        Builder().check(node, "task", Task)


def test_projections_place_latents_as_they_say() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(200, 3)) * [1, 5, 3]
    as_it_is = project("latent", train, train[:50])
    assert as_it_is.axes == ("z[1]", "z[2]")  # the widest two
    np.testing.assert_array_equal(as_it_is.points, train[:50, 1:])
    assert project("auto", train, train[:50]).name == "PCA of latents"
    assert project("auto", train[:, :2], train[:50, :2]).name == "latents"
    reference = PCA(2).fit(train)
    assert f"{reference.explained_variance_ratio_[0]:.0%}" in project("pca", train, train[:50]).axes[0]
    a, b = (project("tsne", train, train[:50]).points for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_the_decoded_plane_grows_to_the_right_and_upwards() -> None:
    """The decoder paints z[0] into the first channel and z[1] into the second."""
    codes = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))

    def decode(z: torch.Tensor) -> torch.Tensor:
        return torch.cat([z, torch.zeros(len(z), 1)], dim=1).view(-1, 3, 1, 1).expand(-1, 3, 4, 4)

    (axes,) = decoded_plane(decode, codes).axes
    picture, (left, right, bottom, top) = axes.images[0].get_array(), axes.images[0].get_extent()
    first, last = picture[0, 0], picture[-1, -1]  # above left, below right
    assert first[0] < 0.05 < 0.95 < first[1]
    assert last[1] < 0.05 < 0.95 < last[0]
    assert left < 0.01 < 0.99 < right
    assert bottom < 0.01 < 0.99 < top


def test_the_decoded_plane_is_drawn_where_there_is_a_plane_of_images(found, tmp_path) -> None:
    data, _, result = found
    assert set(result.figures) == {"embedding", "latent_spectrum"}
    plane = findings(Embedding(**SETTINGS), autoencoder(data, 2), data, tmp_path)
    assert set(plane.figures) == {"embedding", "decoded_plane"}


# The page


def test_the_page_asks_nobody_for_anything(found) -> None:
    page = found[2].files["embedding.html"]
    assert "://" not in page
    assert "{{" not in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|fetch\(|XMLHttp|import\s*\(""", page)
    assert re.search(r'<html lang="en">.*<title>[^<]+</title>', page, re.DOTALL)


def test_the_page_holds_the_points_it_speaks_of_each_with_its_own_label(found) -> None:
    data, _, result = found
    page = result.files["embedding.html"]
    shown = carried(page)
    rows = subset(359, 120)
    assert "120 of 359 test examples" in page
    assert all(len(shown[key]) == 120 for key in ("x", "y", "index", "group", "error"))
    assert shown["index"] == data.split["test"][rows].tolist()
    assert shown["group"] == data.labels("test")[rows].tolist()
    assert [g["name"] for g in shown["groups"]] == list("0123456789")
    assert len({g["color"] for g in shown["groups"]}) == 10


def test_each_thumbnail_is_the_picture_of_its_example(found) -> None:
    data, _, result = found
    sprite = carried(result.files["embedding.html"])["sprite"]
    sheet = np.asarray(Image.open(BytesIO(base64.b64decode(sprite["source"].partition(",")[2]))))
    clean = (data.clean("test")[subset(359, 120)] * 255).round()[:, 0].numpy()
    for i, picture in enumerate(clean):
        top, left = 8 * (i // sprite["columns"]), 8 * (i % sprite["columns"])
        np.testing.assert_array_equal(sheet[top : top + 8, left : left + 8], picture)


def test_a_class_name_cannot_become_part_of_the_page() -> None:
    names = ("</script><script>alert(1)</script>", "a & b")
    projection = Projection(np.zeros((2, 2)), ("x", "y"), "latents")
    scatter = arrange(projection, "<b>title</b>", np.arange(2), np.arange(2), names, None)
    page = embedding_page(scatter, None, {"data": "<i>"})
    assert "alert" not in re.sub(r'<script id="data".*?</script>', "", page, flags=re.DOTALL)
    assert "<b>title" not in page
    assert "<i>" not in page
    assert [g["name"] for g in carried(page)["groups"]] == list(names)


@pytest.mark.parametrize("channels", [2, 3])
def test_a_page_of_many_large_noisy_pictures_stays_small(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2000, channels, 40, 60, generator=generator)
    label = np.zeros(2000, dtype=np.int64)
    projection = Projection(np.random.default_rng(0).normal(size=(2000, 2)), ("x", "y"), "latents")
    page = embedding_page(arrange(projection, "many", np.arange(2000), label, ("a",), None), images, {})
    assert len(page.encode()) < 3_000_000
    sprite = carried(page)["sprite"]
    size = Image.open(BytesIO(base64.b64decode(sprite["source"].partition(",")[2]))).size
    assert size == (45 * sprite["width"], 45 * sprite["height"])


def test_a_run_leaves_all_of_it_in_its_folder(train) -> None:
    folder = train("task=embedding", "model=ae", "latent_dim=2", "debug=fdr")
    numbers = json.loads((folder / "metrics.json").read_text())
    own = {"knn_accuracy", "linear_probe_accuracy", "trustworthiness", "continuity"}
    assert {f"test/{name}" for name in own} | {f"baseline/pca/{name}" for name in own} <= set(numbers)
    assert {"baseline/pixels/knn_accuracy", "baseline/pixels/linear_probe_accuracy"} <= set(numbers)
    assert sorted(path.name for path in (folder / "latents").iterdir()) == [
        "test.parquet",
        "train.parquet",
        "val.parquet",
    ]
    assert {path.stem for path in (folder / "figures").iterdir()} >= {"embedding", "decoded_plane"}
    assert (folder / "embedding.html").stat().st_size < 3_000_000
