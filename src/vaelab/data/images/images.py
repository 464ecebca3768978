"""Image data sets: a folder of image files, Parquet, or any id on the Hugging Face hub."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Unpack, cast

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from vaelab.config.nearest import nearest
from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.images.decoding import Color, DecodedImages, Decoding, Fit, background_color, decode
from vaelab.data.images.source import HubSource, LocalSource, folders_of, may_be_hub_id
from vaelab.data.images.tensor_cache import Kept, TensorCache
from vaelab.data.module import Binarize, DataModule, DataSettings
from vaelab.data.prepared_once import by_one_process
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note, some

Pixels = Annotated[int, Gt(0)]
Level = Annotated[int, Ge(0), Le(255)]


class Images(DataModule):
    """8-bit images of one size, decoded once into a uint8 tensor that is cached next to the source.

    The tensor is memory-mapped, so a data set may be larger than memory.

    `path` is used as a folder or file, also relative to `data_dir`, if it exists; else a copy in
    `data_dir/name`; else `path` as a hub id. Pixels are `(C, H, W)` with C = 1 for grey, 3 for colour and 4 for
    colour and opacity.

    Args:
        name: the name of the data set, and of its folder in `data_dir`; the last part of `path` if null.
        path: folder, Parquet file or hub id.
        data_dir: the folder for copies of data sets.
        size: `[height, width]` or one number for both; null keeps the size, which must then be the
            same for all images.
        fit: how an image is brought to `size`: `cover` scales its shorter side and crops the centre,
            `stretch` scales both sides, `crop` crops the centre without scaling.
        color: `grey`, `rgb`, `rgba` (with an opacity for each pixel), or `auto` (grey if every image is grey).
        background: the colour behind transparent images, and of invisible pixels if `color` is `rgba`: the name of a
            colour, `#rrggbb`, or `[red, green, blue]` from 0 to 255.
        max_pixels: the largest number of pixels of a file, since Pillow needs about 8 bytes of memory per pixel.
        skip_broken: whether unusable images are left out instead of raising an error; they are reported in any case.
        batch_size, val_fraction, test_fraction, split_seed, seed, binarize, normal, corruption: see
            `DataModule`.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        binarize: Binarize | None,
        name: str | None,
        size: Pixels | tuple[Pixels, Pixels] | None,
        fit: Fit,
        color: Color,
        background: str | tuple[Level, Level, Level],
        max_pixels: Annotated[int, Gt(0)],
        skip_broken: bool,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize, normal, **settings)
        if not path:
            raise ConfigError("data.path needs a folder of images, a Parquet file or a hub id (owner/name)")
        self.path: str = path
        self.name: str = name or (Path(path).stem if path.endswith(".parquet") else Path(path).resolve().name)
        self.data_dir = Path(data_dir)
        self._copy = self.data_dir / self.name if name or may_be_hub_id(path) else None
        size = (size, size) if isinstance(size, int) else size
        self.decoding = Decoding(size, fit, color, background_color(background), max_pixels, skip_broken)
        self._kept: Kept | None = None
        self._said: set[str] = set()  # notes are printed once, although data are prepared for each pass
        self._left_out: frozenset[int] = frozenset()  # rows of the source that were left out

    def source(self) -> LocalSource | HubSource:
        """Return the source of the images.

        Raises:
            DataError: neither a copy nor the path exists, and `path` cannot be a hub id.
        """
        path = Path(self.path).expanduser()
        for place in (path, self.data_dir / self.path, self._copy):
            if place is not None and place.exists():
                return LocalSource(place)
        if may_be_hub_id(self.path):
            return HubSource(self.path, self.data_dir / self.name)
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        near = nearest(path.name, [p.name for p in beside])
        hint = f"; did you mean {path.parent / near}?" if near else ""
        raise DataError(f"data.path={self.path}: no such folder or file, and not a hub id (owner/name){hint}")

    def prepare_data(self) -> None:
        """Decode to the cache, unless that has been done.

        Done once: Lightning calls it again before testing, when the images may no longer exist.
        """
        if self._kept is not None or self._examples is not None:
            return
        kept = self._decoded(self.decoding)
        if self._trained is not None and self.all_as_test and self.decoding.color == "auto":
            channels = self._trained.shape[0]
            if kept.values.shape[1] != channels:  # as for the model's training images
                if channels == 1:
                    note(f"{self.path}: some of its images are in colour; they are converted to grey, as for training")
                kept = self._decoded(replace(self.decoding, color="grey" if channels == 1 else "rgb"))
        for line in kept.about["notes"]:
            if line not in self._said:
                note(line)
        self._said.update(kept.about["notes"])
        self._kept = kept

    def _decoded(self, decoding: Decoding) -> Kept:
        source = self.source()
        cache = TensorCache(source, decoding, self.data_dir)
        if (kept := cache.read()) is not None:
            return kept
        with by_one_process(cache.paths, str(source)):
            return cache.read() or self._decode(source, decoding, cache)

    def _decode(self, source: LocalSource | HubSource, decoding: Decoding, cache: TensorCache) -> Kept:
        with decode(source, decoding) as images:
            if not (images.about["parts"].get("train") or self.all_as_test):
                raise DataError(f"{source}: has no train split, only {', '.join(images.about['parts'])}")
            return cache.write(images) or self._in_memory(images, cache.paths)

    def _in_memory(self, images: DecodedImages, paths: list[Path]) -> Kept:
        """Decode to memory, if no cache file can be written."""
        unwritable = "decoded images can be written to none of " + ", ".join(str(path.parent) for path in paths)
        if self.storage == "disk":
            raise DataError(f"storage=disk: {unwritable}")
        note(f"{unwritable}, so they are held in memory, and each run decodes them again")
        return Kept(*images.in_memory(), images.about)

    def load(self) -> Examples:
        """Read the cached tensors."""
        if self._kept is None:
            self.prepare_data()
        values, label, about, file = cast(Kept, self._kept)
        self._kept, self._left_out = None, frozenset(about.get("left_out", ()))
        shape: Any = tuple(values.shape[1:])
        classes = tuple(about["classes"])
        if self.all_as_test and self._trained is not None:
            if shape[1:] != self._trained.shape[1:]:
                height, width = self._trained.shape[1:]
                raise DataError(
                    f"{self.path}: its images have {shape[1]} x {shape[2]} pixels, the model was trained on {height} x "
                    f"{width}; data.size=[{height},{width}] brings them to that size"
                )
            label, classes = self._labels_of_folders(label, classes, self._trained.classes)
        spec = DataSpec(self.name, "image", shape, "unit", 256, classes)
        return Examples(values, label, spec, {name: range(*rows) for name, rows in about["parts"].items()}, file)

    def _labels_of_folders(
        self, label: Tensor, classes: tuple[str, ...], trained: tuple[str, ...]
    ) -> tuple[Tensor, tuple[str, ...]]:
        """Return labels of later images: classes may be missing, images may have no class, and folders may be new."""
        files, root = self._files()
        if not trained or len(files) != len(label):
            return label, classes
        folders = [next(iter(place), None) for place in folders_of(files, root).values()]
        found = sorted({folder for folder in folders if folder is not None})
        if not set(found) & set(trained):
            if found:
                note(
                    f"{self.path}: no folder in it is a class of the model ({some(trained)}), so images have no labels"
                )
            return torch.full_like(label, -1), ()
        numbers = {name: number for number, name in enumerate(found)}
        return torch.tensor([-1 if folder is None else numbers[folder] for folder in folders]), tuple(found)

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """See `DataModule.origins`: the `file` of each example; empty for Parquet, where examples are rows."""
        with suppress(DataError):
            files, root = self._files()
            if len(files) == len(self._loaded.label):  # else they are no longer those that were read
                return {"file": [files[row].relative_to(root).as_posix() for row in rows.tolist()]}
        return {}

    def reading(self) -> dict[str, Any] | None:
        """See `DataModule.reading`; size and color are those of the model."""
        how = self.decoding
        own = {"fit": how.fit, "background": list(how.background), "max_pixels": how.max_pixels}
        return {"reader": "images", "binarize": self.binarize} | own

    def _files(self) -> tuple[list[Path], Path]:
        """Return the image file of each example, and their folder; empty if examples are not files."""
        source = self.source()
        if not isinstance(source, LocalSource):
            return [], Path()
        return [file for row, file in enumerate(source.files()) if row not in self._left_out], source.home
