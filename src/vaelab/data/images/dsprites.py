"""dSprites: black and white images of one sprite each, in all combinations of five factors of variation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Unpack
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from annotated_types import Gt
from numpy.typing import NDArray
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.factors import Factors
from vaelab.data.images.decoding import Decoding, UnusableError, decode_one
from vaelab.data.images.source import (
    EncodedImage,
    HubSource,
    may_be_hub_id,
    rows_with_columns,
    scratch_folder,
)
from vaelab.data.module import Binarize, DataModule, DataSettings
from vaelab.errors import ConfigError, DataError
from vaelab.notes import some

NAMES = ("color", "shape", "scale", "orientation", "position_x", "position_y")  # of the file's latents_classes
SPRITES = ("square", "ellipse", "heart")
FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
HOME = "https://github.com/google-deepmind/dsprites-dataset"
AT_ONCE = 4_096  # images
MOST_IMAGES, MOST_PIXELS = 2**21, 2**16  # of a file, and of an image
MOST_VALUES = 1_000  # of a factor: a column with more is no factor
Images = NDArray[np.uint8]
Whole = NDArray[np.int64]


class DSprites(DataModule):
    """dSprites (Matthey et al., 2017): 737,280 images of 64 x 64 pixels, from shape, scale, orientation and position.

    `path` is the published `.npz` file, or a Parquet file with a column of images and a column for each factor. It is
    searched as given, in `data_dir`, and in `data_dir/dsprites`. If there is no such file, `owner/name` is a data set
    on the Hugging Face hub with such columns, unless the published file is in `data_dir/dsprites`. The label is the
    shape. Factors with one value, such as the colour, are left out. The source is read again in each run, and only the
    chosen images are held in memory, 4 kilobytes each.

    Args:
        path: a file or a hub id.
        data_dir: the folder for copies of data sets.
        limit: the number of images, drawn with `split_seed`; null for all.
        binarize, normal, settings: see `DataModule`.
    """

    def __init__(
        self,
        path: str,
        data_dir: str,
        limit: Annotated[int, Gt(0)] | None,
        binarize: Binarize | None,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize, normal, **settings)
        self.path, self.data_dir, self.limit = path, Path(data_dir), limit

    def load(self) -> Examples:
        """Read the chosen images."""
        home, hub = self.data_dir / "dsprites", may_be_hub_id(self.path)
        places = [Path(self.path).expanduser(), self.data_dir / self.path, home / self.path]
        for place in [*places, home / FILE] if hub else places:
            if place.is_file():
                if place.suffix == ".npz":
                    return self._examples_of(*read_npz(place, self._chosen))
                if place.suffix == ".parquet":
                    return self._examples_of(*read_columns(place, self._chosen, self.data_dir / ".vaelab" / "hub"))
                raise ConfigError(f"data.path={place}: should be the .npz file of dSprites or a .parquet file")
        if hub:
            source = HubSource(self.path, home)
            with source.explained(FILE):
                return self._examples_of(*read_columns(source, self._chosen, self.data_dir / ".vaelab" / "hub"))
        raise DataError(
            f"data.path={self.path}: no such file; put {FILE} from {HOME} into {home}, or name a file or a hub id "
            "(owner/name); data=shapes needs no file"
        )

    def reading(self) -> dict[str, Any] | None:
        """See `DataModule.reading`: grey values of a new image become black or white."""
        return {"reader": "images", "binarize": "threshold"}

    def _chosen(self, count: int) -> Tensor:
        """Rows of `count` images, in their order."""
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.split_seed))
        return order[: self.limit].sort().values

    def _examples_of(self, images: Images, factors: Factors) -> Examples:
        label = torch.full((len(images),), -1)
        classes: tuple[str, ...] = ()
        if "shape" in factors.names:
            place = factors.names.index("shape")
            label, size = factors.values[:, place].clone(), factors.sizes[place]
            classes = SPRITES if size == len(SPRITES) else tuple(map(str, range(size)))
        spec = DataSpec("dsprites", "image", (1, *images.shape[1:]), "binary", 2, classes)
        values = torch.from_numpy(images).unsqueeze(1)
        return Examples(values, label, spec, {"train": range(len(values))}, factors=factors)


def read_npz(path: Path, chosen: Any) -> tuple[Images, Factors]:
    """`imgs` and `latents_classes` of the published file; nothing that is pickled in it is read.

    Args:
        path: of the file.
        chosen: gives the rows to read of so many images.

    Returns:
        `(n, H, W)` uint8, 0 and 1, and the factors of these images.

    Raises:
        DataError: it is not such a file.
    """
    try:
        with ZipFile(path) as archive:
            of_images, height, width = _shape(archive, path, "imgs", 3)
            count, columns = _shape(archive, path, "latents_classes", 2)
            if of_images != count:
                raise DataError(f"{path}: imgs and latents_classes have different numbers of rows")
            if columns != len(NAMES) or not 0 < height * width <= MOST_PIXELS or count > MOST_IMAGES:
                raise DataError(
                    f"{path}: has {columns} factors and {count:,} images of {height} x {width} pixels; dSprites has "
                    f"{len(NAMES)} factors and 737,280 images of 64 x 64 pixels"
                )
            rows = chosen(count).numpy()
            latents = np.concatenate(list(_parts(archive, "latents_classes")))[rows].astype(np.int64)
            images, first, done = np.empty((len(rows), height, width), np.uint8), 0, 0
            for part in _parts(archive, "imgs"):
                wanted = rows[(rows >= first) & (rows < first + len(part))] - first
                images[done : done + len(wanted)] = part[wanted]
                first, done = first + len(part), done + len(wanted)
    except (OSError, BadZipFile, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path}: is no .npz file of dSprites, or is broken ({str(error).splitlines()[0]})") from error
    if images.max(initial=0) > 1:
        raise DataError(f"{path}: has the pixel {images.max()}; the images of dSprites are of 0 and 1")
    return images, factors_of(dict(zip(NAMES, latents.T, strict=True)), str(path))


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array whose file is at its start."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if fortran or dtype.kind not in "bui":
        raise ValueError("holds an array that is not of whole numbers in rows")
    return shape, dtype


def _shape(archive: ZipFile, path: Path, name: str, dimensions: int) -> tuple[int, ...]:
    """Of an array in the archive, whose file must be as long as that says."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        length = archive.getinfo(f"{name}.npy").file_size - file.tell()
    if len(shape) != dimensions or int(np.prod(shape, dtype=object)) * dtype.itemsize != length or not shape[0]:
        raise DataError(f"{path}: {name} has the shape {list(shape)}, which is not that of dSprites or of its file")
    return shape


