"""Exported programs give what the model gives, from the values that a user's files hold, for any number of examples."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch

import vaelab
from saved_models import (
    backbones,
    image_run,
    made,
    music_run,
    numbers_run,
    people,
    run_of,
    series_run,
    table_run,
    text_run,
)
from saved_models import pictures as write_pictures
from series_files import waves, write_csv
from vaelab.data.images.images import Images
from vaelab.data.scaling import Scaling
from vaelab.data.series.series import Series
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError, UserError
from vaelab.evaluation.scores import Detector
from vaelab.evaluation.scores.conformal import conformal_threshold
from vaelab.trained import Trained
from vaelab.trained.export import formats
from vaelab.trained.export.folder import whole_folder
from vaelab.trained.export.units import Pixels, Scale

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def run_onnx(path: Path, **inputs: Any) -> list[Any]:
    """What a fresh session gives."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, inputs)


def run_torch(path: Path, *inputs: Any) -> list[Any]:
    """What a reloaded program gives."""
    with torch.no_grad():
        found = torch.export.load(path).module()(*map(torch.from_numpy, inputs))
    return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]


def detecting(run: Path, things: Any, score: str) -> Trained:
    """The model of a run with a detector that was fitted to examples, and one alarm in ten among them."""
    trained = vaelab.load(run)
    x = torch.cat([batch.target for batch in trained.part(things).batches(torch.device("cpu"))])
    detector = Detector(trained.model, nll_samples=5)
    with torch.no_grad():
        detector.fit(lambda: [x])
    clean = detector.score(x, score).double()
    detector.threshold, detector.clean = conformal_threshold(score, clean, 0.1), clean
    for name, content in detector.files().items():
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return vaelab.load(run)


