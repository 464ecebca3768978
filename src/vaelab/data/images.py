"""Image data sets: a folder of image files, Parquet, or any id on the Hugging Face hub."""

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from vaelab.config.nearest import did_you_mean
from vaelab.corruptions import Corruption
from vaelab.data.decoding import Decoding, Fit, decode
from vaelab.data.module import Binarize, DataModule, Examples, Fraction
from vaelab.data.source import HubSource, LocalSource
from vaelab.data.spec import DataSpec
from vaelab.data.tensor_cache import TensorCache
from vaelab.errors import DataError

Pixels = Annotated[int, Gt(0)]


class Images(DataModule):
    """8-bit images of one size, decoded once into a uint8 tensor that is cached beside the source.

    A copy under `data_dir/name` is used first; else `path` as a folder or file; else `path` as a hub
    id. Pixels are `(C, H, W)` with C = 1 for grey and 3 for colour.

    Args:
        name: of the data set, and of its folder under `data_dir`; the last part of `path` if null.
        path: folder, Parquet file or hub id.
        data_dir: where copies of data sets lie.
        size: `[height, width]` or one number for both; null keeps the size, which must then be the
            same for all images.
        fit: how an image comes to `size`: `cover` scales its shorter side and crops the centre,
            `stretch` scales both sides, `crop` crops the centre without scaling.
        color: `grey`, `rgb`, or `auto` (grey where every image is grey).
        batch_size, val_fraction, test_fraction, split_seed, seed, binarize, corruption: see
            `DataModule`.
    """

    def __init__(
        self,
        corruption: Corruption,
        path: str | None,
        data_dir: str,
        batch_size: Annotated[int, Gt(0)],
        val_fraction: Fraction,
        test_fraction: Fraction,
        split_seed: Annotated[int, Ge(0)],
        seed: Annotated[int, Ge(0)],
        binarize: Binarize | None,
        name: str | None = None,
        size: Pixels | tuple[Pixels, Pixels] | None = None,
        fit: Fit = "cover",
        color: Literal["auto", "grey", "rgb"] = "auto",
    ) -> None:
        super().__init__(corruption, batch_size, val_fraction, test_fraction, split_seed, seed, binarize)
        if path is None:
            raise ValueError("data.path needs a folder of images, a Parquet file or a hub id (owner/name)")
        self.name: str = name or Path(path).stem
        self.path: str = path
        self.data_dir = Path(data_dir)
        self.decoding = Decoding((size, size) if isinstance(size, int) else size, fit, color)

    def source(self) -> LocalSource | HubSource:
        """Where the images come from.

        Raises:
            DataError: neither a copy nor a path is there, and `path` cannot be a hub id.
        """
        for place in (self.data_dir / self.name, Path(self.path), self.data_dir / self.path):
            if place.exists():
                return LocalSource(place)
        if self.path.count("/") == 1 and not self.path.startswith((".", "/", "~")):
            return HubSource(self.path, self.data_dir / self.name)
        near = [p.name for p in Path(self.path).parent.iterdir()] if Path(self.path).parent.is_dir() else []
        hint = f"; {did_you_mean(Path(self.path).name, near)}" if near and len(near) <= 40 else ""
        raise DataError(f"data.path={self.path}: no such folder or file, and not a hub id (owner/name){hint}")

    def prepare_data(self) -> None:
        """Decode into the cache where that has not been done."""
        source = self.source()
        cache = TensorCache(source, self.decoding, self.data_dir)
        if not cache.path.is_file():
            cache.write(*decode(source, self.decoding))

    def load(self) -> Examples:
        """Read the cached tensors."""
        self.prepare_data()
        values, label, about = TensorCache(self.source(), self.decoding, self.data_dir).read()
        shape: Any = tuple(values.shape[1:])
        spec = DataSpec(self.name, "image", shape, "unit", 256, tuple(about["classes"]))
        return Examples(values, label, spec, {name: range(*rows) for name, rows in about["parts"].items()})
