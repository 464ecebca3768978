"""What people hold goes into a trained model, and the same kind comes out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vaelab
from in_memory import digits
from saved_models import (
    image_run,
    made,
    music_run,
    numbers_run,
    people,
    run_of,
    series_run,
    table_run,
    text_run,
    timed_run,
)
from series_files import waves, write_csv
from vaelab.data.tables.table import Table
from vaelab.errors import DataError


def photo(size: tuple[int, int] = (37, 23), mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


# Images


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "LA"])
def test_an_image_of_any_mode_and_size_comes_back_in_its_size(tmp_path: Path, mode: str) -> None:
    trained = vaelab.load(image_run(tmp_path))
    given = photo().convert("L").convert("I").convert("I;16") if mode == "I;16" else photo(mode=mode)
    again = trained.reconstruct(given)
    assert again.size == (37, 23)
    assert again.mode == "RGB"


def test_transparency_is_kept(tmp_path: Path) -> None:
    given = photo()
    given.putalpha(Image.linear_gradient("L").resize(given.size))
    again = vaelab.load(image_run(tmp_path)).denoise(given)
    assert again.mode == "RGBA"
    assert np.array_equal(np.asarray(again.getchannel("A")), np.asarray(given.getchannel("A")))


def test_a_camera_that_was_held_upright_is_heard(tmp_path: Path) -> None:
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    photo().save(path, exif=exif)
    assert vaelab.load(image_run(tmp_path)).reconstruct(path).size == (23, 37)


def test_arrays_come_back_as_arrays_and_mean_the_same_as_images(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    images = [photo(), photo()]
    arrays = np.stack([np.asarray(image) for image in images])
    assert np.array_equal(trained.encode(arrays), trained.encode(images))
    again = trained.reconstruct(arrays)
    assert again.shape == arrays.shape
    assert again.dtype == np.uint8
    assert trained.reconstruct(arrays[0]).shape == arrays[0].shape


def test_a_file_an_image_and_a_tensor_of_the_models_size_have_one_code(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    image = photo((8, 8))
    image.save(tmp_path / "a.png")
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    code = trained.encode(tensor)
    assert np.allclose(trained.encode(image), code)
    assert np.allclose(trained.encode(str(tmp_path / "a.png")), code)
    assert not code.requires_grad


def test_codes_of_arrays_and_tensors_are_decoded_to_images_and_tensors(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    codes = np.zeros((2, 3), np.float32)
    images, tensors = trained.decode(codes), trained.decode(torch.from_numpy(codes))
    assert [image.size for image in images] == [(8, 8), (8, 8)]
    assert np.array_equal(np.asarray(images[0]), (tensors[0] * 255).round().byte().permute(1, 2, 0).numpy())


def test_samples_depend_on_their_seed_alone(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    first, second, other = (trained.sample(3, seed=seed, as_tensor=True) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_conditional_model_draws_the_label_that_is_asked_for(tmp_path: Path) -> None:
    logistic = {"_target_": "vaelab.likelihoods.DiscretizedLogistic", "mixtures": 1}
    given = {"condition": "label", "condition_size": 4}
    trained = vaelab.load(run_of(digits(), tmp_path / "run", settings=given, likelihood=logistic))
    three, also, seven = (trained.sample(2, label=label, as_tensor=True) for label in ("3", 3, 7))
    assert torch.equal(three, also)
    assert not torch.equal(three, seven)
    for label in (torch.tensor(3), np.array(3), np.int64(3), torch.tensor([3, 3])):
        assert torch.equal(trained.sample(2, label=label, as_tensor=True), three)


# Tables


def test_a_frame_comes_back_with_its_columns_types_and_index(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    frame = people(9, seed=3).set_index(pd.Index(range(100, 109)))
    again = trained.reconstruct(frame)
    assert list(again.columns) == list(frame.columns)
    assert list(again.index) == list(frame.index)
    assert again["city"].isin(["Köln", "Oslo", "Rom"]).all()
    assert again["age"].notna().all()  # what was missing is filled in
    assert pd.api.types.is_integer_dtype(again["children"])
    assert pd.api.types.is_datetime64_any_dtype(again["since"])


def test_a_frame_and_its_file_have_the_same_codes(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    frame = people(9, seed=3)
    frame.to_csv(tmp_path / "later.csv", index=False)
    frame.to_parquet(tmp_path / "later.parquet")
    codes = trained.encode(frame)
    assert np.allclose(trained.encode(tmp_path / "later.csv"), codes, atol=1e-5)
    assert np.allclose(trained.encode(tmp_path / "later.parquet"), codes, atol=1e-5)
    assert np.allclose(trained.encode(frame[frame.columns[::-1]].assign(other=1)), codes, atol=1e-5)


def test_numbers_may_be_an_array(tmp_path: Path) -> None:
    trained = vaelab.load(numbers_run(tmp_path))
    array = np.array([[5.0, -100.0], [6.0, -80.0]])
    assert np.allclose(trained.encode(array), trained.encode(pd.DataFrame(array, columns=["a", "b"])))
    again = trained.reconstruct(array)
    assert again.shape == (2, 2)
    assert abs(again[:, 1] + 100).max() < 60  # in the units that were given


# Series, text, music


def test_series_come_back_in_their_units(tmp_path: Path) -> None:
    trained = vaelab.load(series_run(tmp_path))
    windows = waves(3, steps=16)
    again = trained.reconstruct(windows)
    assert again.shape == windows.shape
    assert trained.reconstruct(windows[0]).shape == windows[0].shape
    assert abs(again[:, 1].mean() - 10) < 5
    path = write_csv(tmp_path / "w.csv", windows[0])
    assert np.allclose(trained.encode(path), trained.encode(windows[:1]), atol=1e-5)


def test_strings_come_back_as_strings(tmp_path: Path) -> None:
    trained = vaelab.load(text_run(tmp_path))
    assert isinstance(trained.reconstruct("alpha"), str)
    assert len(trained.reconstruct(["alpha", "iota"])) == 2
    (tmp_path / "two.txt").write_text("alpha\niota\n")
    assert np.allclose(trained.encode(["alpha", "iota"]), trained.encode(tmp_path / "two.txt"), atol=1e-6)
    assert all(isinstance(text, str) for text in trained.sample(3))


@pytest.mark.parametrize("form", ["roll", "tokens"])
def test_a_piece_comes_back_as_long_as_it_was(tmp_path: Path, form: str) -> None:
    mido = pytest.importorskip("mido")
    trained = vaelab.load(music_run(tmp_path, form))
    file = tmp_path / "songs/song 2.mid"
    again = trained.reconstruct(file)
    assert isinstance(again, mido.MidiFile)
    assert trained.encode(mido.MidiFile(file)).shape == (2, 3)  # two windows of 16 steps
    assert again.length <= mido.MidiFile(file).length + 0.5


# Old runs


def test_a_run_without_the_record_of_reading_is_read_by_its_config(tmp_path: Path) -> None:
    run = table_run(tmp_path)
    codes = vaelab.load(run).encode(people(5))
    (run / "model/data.json").unlink()
    (run / "config.yaml").write_text("data: {label: null, encoding: utf-8}\n")
    assert np.array_equal(vaelab.load(run).encode(people(5)), codes)


def test_an_image_object_is_turned_as_its_file_is(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    tag = Image.Exif()
    tag[274] = 6  # turned by a quarter
    with Image.open(tmp_path / "pictures/03.png") as picture:
        picture.save(tmp_path / "phone.png", exif=tag)
    with Image.open(tmp_path / "phone.png") as picture:
        assert np.array_equal(trained.encode(picture), trained.encode(tmp_path / "phone.png"))
        again = trained.reconstruct(picture)
    assert again.size == (16, 20)
    assert 274 not in again.getexif()


@pytest.mark.parametrize("mode", ["HSV", "RGBX", "La", "PA", "CMYK", "YCbCr", "LAB", "1", "P", "I;16"])
def test_images_of_all_modes_are_taken(tmp_path: Path, mode: str) -> None:
    trained = vaelab.load(image_run(tmp_path))
    with Image.open(tmp_path / "pictures/03.png") as picture:
        rgb = picture.convert("RGB")
    through = {"La": "LA", "PA": "P", "I;16": "L"}.get(mode)
    given = rgb.convert(through).convert(mode) if through else rgb.convert(mode)
    assert trained.encode(given).shape == (1, 3)


def test_images_without_pixels_or_without_a_range_are_refused(tmp_path: Path) -> None:
    trained = vaelab.load(image_run(tmp_path))
    for image, why in ((Image.new("I", (4, 4)), "32-bit pixels"), (Image.new("RGB", (0, 4)), "has no pixels")):
        with pytest.raises(DataError, match=why):
            trained.encode(image)


def test_dates_that_are_missing_or_categories_are_read(tmp_path: Path) -> None:
    frame = people()
    frame.loc[3, "since"] = pd.NaT
    frame.to_csv(tmp_path / "people.csv", index=False)
    trained = vaelab.load(run_of(made(Table, "table", tmp_path / "people.csv", scaling="standard"), tmp_path / "run"))
    assert np.isfinite(trained.encode(people(5).assign(since=np.nan))).all()
    later = people(5)
    same = later.assign(since=later["since"].astype("category"))
    assert np.array_equal(trained.encode(same), trained.encode(later))


def test_a_column_that_was_read_as_numbers_stays_one_of_numbers(tmp_path: Path) -> None:
    frame = people().assign(day=np.arange(20210301, 20210361))
    frame.to_csv(tmp_path / "days.csv", index=False)
    keep = {"scaling": "standard", "keep": ["day"]}
    trained = vaelab.load(run_of(made(Table, "table", tmp_path / "days.csv", **keep), tmp_path / "run"))
    assert trained.encode(frame).shape == (60, 3)


def test_a_category_that_a_frame_lacks_is_added_to_its_type(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    frame = people(5).assign(city=pd.Categorical(["Bergen"] * 5))
    again = trained.reconstruct(frame)["city"]
    assert again.notna().all()
    assert again.cat.categories[0] == "Bergen"
    assert set(again) <= {"Köln", "Oslo", "Rom", "(other)"}
    ordered = frame.assign(city=pd.Categorical(["Bergen"] * 5, ordered=True))
    assert trained.reconstruct(ordered)["city"].tolist() == again.tolist()


def test_dates_keep_the_zone_of_their_frame(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    frame = people(5)
    plain = trained.reconstruct(frame)["since"]
    zoned = trained.reconstruct(frame.assign(since=frame["since"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")))
    assert str(zoned["since"].dt.tz) == "Asia/Tokyo"
    assert (zoned["since"].dt.tz_convert("UTC").dt.tz_localize(None) == plain).all()


@pytest.mark.filterwarnings("error")
def test_codes_may_be_a_frame_or_an_array_that_is_read_only(tmp_path: Path) -> None:
    trained = vaelab.load(table_run(tmp_path))
    codes = trained.encode(people(5))
    frame = pd.DataFrame(codes)
    codes.setflags(write=False)
    pd.testing.assert_frame_equal(trained.decode(frame), trained.decode(codes))


@pytest.mark.parametrize("shape", [(3, 2, 16), (3, 16, 2), (2, 40), (40, 2)])
def test_the_number_of_channels_tells_the_layout_of_a_npy_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    trained = vaelab.load(series_run(tmp_path))
    given = waves(3, steps=16) if len(shape) == 3 else waves(1, steps=40)[0]
    array = given if given.shape == shape else given.swapaxes(-1, -2)
    assert array.shape == shape
    np.save(tmp_path / "later.npy", array)
    if len(shape) == 2:
        path = write_csv(tmp_path / "later.csv", given)
        assert np.allclose(trained.encode(tmp_path / "later.npy"), trained.encode(path))
    else:
        assert np.allclose(trained.encode(tmp_path / "later.npy"), trained.encode(given), atol=1e-5)


def test_a_model_reads_the_series_that_it_has_written(tmp_path: Path) -> None:
    trained = vaelab.load(series_run(tmp_path))
    trained.adapter.write_samples(tmp_path, trained.sample(3, as_tensor=True))
    again = np.load(tmp_path / "samples.npy")
    assert np.allclose(trained.encode(tmp_path / "samples.npy"), trained.encode(again), atol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_recording_keeps_its_times(tmp_path: Path, suffix: str) -> None:
    trained = vaelab.load(timed_run(tmp_path))
    frame = pd.DataFrame(waves(1, steps=41)[0].T, columns=["c0", "c1"])
    frame.insert(2, "when", pd.Timestamp("2024-05-01 06:00") + pd.to_timedelta(np.arange(41) * 90, "s"))
    path = tmp_path / f"later{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    (part,) = trained.adapter.read([(path, Path("later"))])
    (written,) = trained.adapter.write(tmp_path / "out", trained.reconstructed(part), part)
    again = pd.read_csv(written, parse_dates=["when"])
    assert list(again.columns) == ["when", "c0", "c1"]
    assert (again["when"] == frame["when"]).all()
    assert len(trained.encode(written)) == len(trained.encode(path))