def pixels(count: int, seed: int = 0, size: tuple[int, int] = (8, 8)) -> Any:
    """`(N, H, W, C)` uint8, as NumPy and PIL have them."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def as_input(images: Any) -> Any:
    """`(N, C, H, W)` float32, as programs take them."""
    return images.transpose(0, 3, 1, 2).astype(np.float32)


def cells(frame: pd.DataFrame, about: dict[str, Any]) -> Any:
    """Rows as `export.json` says that a program takes them."""
    columns = []
    for column in about["columns"]:
        values = frame[column["name"]]
        if column["kind"] == "date":
            unit = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
            since = np.asarray(values, dtype=f"datetime64[{unit[column['unit'].split()[0]]}]")
            columns.append(since.astype(np.int64).astype(np.float64))
        elif "categories" in column:
            columns.append(np.array([column["categories"].index(str(value)) for value in values], np.float64))
        else:
            columns.append(values.to_numpy(np.float64))
    return np.stack(columns, 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path, dict[str, Any]]:
    """A model of images whose score is the usual one, and what was exported of it."""
    home = tmp_path_factory.mktemp("images")
    trained = detecting(image_run(home), pixels(20, 1), "combined")
    out = home / "deep/exported"
    return trained, out, trained.export(out)


def test_images_are_encoded_from_pixels(images: tuple[Trained, Path, Any]) -> None:
    trained, out, _ = images
    for count in (1, 5):
        given = pixels(count, count)
        expected = trained.encode(given)
        (onnx_codes,) = run_onnx(out / "encoder.onnx", x=as_input(given))
        (torch_codes,) = run_torch(out / "encoder.pt2", as_input(given))
        np.testing.assert_allclose(onnx_codes, expected, **CLOSE)
        np.testing.assert_allclose(torch_codes, expected, **CLOSE)
        turned = np.asfortranarray(as_input(given))  # another layout in memory
        np.testing.assert_allclose(run_torch(out / "encoder.pt2", turned)[0], expected, **CLOSE)
        np.testing.assert_allclose(run_onnx(out / "encoder.onnx", x=turned)[0], expected, **CLOSE)
        assert onnx_codes.dtype == np.float32


def test_codes_are_decoded_to_pixels(images: tuple[Trained, Path, Any]) -> None:
    trained, out, _ = images
    for count in (1, 5):
        codes = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
        expected = trained.decode(torch.from_numpy(codes)).numpy() * 255
        (found,) = run_onnx(out / "decoder.onnx", code=codes)
        np.testing.assert_allclose(found, expected, rtol=0, atol=255e-4)
        np.testing.assert_allclose(run_torch(out / "decoder.pt2", codes)[0], expected, rtol=0, atol=255e-4)
        shown = np.stack([np.asarray(image) for image in trained.decode(codes)])
        assert np.abs(as_input(shown) - found).max() < 0.51  # rounded


def test_the_score_is_that_of_the_run_with_its_alarm(images: tuple[Trained, Path, Any]) -> None:
    trained, out, about = images
    threshold = trained.scorer.threshold
    assert threshold is not None
    for count in (1, 30):
        given = pixels(count, 1)
        verdicts = trained.detect(given)
        x = as_input(given)
        for score, alarm in (run_onnx(out / "score.onnx", x=x), run_torch(out / "score.pt2", x)):
            np.testing.assert_allclose(score, trained.score(given), **CLOSE)
            apart = np.abs(score - threshold.value) > 1e-3  # one of them set the threshold, and rounding decides on it
            assert (alarm == verdicts["alarm"])[apart].all()
    assert verdicts["alarm"][apart].any()
    assert not verdicts["alarm"][apart].all()
    program = about["programs"]["score"]
    assert (program["score"], program["threshold"], program["false_alarm_rate"]) == ("combined", threshold.value, 0.1)


def test_export_json_says_what_programs_take_and_give(images: tuple[Trained, Path, Any]) -> None:
    _, out, about = images
    assert json.loads((out / "export.json").read_text()) == about
    files = {f"{part}{suffix}" for part in ("encoder", "decoder", "score") for suffix in (".onnx", ".pt2")}
    assert {path.name for path in out.iterdir()} == {*files, "export.json"}
    assert [path.name for path in out.parent.iterdir()] == ["exported"]  # nothing half-written
    assert about["not_exported"] == {}
    assert 0 <= about["largest_difference"] <= 1e-4
    for name, program in about["programs"].items():
        session = onnxruntime.InferenceSession(str(out / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        for side, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            said = [(one["name"], one["shape"]) for one in program[side]]
            assert said == [(one.name, one.shape) for one in values]
            assert all(one["unit"] for one in program[side])


def test_a_file_holds_no_path_of_this_machine_and_no_weights_of_another_part(images: tuple[Trained, Path, Any]) -> None:
    trained, out, _ = images
    for name, mine in (("encoder", trained.model.encoder), ("decoder", trained.model.decoder)):
        program = torch.export.load(out / f"{name}.pt2")
        weights = {tuple(weight.shape) for weight in mine.parameters()} | {tuple(trained.model.offset.shape)}
        assert {tuple(value.shape) for value in program.state_dict.values()} <= weights
        assert not any(node.meta.get("stack_trace") for node in program.graph.nodes)
        content = (out / f"{name}.onnx").read_bytes()
        assert b".py" not in content
        assert onnx.load_from_string(content).producer_name == "vaelab"


def test_rows_are_encoded_from_the_cells_of_a_file(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    about = trained.export(tmp_path / "out", ["onnx"], ["encoder"])
    (takes,) = about["programs"]["encoder"]["inputs"]
    assert [column["kind"] for column in takes["columns"]] == ["number", "number", "category", "date"]
    assert takes["missing"] == "NaN"
    frame = people(7, seed=3)  # row 3 has no age
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=cells(frame, takes))
    np.testing.assert_allclose(codes, trained.encode(frame), **CLOSE)


@pytest.mark.parametrize("method", ["standard", "robust", "quantile"])
def test_the_scaling_inside_is_that_of_the_data(method: str) -> None:
    generator = np.random.default_rng(0)
    rows = np.stack([
        generator.normal(1e6, 1, 3000),  # distinct values
        generator.integers(0, 4, 3000).astype(float),  # ties
        generator.exponential(5, 3000) * (generator.random(3000) < 0.5),  # half of them 0
    ], 1)  # fmt: skip
    rows[::7, 0] = np.nan
    scaling = Scaling.fit(method, rows)
    scale = Scale(scaling)
    later = np.concatenate([rows[:200], rows[:200] + generator.normal(size=(200, 3)), [[-1e9, -5, -1], [1e9, 9, 99]]])
    expected = scaling.forward(later)
    np.testing.assert_allclose(scale(torch.from_numpy(later)).numpy(), expected, rtol=1e-12, atol=1e-12)
    scores = np.concatenate([generator.normal(size=(300, 3)), expected[:200].astype(np.float32), [[-9, -9, -9]]])
    found = scale.inverse(torch.from_numpy(scores)).numpy()
    np.testing.assert_allclose(found, scaling.inverse(scores), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("binarize", "support"), [(None, "unit"), ("threshold", "binary")])
def test_pixels_become_what_the_data_module_makes_of_them(tmp_path: Path, binarize: Any, support: str) -> None:
    data = made(Images, "images", write_pictures(tmp_path / "pictures"), size=(8, 8), binarize=binarize)
    trained = vaelab.load(run_of(data, tmp_path / "run"))
    assert trained.spec.support == support
    given = pixels(4)
    (batch,) = trained.part(given).batches(torch.device("cpu"))
    assert trained.reading is not None
    units = Pixels(trained.spec, trained.reading.settings["binarize"])
    assert torch.equal(units.seen(torch.from_numpy(as_input(given))), batch.x)


# What is refused, and what is left


def test_step_by_step_generation_is_refused_by_name(tmp_path: Path) -> None:
    trained = vaelab.load(text_run(tmp_path))
    with pytest.raises(ConfigError, match="decoder: GRUDecoder is autoregressive"):
        trained.export(tmp_path / "out", parts=["decoder"])
    assert not (tmp_path / "out").exists()


def test_misuse_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = vaelab.load(numbers_run(tmp_path))
    before = sorted(path.name for path in tmp_path.iterdir())
    for settings, said in [
        ({"to": ["onx"]}, "to=onx: should be one of onnx, torch; did you mean onnx"),
        ({"to": []}, "to=: name one or more of onnx, torch"),
        ({"parts": ["coder"]}, "parts=coder: should be one of encoder, decoder, score"),
        ({"score": "nothing"}, "score=nothing: this model has"),
    ]:
        with pytest.raises(ConfigError, match=said):
            trained.export(tmp_path / "out", **settings)  # type: ignore[arg-type]
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxruntime" else True)
    with pytest.raises(ConfigError, match=r"needs the package onnxruntime; pip install 'vaelab\[export\]'"):
        trained.export(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_program_that_is_not_the_model_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = vaelab.load(numbers_run(tmp_path))
    real = formats.Reloaded.__call__
    monkeypatch.setattr(formats.Reloaded, "__call__", lambda self, inputs: [one + 1e-3 for one in real(self, inputs)])
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match=r"encoder\.pt2: differs from the model by 0\.001, more than 0\.0001"):
        trained.export(tmp_path / "out", ["torch"])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_model_stays_as_it_was(images: tuple[Trained, Path, Any]) -> None:
    trained, _, _ = images
    assert all(weight.requires_grad for weight in trained.model.parameters())


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder, stale = tmp_path / "a/out", ["a.onnx", "b.onnx", "about.json"]

    def write_half() -> None:
        with whole_folder(folder, "about.json", stale) as partial:
            (partial / "a.onnx").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert not list(folder.parent.iterdir())
    with whole_folder(folder, "about.json", stale) as partial:
        for name in ("a.onnx", "b.onnx", "about.json"):
            (partial / name).write_text("first")
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(RuntimeError):
        write_half()
    assert (folder / "a.onnx").read_text() == "first"
    with whole_folder(folder, "about.json", stale) as partial:
        (partial / "a.onnx").write_text("second")
        (partial / "about.json").write_text("second")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a.onnx": "second", "about.json": "second", "mine.txt": "mine",
    }  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


# The rest, which takes longer


@pytest.mark.long
def test_a_table_goes_through_all_programs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    trained = detecting(table_run(home), people(60), "combined")
    about = trained.export(tmp_path / "out")
    frame = people(9, seed=5)
    x = cells(frame, about["programs"]["encoder"]["inputs"][0])
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=x)
    np.testing.assert_allclose(codes, trained.encode(frame), **CLOSE)
    score, alarm = run_onnx(tmp_path / "out/score.onnx", x=x)
    np.testing.assert_allclose(score, trained.score(frame), **CLOSE)
    assert (alarm == trained.detect(frame)["alarm"]).all()
    (rows,) = run_onnx(tmp_path / "out/decoder.onnx", code=codes)
    again, (gives,) = trained.decode(codes), about["programs"]["decoder"]["outputs"]
    for place, column in enumerate(gives["columns"]):
        values = again[column["name"]]
        if column["kind"] == "category":
            assert [column["categories"][int(code)] for code in rows[:, place]] == values.tolist()
        elif column["kind"] == "date":
            apart = np.abs(rows[:, place] - cells(again, {"columns": [column]})[:, 0])
            assert apart.max() <= 86_400_000  # days of a file, and counts that are not rounded
        else:
            whole = column["name"] == "children"
            np.testing.assert_allclose(rows[:, place], values.to_numpy(float), rtol=1e-4, atol=0.51 if whole else 1e-3)


@pytest.mark.long
def test_numbers_scaled_by_quantiles_go_through_all_programs(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = np.stack([generator.normal(1e4, 1, 200), generator.integers(0, 5, 200)], 1)
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(tmp_path / "n.csv", index=False)
    trained = vaelab.load(run_of(made(Table, "table", tmp_path / "n.csv", scaling="quantile"), tmp_path / "run"))
    trained.export(tmp_path / "out", ["onnx"])
    later = rows[:20] + generator.normal(size=(20, 2))
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=later)
    frame = pd.DataFrame(later, columns=["a", "b"])
    np.testing.assert_allclose(codes, trained.encode(frame), **CLOSE)
    (score,) = run_onnx(tmp_path / "out/score.onnx", x=later)
    np.testing.assert_allclose(score, trained.score(frame), **CLOSE)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["conv1d", "gru", "transformer"])
def test_series_go_through_all_programs(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_csv(home / "long.csv", waves(1, steps=400)[0] * 40 + 1e5)
    small = {"conv1d": {"widths": [4, 8]}, "gru": {"width": 8}, "transformer": {"width": 8, "layers": 1, "heads": 2}}
    data = made(Series, "series", home / "long.csv", window=16)
    run = run_of(data, home / "run", **backbones(kind, kind, **small[kind]))
    trained = detecting(run, home / "long.csv", "combined")
    trained.export(tmp_path / "out")
    x = waves(1, steps=400)[0][:, 40:152].reshape(2, 7, 16).transpose(1, 0, 2) * 40.0 + 1e5
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=np.ascontiguousarray(x))
    np.testing.assert_allclose(codes, trained.encode(x), **CLOSE)
    (series,) = run_torch(tmp_path / "out/decoder.pt2", codes)
    np.testing.assert_allclose(series, trained.decode(codes), rtol=0, atol=4e-3)
    score, alarm = run_onnx(tmp_path / "out/score.onnx", x=np.ascontiguousarray(x))
    np.testing.assert_allclose(score, trained.score(x), **CLOSE)
    assert (alarm == trained.detect(x)["alarm"]).all()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_tokens_are_encoded_and_scored_and_no_text_is_generated(tmp_path: Path, kind: str) -> None:
    from vaelab.data.text.text import Text

    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in ["alpha", "beta gamma", "rho", "nu xi"] * 8))
    small = {"gru": {"width": 8, "layers": 2}, "transformer": {"width": 8, "layers": 1, "heads": 2}}
    data = made(Text, "text", tmp_path / "words.txt", max_length=12)
    trained = vaelab.load(run_of(data, tmp_path / "run", **backbones(kind, kind, **small[kind])))
    about = trained.export(tmp_path / "out")
    assert list(about["programs"]) == ["encoder", "score"]
    assert "is autoregressive" in about["not_exported"]["decoder"]
    words = ["a", "gamma alpha", "nu"]
    (batch,) = trained.part(words).batches(torch.device("cpu"))
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=batch.x.numpy())
    np.testing.assert_allclose(codes, trained.encode(words), **CLOSE)
    (score,) = run_onnx(tmp_path / "out/score.onnx", x=batch.x.numpy())
    np.testing.assert_allclose(score, trained.score(words), **CLOSE)


@pytest.mark.long
def test_rolls_are_encoded(tmp_path: Path) -> None:
    trained = vaelab.load(music_run(tmp_path))
    about = trained.export(tmp_path / "out", ["onnx"])
    assert list(about["programs"]) == ["encoder"]
    assert "MusicDecoder, which is autoregressive" in about["not_exported"]["score"]
    song = min((tmp_path / "songs").glob("*.mid"))
    x = torch.cat([batch.x for batch in trained.part(song).batches(torch.device("cpu"))])
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=x.numpy())
    np.testing.assert_allclose(codes, trained.encode(song), **CLOSE)


RUNS: dict[str, tuple[Callable[[Path], Path], Any]] = {
    "image": (image_run, lambda home: pixels(20)),
    "table": (table_run, lambda home: people(60)),
    "series": (series_run, lambda home: home / "long.csv"),
    "text": (text_run, lambda home: home / "words.txt"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", RUNS)
def test_scores_of_every_modality_are_exported(tmp_path: Path, kind: str) -> None:
    build, things = RUNS[kind]
    trained = detecting(build(tmp_path), things(tmp_path), "reconstruction")
    drawn = ("elbo", "nll")  # take a minute to trace, and are the same code for all
    for name in [name for name in trained.scorer.names if kind == "table" or name not in drawn]:
        about = trained.export(tmp_path / name, ["onnx"], ["score"], name)
        assert about["programs"]["score"]["largest_difference"]["onnx"] <= 1e-4
        if kind == "image":
            found = run_onnx(tmp_path / name / "score.onnx", x=as_input(pixels(20)))[0]
            np.testing.assert_allclose(found, trained.score(pixels(20), name), **CLOSE)


@pytest.mark.long
@pytest.mark.parametrize(("model", "parts"), [
    ("AE", {}),
    ("VAE", backbones("conv", "conv", widths=[4, 8])),
    ("VAE", {"posterior": {"_target_": "vaelab.latents.FSQ", "levels": [5, 3, 3]}}),
    ("LadderVAE", {"settings": {"top_dim": 2, "hidden": 8}}),
    ("VAE", backbones("resnet", "resnet", widths=[4, 8], blocks=1)),
])  # fmt: skip
def test_other_models_go_through_all_programs(tmp_path: Path, model: str, parts: dict[str, Any]) -> None:
    trained = vaelab.load(image_run(tmp_path, model, **parts))
    trained.export(tmp_path / "out", ["onnx"])
    given = pixels(4)
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", x=as_input(given))
    np.testing.assert_allclose(codes, trained.encode(given), **CLOSE)
    (again,) = run_onnx(tmp_path / "out/decoder.onnx", code=codes)
    expected = trained.decode(torch.from_numpy(codes)).numpy() * 255
    np.testing.assert_allclose(again, expected, rtol=0, atol=255e-4)


@pytest.mark.long
def test_a_model_that_is_given_labels_takes_them(tmp_path: Path) -> None:
    people().to_csv(tmp_path / "people.csv", index=False)
    data = made(Table, "table", tmp_path / "people.csv", label="city", label_as_column=False)
    trained = vaelab.load(run_of(data, tmp_path / "run", settings={"condition": "label", "condition_size": 4}))
    about = trained.export(tmp_path / "out")
    x, label = about["programs"]["encoder"]["inputs"]
    assert label["classes"] == list(trained.spec.classes)
    frame = people(8, seed=2)
    given = {"x": cells(frame, x), "label": np.array([label["classes"].index(city) for city in frame["city"]])}
    (codes,) = run_onnx(tmp_path / "out/encoder.onnx", **given)
    np.testing.assert_allclose(codes, trained.encode(frame), **CLOSE)
    (rows,) = run_torch(tmp_path / "out/decoder.pt2", codes, given["label"])
    again = trained.decode(codes, frame["city"].tolist())
    np.testing.assert_allclose(rows[:, 0], again["age"].to_numpy(float), atol=1e-3)


@pytest.mark.long
def test_the_shell_says_one_line(tmp_path: Path) -> None:
    run = text_run(tmp_path)
    words = ["export", run, "--to", "torch", "-o", tmp_path / "out"]
    done = subprocess.run([sys.executable, "-m", "vaelab", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("wrote 2 programs (encoder.pt2, score.pt2) to ")
    assert done.stdout.count("\n") == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("note: decoder: is not exported; GRUDecoder is autoregressive")
    again = subprocess.run([sys.executable, "-m", "vaelab", *map(str, words)], capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not empty; name a new folder, or add --overwrite" in again.stderr
