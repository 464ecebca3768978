"""Image data sets: a folder of image files, Parquet, or any id on the Hugging Face hub."""

from pathlib import Path
from typing import Annotated, Any, Unpack, cast

from annotated_types import Ge, Gt, Le

from vaelab.config.nearest import nearest
from vaelab.data.examples import Examples
from vaelab.data.images.decoding import Color, DecodedImages, Decoding, Fit, background_color, decode
from vaelab.data.images.source import HubSource, LocalSource
from vaelab.data.images.tensor_cache import Kept, TensorCache
from vaelab.data.module import Binarize, DataModule, DataSettings
from vaelab.data.spec import DataSpec
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note

Pixels = Annotated[int, Gt(0)]
Level = Annotated[int, Ge(0), Le(255)]


class Images(DataModule):
    """8-bit images of one size, decoded once into a uint8 tensor that is cached beside the source.

    The tensor is mapped from its file, so that a set may be larger than memory.

    `path` is used as a folder or file, also within `data_dir`, where there is one; else a copy under
    `data_dir/name`; else `path` as a hub id. Pixels are `(C, H, W)` with C = 1 for grey, 3 for colour and 4 for
    colour and opacity.

    Args:
        name: of the data set, and of its folder under `data_dir`; the last part of `path` if null.
        path: folder, Parquet file or hub id.
        data_dir: where copies of data sets lie.
        size: `[height, width]` or one number for both; null keeps the size, which must then be the
            same for all images.
        fit: how an image comes to `size`: `cover` scales its shorter side and crops the centre,
            `stretch` scales both sides, `crop` crops the centre without scaling.
        color: `grey`, `rgb`, `rgba` (with an opacity for each pixel), or `auto` (grey where every image is grey).
        background: what transparent images are drawn on, and the colour of invisible pixels where `color` is `rgba`:
            a colour's name, `#rrggbb`, or `[red, green, blue]` of 0 to 255.
        max_pixels: of a file; larger ones are refused, since Pillow takes about 8 bytes of memory for each pixel.
        skip_broken: whether images that cannot be used are left out; they are counted and named in any case.
        batch_size, val_fraction, test_fraction, split_seed, seed, binarize, normal, corruption: see
            `DataModule`.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        binarize: Binarize | None,
        name: str | None = None,
        size: Pixels | tuple[Pixels, Pixels] | None = None,
        fit: Fit = "cover",
        color: Color = "auto",
        background: str | tuple[Level, Level, Level] = "white",
        max_pixels: Annotated[int, Gt(0)] = 180_000_000,
        skip_broken: bool = False,
        normal: list[str | int] | None = None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize, normal, **settings)
        if not path:
            raise ConfigError("data.path needs a folder of images, a Parquet file or a hub id (owner/name)")
        self.path: str = path
        self.name: str = name or (Path(path).stem if path.endswith(".parquet") else Path(path).resolve().name)
        self.data_dir = Path(data_dir)
        self._copy = self.data_dir / self.name if name or _may_be_hub_id(path) else None
        size = (size, size) if isinstance(size, int) else size
        self.decoding = Decoding(size, fit, color, background_color(background), max_pixels, skip_broken)
        self._kept: Kept | None = None

    def source(self) -> LocalSource | HubSource:
        """Where the images come from.

        Raises:
            DataError: neither a copy nor a path is there, and `path` cannot be a hub id.
        """
        path = Path(self.path).expanduser()
        for place in (path, self.data_dir / self.path, self._copy):
            if place is not None and place.exists():
                return LocalSource(place)
        if _may_be_hub_id(self.path):
            return HubSource(self.path, self.data_dir / self.name)
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        near = nearest(path.name, [p.name for p in beside])
        hint = f"; did you mean {path.parent / near}?" if near else ""
        raise DataError(f"data.path={self.path}: no such folder or file, and not a hub id (owner/name){hint}")

    def prepare_data(self) -> None:
        """Decode into the cache where that has not been done."""
        source = self.source()
        cache = TensorCache(source, self.decoding, self.data_dir)
        self._kept = cache.read()
        if self._kept is None:
            with decode(source, self.decoding) as images:
                self._kept = cache.write(images) or self._in_memory(images, cache.paths)
        for line in self._kept.about["notes"]:
            note(line)

    def _in_memory(self, images: DecodedImages, paths: list[Path]) -> Kept:
        """Where no file can be written."""
        unwritable = "decoded images can be written to none of " + ", ".join(str(path.parent) for path in paths)
        if self.storage == "disk":
            raise DataError(f"storage=disk: {unwritable}")
        note(f"{unwritable}, so they are held in memory, and each run decodes them anew")
        return Kept(*images.in_memory(), images.about)

    def load(self) -> Examples:
        """Read the cached tensors."""
        if self._kept is None:
            self.prepare_data()
        values, label, about, file = cast(Kept, self._kept)
        self._kept = None
        shape: Any = tuple(values.shape[1:])
        spec = DataSpec(self.name, "image", shape, "unit", 256, tuple(about["classes"]))
        return Examples(values, label, spec, {name: range(*rows) for name, rows in about["parts"].items()}, file)


def _may_be_hub_id(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not path.endswith("/")
