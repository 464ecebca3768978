"""`model/data.json`: how new examples are read for a trained model."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaelab.careful_read import brief, read_json
from vaelab.config.builder import Builder
from vaelab.config.nearest import did_you_mean
from vaelab.core.spec import DataSpec
from vaelab.corruptions import Identity
from vaelab.data.module import DataModule
from vaelab.data.preparation import recorded_data
from vaelab.errors import CheckpointError, ConfigError

FILE = "data.json"  # in the run folder's model/
SPLITS = {"batch_size": 256, "val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0, "seed": 0, "normal": None}
TABLE = {"numeric": (), "label": None, "encoding": "utf-8", "delimiter": None, "header": None}
TABLE_FIXED = {"label_as_column": "auto", "drop": (), "categorical": (), "keep": (), "scaling": "auto",
               "max_categories": 100, "decimal": None, "thousands": None, "na_values": (),
               "dayfirst": None}  # fmt: skip
IMAGES = {"binarize": None, "fit": "cover", "background": [255, 255, 255], "max_pixels": 178_956_970}
SERIES = {"form": "steps", "layout": None, "label": None, "time": None, "drop": (), "window": None, "stride": None,
          "header": None, "encoding": "utf-8"}  # fmt: skip
SERIES_FIXED = {"labels": None, "window_label": "rarest", "scaling": "standard"}
TEXT = {"field": "text", "label": None, "unit": "line", "max_length": 256, "longer": "cut", "encoding": "utf-8"}
TEXT_FIXED = {"limit": None, "tokens": "characters", "vocabulary": 256}
MIDI = {"form": "roll", "steps": 64, "steps_per_quarter": 4, "voices": 4}
MIDI_FIXED = {"hop": None, "transpose": 0, "pitches": None, "skip_broken": False}


NOT_FOR_NEW = ("binarize", "color", "scaling", "max_categories", "label_as_column", "drop", "categorical", "keep",
               "limit", "tokens", "vocabulary", "hop", "transpose", "pitches", "window_label", "form", "steps", "unit",
               "steps_per_quarter", "max_length")  # fmt: skip
"""Settings that are determined by the model, or that have no meaning for a single file."""


@dataclass(frozen=True)
class Reader:
    """What reads files of one kind.

    Attributes:
        target: the data module.
        settings: those that a run keeps, with what stands for one that it has not kept.
        fixed: other arguments, which mean nothing for new data or are read from other files of `model/`.
        kinds: of examples that it reads.
    """

    target: str
    settings: Mapping[str, Any]
    fixed: Mapping[str, Any]
    kinds: tuple[str, ...]


READERS = {
    "images": Reader("vaelab.data.images.images.Images", IMAGES, {"color": "auto", "skip_broken": False}, ("image",)),
    "table": Reader("vaelab.data.tables.table.Table", TABLE, TABLE_FIXED, ("table",)),
    "series": Reader("vaelab.data.series.series.Series", SERIES, SERIES_FIXED, ("series",)),
    "text": Reader("vaelab.data.text.text.Text", TEXT, TEXT_FIXED, ("tokens",)),
    "midi": Reader("vaelab.data.music.midi.Midi", MIDI, MIDI_FIXED, ("tokens", "roll")),
}


@dataclass(frozen=True)
class Reading:
    """How new examples are read for the model in a folder.

    Attributes:
        folder: a run's `model/`.
        spec: of the examples that the model was trained on.
        reader: a name of `READERS`.
        settings: of that reader.
    """

    folder: Path
    spec: DataSpec
    reader: str
    settings: Mapping[str, Any]

    def module(self, path: Path, scratch: Path, **changed: Any) -> DataModule:
        """Data at a path, prepared as those that the model was trained on; all of them are in the test split.

        To be prepared (`prepare_data`, `setup`) by the caller.

        Args:
            path: a file or folder.
            scratch: a folder for what is too large for memory.
            changed: settings that are others for these data.

        Raises:
            ConfigError: a setting does not fit; it comes from `data.json`, which somebody has changed.
            DataError: what is in the folder of the model cannot be read.
        """
        module = self._built(path, scratch, changed)
        module.all_as_test = True
        module.prepare_as(self.folder)
        return module

    def changed(self, settings: Mapping[str, Any]) -> "Reading":
        """With settings that are others for new files, such as their encoding.

        Raises:
            ConfigError: a setting is unknown or not valid, or would change the model's preprocessing.
        """
        reader = READERS[self.reader]
        known = [key for key in (*reader.settings, *reader.fixed) if key not in NOT_FOR_NEW]
        for key in settings:
            if key not in known:
                raise ConfigError(f"data.{key}: cannot be set for new files; {did_you_mean(key, known)}")
        found = replace(self, settings={**self.settings, **settings})
        found.check()
        return found

    def check(self) -> None:
        """Try the settings.

        Raises:
            ConfigError: one does not fit.
        """
        self._built(Path("new"), Path("new"), {})

    def _built(self, path: Path, scratch: Path, changed: Mapping[str, Any]) -> DataModule:
        reader = READERS[self.reader]
        place = str(path)
        if place.startswith("~"):  # the shell has made of such words what it could: this one is a name
            place = os.path.join(os.curdir, place)
        node: dict[str, Any] = {"_target_": reader.target, "path": place, "data_dir": str(scratch), "name": None}
        node |= {**SPLITS, **reader.fixed, **self.settings, **changed}
        if self.reader == "images":
            channels, height, width = self.spec.shape
            node |= {"size": [height, width], "color": {1: "grey", 3: "rgb", 4: "rgba"}.get(channels, "auto")}
        if self.reader == "midi":
            node.pop("normal")
        module: DataModule = Builder().build(node, "data", DataModule, corruption=Identity())
        return module


def read_reading(folder: Path, spec: DataSpec) -> Reading | None:
    """Read how new examples are read for the model in `folder`, a run's `model/`; None if only tensors are possible.

    A run of an earlier version kept no `data.json`: its `config.yaml` says the same.

    Raises:
        CheckpointError: the file is no such description.
    """
    path = folder / FILE
    if not path.exists():
        return _of_config(folder, spec)
    about = read_json(path)
    if about is None:
        return None
    if not isinstance(about, dict) or about.get("reader") not in [*READERS]:
        raise CheckpointError(f"{path}: reader should be one of {', '.join(READERS)}")
    name = about.pop("reader")
    return Reading(folder, spec, name, _checked(path, name, about, spec))


def _checked(path: Path, name: str, about: dict[str, Any], spec: DataSpec) -> dict[str, Any]:
    """Settings of a file, with the usual ones for those that it has not.

    Raises:
        CheckpointError: one is unknown or does not fit.
    """
    reader = READERS[name]
    if spec.kind not in reader.kinds:
        raise CheckpointError(f"{path}: reader={name} does not read {spec.kind} data, which the model was trained on")
    for key in about:
        if key not in reader.settings:
            raise CheckpointError(f"{path}: unknown key {brief(key)}; {did_you_mean(brief(key), reader.settings)}")
    settings = {**reader.settings, **about}
    try:
        Reading(path.parent, spec, name, settings).check()
    except ConfigError as error:
        raise CheckpointError(f"{path}: {brief(str(error))}") from error
    return settings


def _of_config(folder: Path, spec: DataSpec) -> Reading | None:
    """From the config of a run, for what it has kept of the settings that a reader knows."""
    node = recorded_data(folder.parent)
    music = (folder / "music.json").is_file()
    name = next((name for name, of in READERS.items() if spec.kind in of.kinds and (name == "midi") == music), None)
    if name is None or not node:
        return None
    known = {key: node[key] for key in READERS[name].settings if key in node}
    if known.get("binarize", "") not in ("", None, "static", "dynamic", "threshold"):
        known["binarize"] = "threshold" if spec.support == "binary" else None
    return Reading(folder, spec, name, _checked(folder.parent / "config.yaml", name, known, spec))
