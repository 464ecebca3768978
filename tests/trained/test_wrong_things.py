"""What a trained model does not take is one message, never a confident number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vaelab
from saved_models import image_run, numbers_run, people, series_run, table_run, text_run, timed_run
from series_files import waves, write_csv
from vaelab.errors import CheckpointError, ConfigError, DataError, UserError

FLOATS = torch.rand(2, 3, 8, 8)


@pytest.mark.parametrize(("given", "said"), [
    ((FLOATS * 255).byte(), r"a tensor of uint8 was given; the model takes floats in \[0, 1\]: divide pixels by 255"),
    (FLOATS * 255, r"values are from .* the model takes values that are in \[0, 1\]"),
    (FLOATS[:, :1], r"a tensor of shape \[2, 1, 8, 8\] was given; the model takes \['N', 3, 8, 8\]"),
    (FLOATS[0], r"add a dimension in front"),
    (FLOATS[:0], r"a tensor of shape \[0, 3, 8, 8\]"),
    (FLOATS.where(FLOATS > 0.1, torch.nan), "a value is NaN"),
    (FLOATS.numpy()[0].transpose(1, 2, 0), "image 0: is an array of float32, but pixels must be uint8 from 0 to 255"),
    (np.zeros((4, 4, 2), np.uint8), r"image 0: has shape \[4, 4, 2\]; pixels must be"),
    ([], "no image was given"),
    (["nowhere.png"], "nowhere.png: cannot be read"),
    ([3], "image 0: is int; give PIL images"),
    (Image.new("F", (4, 4), 0.5), "32-bit pixels"),
])  # fmt: skip
def test_what_is_no_image_of_the_model_is_named(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        vaelab.load(image_run(tmp_path)).encode(given)


@pytest.mark.parametrize(("change", "said"), [
    (lambda frame: frame.drop(columns="city"), "lacks columns that the model was trained on: city"),
    (lambda frame: frame.assign(age="old"), "column age"),
    (lambda frame: frame.assign(age=np.inf), "column age: has an infinite value"),
    (lambda frame: frame[:0], "no row was given"),
    (lambda frame: frame.to_numpy(), "an array of object"),
    (lambda frame: pd.concat([frame, frame[["age"]]], axis=1), "columns have the same name: age"),
])  # fmt: skip
def test_what_is_no_row_of_the_model_is_named(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        vaelab.load(table_run(tmp_path)).encode(change(people(5)))


def test_other_things_are_named(tmp_path: Path) -> None:
    for made, given, said in [
        (numbers_run, np.zeros((2, 3)), r"shape \[2, 3\] was given"),
        (series_run, np.zeros((2, 3, 16)), r"shape \[2, 3, 16\] was given; series of this model have shape \[2, 16\]"),
        (series_run, np.zeros((2, 2, 17)), "series of 17 steps were given; those of this model have 16"),
        (series_run, np.full((2, 16), np.nan), "a value is missing"),
        (text_run, [1, 2], "list was given; give a string"),
        (text_run, torch.rand(2, 11), "tokens are whole numbers"),
        (text_run, torch.full((2, 11), 99), "tokens should be 0 to"),
    ]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with pytest.raises(DataError, match=said):
            vaelab.load(made(folder)).encode(given)


def test_codes_of_another_model_are_named(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    for codes, said in [(np.zeros((2, 4)), r"the model has \['N', 3\]"), (np.full((1, 3), np.nan), "finite")]:
        with pytest.raises(DataError, match=said):
            trained.decode(codes)


def test_draws_that_are_impossible_are_named(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    for settings, said in [
        ({"count": 0}, "at least 1"),
        ({"temperature": 0.0}, "temperature 0: should be above 0"),
        ({"label": "cat"}, "the model is given no labels"),
        ({"prior": "other"}, "should be own or fitted"),
    ]:
        with pytest.raises(ConfigError, match=said):
            trained.sample(**settings)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="keeps no fitted prior"):
        trained.sample(prior="fitted")
    with pytest.raises(CheckpointError, match="holds no detector"):
        trained.detect(FLOATS)


@pytest.mark.parametrize("about", [
    [], {}, {"reader": "os.system"}, {"reader": "table"}, {"reader": "images", "fit": "squeeze"},
    {"reader": "images", "path": "/etc/passwd"}, {"reader": "images", "max_pixels": -1}, {"reader": ["images"]},
    {"reader": "images", "background": {"_target_": "os.system"}},
])  # fmt: skip
def test_a_record_of_reading_that_somebody_has_changed_is_one_message(tmp_path: Path, about: Any) -> None:
    run = image_run(tmp_path)
    (run / "model/data.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"data\.json"):
        vaelab.load(run).encode(Image.new("RGB", (8, 8)))


def test_a_module_of_a_users_own_takes_tensors_alone(tmp_path: Path) -> None:
    run = image_run(tmp_path)
    (run / "model/data.json").write_text("null")
    trained = vaelab.load(run)
    assert trained.encode(FLOATS).shape == (2, 3)
    with pytest.raises(DataError, match=r"does not say how such examples are read; give float tensors"):
        trained.encode(Image.new("RGB", (8, 8)))


def test_a_column_of_no_type_is_one_message(tmp_path: Path) -> None:
    run = table_run(tmp_path)
    file = run / "model/table.json"
    file.write_text(file.read_text().replace('"arrow": "string"', '"arrow": "stri{}ng"'))
    with pytest.raises(DataError, match=r"table\.json: is broken"):
        vaelab.load(run).encode(people(5))


@pytest.mark.parametrize(("values", "said"), [
    (20210306, r"column since: 20210306 in row 0 is a number \(int64\), and a date is expected; write it like 2020-12"),
    (3.5, r"column since: 3.5 in row 0 is a number \(double\)"),
    (True, r"column since: True in row 0 is a number \(bool\)"),
    (pd.Categorical([3] * 5), r"column since: 3 in row 0 is a number"),
    (pd.period_range("2021-03-06", periods=5, freq="D"), "column since: holds extension<pandas.period"),
])  # fmt: skip
def test_numbers_are_no_dates(tmp_path: Path, values: Any, said: str) -> None:
    trained = vaelab.load(table_run(tmp_path))
    with pytest.raises(DataError, match=said):
        trained.encode(people(5).assign(since=values))


def test_numbers_in_a_file_are_no_dates(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    later = people(5).assign(since=[20210306, 20210307, 3, 4, 5])
    later.to_csv(tmp_path / "later.csv", index=False)
    later.to_parquet(tmp_path / "later.parquet")
    with pytest.raises(DataError, match=r"column since: 20210306 in row 0 \(line 2 of later.csv\) is a number"):
        trained.encode(tmp_path / "later.csv")
    with pytest.raises(DataError, match=r"column since: 20210306 in row 0 is a number"):
        trained.encode(tmp_path / "later.parquet")


@pytest.mark.parametrize("codes", [
    np.full((1, 3), 1e39), [[1e39, 0, 0]], torch.full((1, 3), 1e39, dtype=torch.float64), None, "abc", 5,
    [[1.0, 2.0, 3.0], [1.0]], np.array([[True, False, True]]), torch.zeros(1, 3, dtype=torch.bool),
])  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_codes_that_are_no_finite_numbers_are_one_message(tmp_path: Path, codes: Any) -> None:
    with pytest.raises(DataError, match="codes"):
        vaelab.load(image_run(tmp_path)).decode(codes)


def test_a_score_that_no_training_rows_explain_is_one_message(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    assert "because" in trained.explain(people(5))
    with pytest.raises(ConfigError, match=r"score=elbo: .* run of task=anomaly keeps"):
        trained.explain(people(5), "elbo")


def test_a_npy_file_of_other_channels_is_one_message(tmp_path: Path) -> None:
    trained = vaelab.load(series_run(tmp_path))
    np.save(tmp_path / "three.npy", np.zeros((2, 3, 16)))
    with pytest.raises(DataError, match=r"three.npy: has 3 channels, .*; the model was trained on 2: c0, c1"):
        trained.encode(tmp_path / "three.npy")


def test_a_recording_without_its_times_is_one_message(tmp_path: Path) -> None:
    trained = vaelab.load(timed_run(tmp_path))
    path = write_csv(tmp_path / "later.csv", waves(1, steps=40)[0])
    with pytest.raises(DataError, match=r"later.csv: has no column when, .* data.time=null reads it without times"):
        trained.encode(path)
    trained.read_with({"time": None})
    assert len(trained.encode(path))


@pytest.mark.parametrize(("settings", "said"), [
    ({"count": 2.5}, "count=2.5: should be a whole number"),
    ({"count": "3"}, "count='3': should be a whole number"),
    ({"count": True}, "count=True: should be a whole number"),
    ({"temperature": None}, "temperature=None: should be a number above 0"),
    ({"seed": 2**80}, "seed=1208925819614629174706176: should be a whole number from"),
    ({"seed": None}, "seed=None: should be a whole number from"),
])  # fmt: skip
def test_draws_of_wrong_types_are_one_message(tmp_path: Path, settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        vaelab.load(image_run(tmp_path)).sample(**settings)


@pytest.mark.parametrize(("device", "said"), [
    ("foo", "device=foo: should be cpu, cuda"),
    (None, "device=None: should be cpu, cuda"),
    ("cuda:99", "device=cuda:99: this machine has"),
    ("mps", "device=mps: this machine has no such device"),
])  # fmt: skip
def test_a_device_that_is_not_there_is_one_message(tmp_path: Path, device: Any, said: str) -> None:
    run = image_run(tmp_path)
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ConfigError, match=said):
        vaelab.load(run, device=device)
    with pytest.raises(ConfigError, match=said):
        vaelab.load(run).to(device)


@pytest.mark.parametrize("run", [None, 5])
def test_what_is_no_run_is_one_message(run: Any) -> None:
    with pytest.raises(ConfigError, match="give the path of a run folder"):
        vaelab.load(run)


@pytest.mark.parametrize("made", [image_run, text_run, table_run, series_run])
@pytest.mark.parametrize("given", [None, 5, [[1.0, 2.0], [1.0]]])
def test_what_is_no_example_is_one_message(tmp_path: Path, made: Any, given: Any) -> None:
    with pytest.raises(DataError, match="give"):
        vaelab.load(made(tmp_path)).reconstruct(given)


@pytest.mark.parametrize("rate", ["x", True, 0.0, float("nan")])
def test_what_is_no_rate_is_one_message(tmp_path: Path, rate: Any) -> None:
    with pytest.raises(ConfigError, match=r"false-alarm rate .*: should be a number between 0 and 1"):
        vaelab.load(table_run(tmp_path)).detect(people(5), rate)


def test_texts_that_are_cut_are_told_for_strings_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = vaelab.load(text_run(tmp_path))
    texts = ["alpha", "alpha beta gamma delta"]
    (tmp_path / "later.txt").write_text("".join(f"{text}\n" for text in texts))
    told = []
    for given in (texts, tmp_path / "later.txt"):
        trained.encode(given)
        told.append("".join(capsys.readouterr()))
    assert "1 of 2 texts are truncated: the model has sequences of 11 tokens" in told[0]
    assert told[0] == told[1]


def test_a_column_of_categories_cannot_be_read_as_numbers(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    trained.read_with({"numeric": ["city"]})
    with pytest.raises(ConfigError, match=r"data.numeric=\[city\]: the model was trained on them as categories"):
        trained.encode(people(5))
