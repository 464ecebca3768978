"""Run folders of small untrained models, as runs on small files of each kind leave them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from in_memory import SETTINGS
from in_memory_music import SETTINGS as MUSIC
from in_memory_music import piece
from options import CONF, stated
from series_files import waves, write_csv
from vaelab.config.builder import Builder
from vaelab.corruptions import Identity
from vaelab.data.images.images import Images
from vaelab.data.module import DataModule
from vaelab.data.music.midi import Midi
from vaelab.data.music.midi_files import write_midi
from vaelab.data.series.series import Series
from vaelab.data.tables.table import Table
from vaelab.data.text.text import Text
from vaelab.models.building import architecture, build_model
from vaelab.models.saved_model import save_model

SPLIT = {key: value for key, value in SETTINGS.items() if key != "binarize"}
MLP = {"hidden": [8], "activation": "relu"}


def backbones(encoder: str, decoder: str, **changed: Any) -> dict[str, Any]:
    """The nodes of options of `conf/encoder` and `conf/decoder`."""
    options = {"encoder": encoder, "decoder": decoder}
    return {
        side: yaml.safe_load((CONF / side / f"{option}.yaml").read_text()) | changed for side, option in options.items()
    }


def run_of(
    data: DataModule, run: Path, model: str = "VAE", settings: dict[str, Any] | None = None, **parts: Any
) -> Path:
    """The folder of a run that was trained on these data for no step, with random weights."""
    data.prepare_data()
    data.setup()
    (run / "model").mkdir(parents=True)
    for name, content in data.files().items():
        (run / name).write_text(str(content))
    (run / "model/data.json").write_text(json.dumps(data.reading()))
    schedule = {} if model == "AE" else {"schedule": {"_target_": "vaelab.models.schedules.Constant"}}
    options = {"unit": "continuous_bernoulli", "binary": "bernoulli", "real": "gaussian", "mixed": "mixed",
               "categories": "categorical"}  # fmt: skip
    likelihood = yaml.safe_load((CONF / f"likelihood/{options[data.spec.support]}.yaml").read_text())
    config: dict[str, Any] = {
        "latent_dim": 3,
        "model": {"_target_": f"vaelab.models.{model}", **schedule, **(settings or {})},
        "encoder": {"_target_": "vaelab.backbones.MLPEncoder", **MLP},
        "decoder": {"_target_": "vaelab.backbones.MLPDecoder", **MLP},
        "likelihood": likelihood,
    }
    torch.manual_seed(0)
    built = build_model(architecture(config | parts, data.spec), Builder())
    save_model(built, run / "model")
    return run


def made(kind: type[DataModule], option: str, path: Path, **settings: Any) -> DataModule:
    """Data of an option of `conf/data`, at a path."""
    place = {"path": str(path), "data_dir": str(path.parent / "cache"), "corruption": Identity()}
    binarize = {"binarize": None} if kind is Images else {}
    return kind(**stated(f"data/{option}") | SPLIT | binarize | place | settings)


def pictures(folder: Path, count: int = 12, size: tuple[int, int] = (20, 16)) -> Path:
    """Colour pictures of random blocks."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        blocks = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(folder / f"{number:02}.png")
    return folder


def people(count: int = 60, seed: int = 0) -> pd.DataFrame:
    """Numbers, whole numbers, categories, dates, and missing values."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": generator.normal(40, 10, count).round(1),
        "children": generator.integers(0, 4, count),
        "city": generator.choice(["Köln", "Oslo", "Rom"], count),
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 900, count), "D"),
    })  # fmt: skip
    frame.loc[3, "age"] = np.nan
    return frame


def image_run(folder: Path, model: str = "VAE", **parts: Any) -> Path:
    data = made(Images, "images", pictures(folder / "pictures"), size=(8, 8))
    return run_of(data, folder / "run", model, **parts)


def table_run(folder: Path) -> Path:
    people().to_csv(folder / "people.csv", index=False)
    return run_of(made(Table, "table", folder / "people.csv", scaling="standard"), folder / "run")


def numbers_run(folder: Path) -> Path:
    """Two columns of numbers alone."""
    generator = np.random.default_rng(0)
    pd.DataFrame(generator.normal([5, -100], [1, 20], (60, 2)), columns=["a", "b"]).to_csv(
        folder / "n.csv", index=False
    )
    return run_of(made(Table, "table", folder / "n.csv", scaling="standard"), folder / "run")


def series_run(folder: Path) -> Path:
    """Windows of one long recording of two channels."""
    write_csv(folder / "long.csv", waves(1, steps=400)[0])
    data = made(Series, "series", folder / "long.csv", window=16)
    return run_of(data, folder / "run", **backbones("conv1d", "conv1d", widths=[4, 8]))


def timed_run(folder: Path) -> Path:
    """The same, with a column that says when."""
    write_csv(folder / "long.csv", waves(1, steps=400)[0])
    frame = pd.read_csv(folder / "long.csv")
    frame.assign(when=pd.Timestamp("2024-01-01") + pd.to_timedelta(frame.index, "min")).to_csv(
        folder / "timed.csv", index=False
    )
    data = made(Series, "series", folder / "timed.csv", window=16, time="when")
    return run_of(data, folder / "run", **backbones("conv1d", "conv1d", widths=[4, 8]))


def text_run(folder: Path) -> Path:
    words = ["alpha", "beta gamma", "delta", "eta theta", "iota", "kappa", "lambda mu", "nu xi", "omikron pi", "rho"]
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in words * 3))
    data = made(Text, "text", folder / "words.txt", max_length=12)
    return run_of(data, folder / "run", **backbones("gru", "gru", width=8))


def songs(folder: Path, count: int = 6) -> Path:
    """MIDI files of invented pieces."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"song {number}.mid").write_bytes(write_midi(piece(f"p{number}", number, 32).voices, 4))
    return folder


def music_run(folder: Path, form: str = "roll") -> Path:
    settings = {**MUSIC, "form": form, "data_dir": str(folder), "name": None, "skip_broken": False, "voices": 4}
    data = Midi(path=str(songs(folder / "songs")), corruption=Identity(), **settings)
    return run_of(
        data, folder / "run", **(backbones("music", "music") if form == "roll" else backbones("gru", "gru", width=8))
    )