def _parts(archive: ZipFile, name: str) -> Iterator[NDArray[Any]]:
    """The rows of an array, some at once: all images together are 3 gigabytes."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        size = int(np.prod(shape[1:])) * dtype.itemsize
        for first in range(0, shape[0], AT_ONCE):
            count = min(AT_ONCE, shape[0] - first)
            yield np.frombuffer(file.read(count * size), dtype).reshape(count, *shape[1:])


def read_columns(source: Path | HubSource, chosen: Any, kept: Path) -> tuple[Images, Factors]:
    """A column of images and columns of factors: a Parquet file, or all splits of a data set on the hub.

    Args:
        source: of the rows.
        chosen: gives the rows to read of so many images.
        kept: where a set of the hub stays for later runs.

    Returns:
        `(n, H, W)` uint8, 0 and 1, and the factors of these images.

    Raises:
        DataError: there are no images or no factors, or images cannot be used.
    """
    with scratch_folder() as scratch:
        table, image = rows_with_columns(source, str(kept) if isinstance(source, HubSource) else scratch)
        scalar = [name for name in table.column_names if name != image and hasattr(table.features[name], "dtype")]
        columns = {name.removeprefix("label_"): np.asarray(table[name][:]) for name in scalar}
        rows = chosen(len(table))
        images = [_black_and_white(row[image], str(source)) for row in table.select(rows.tolist())]
    if len({one.shape for one in images}) != 1:
        raise DataError(f"{source}: its images are not of one size")
    return np.stack(images), factors_of({name: of[rows.numpy()] for name, of in columns.items()}, str(source))


DECODING = Decoding(None, "cover", "grey", (0, 0, 0), MOST_PIXELS, False)


def _black_and_white(cell: Any, shown: str) -> Images:
    content = cell["bytes"] if isinstance(cell, dict) else cell
    try:
        pixels = decode_one(EncodedImage(content or b"", -1, shown), DECODING)[0]
    except UnusableError as error:
        raise DataError(f"{shown}: an image {error.reason}") from error
    bright = pixels > 0
    if len(np.unique(pixels[bright])) > 1:
        raise DataError(f"{shown}: has grey images; those of dSprites are black and white")
    return bright.astype(np.uint8)


def factors_of(columns: dict[str, NDArray[Any]], shown: str) -> Factors:
    """Columns with at least two values as factors, each value as its place among the sorted ones.

    A column that says the same as one before it, such as an angle beside its number, is left out.

    Args:
        columns: `(N,)` each, by name.
        shown: where they come from, for messages.

    Raises:
        DataError: no column is a factor.
    """
    names: list[str] = []
    sizes: list[int] = []
    kept: list[Whole] = []
    for name, column in columns.items():
        values, places = np.unique(column, return_inverse=True)
        if not 2 <= len(values) <= MOST_VALUES:
            continue
        pairs = [len(np.unique(places * MOST_VALUES + other)) for other in kept]
        if any(count == len(values) == size for count, size in zip(pairs, sizes, strict=True)):
            continue
        names.append(name)
        sizes.append(len(values))
        kept.append(places.astype(np.int64))
    if not kept:
        raise DataError(f"{shown}: no column with 2 to {MOST_VALUES} values is a factor ({some(list(columns))})")
    return Factors(tuple(names), tuple(sizes), torch.from_numpy(np.stack(kept, axis=1)))
