"""`vaelab reconstruct RUN FILES -o DIR` and `vaelab denoise RUN FILES -o DIR`"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.commands.options import add_common, add_files, find, loaded, output_folder, parser, progress, wrote
from vaelab.errors import ConfigError, DataError, UserError
from vaelab.notes import counted, note, some

if TYPE_CHECKING:
    from vaelab.trained import Trained


def reconstruct(arguments: list[str]) -> None:
    """Encode and decode files, and write the reconstructions.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    _run(
        "reconstruct",
        "Encodes and decodes files, and writes the reconstructions under the same names. Images keep their size and\n"
        "transparency; tables, series, MIDI files and texts keep their format. Missing values are filled in.",
        [
            ("logs/compression/images-ae/<date> photos/ -o again/", "all images of a folder"),
            ("logs/generation/table-vae/<date> later.csv -o again/", "the rows of a table"),
        ],
        arguments,
    )


def denoise(arguments: list[str]) -> None:
    """Restore corrupted files.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    _run(
        "denoise",
        "Restores corrupted files, and writes the results under the same names. Needs a model of task=denoising.",
        [
            ("logs/denoising/images-ae/<date> noisy/ -o clean/", "all images of a folder"),
            ("logs/denoising/images-ae/<date> scan.png -o clean/ --tile", "a large image, in overlapping patches"),
        ],
        arguments,
    )


def _run(name: str, what: str, examples: list[tuple[str, str]], arguments: list[str]) -> None:
    made = parser(name, what, examples)
    add_files(made)
    made.add_argument(
        "--tile", action="store_true",
        help="process images in overlapping patches of the model's size and blend them, instead of resizing the image",
    )  # fmt: skip
    add_common(made, "the folder for the results")
    options = made.parse_intermixed_args(arguments)
    folder = output_folder(options)
    trained = loaded(options)
    files = find(trained, options.files)
    wrote((_tiled if options.tile else _whole)(trained, name, files, folder), "file", folder)


def _whole(trained: "Trained", name: str, files: list[tuple[Path, Path]], folder: Path) -> int:
    from vaelab.trained.images import Images, whole_pictures

    adapter: Any = trained.adapter
    images = isinstance(adapter, Images)
    if images:
        adapter = whole_pictures(adapter)
    made = trained.reconstructed if name == "reconstruct" else trained.restored
    count = 0
    with progress(f"{name}ing".replace("eing", "ing"), len(files)) as done:
        try:
            for part in adapter.read(files):
                count += len(adapter.write(folder, made(part), part))
                done(part.count if images else 1)
        except UserError as error:
            raise type(error)(f"{error}{_besides(count, folder)}") from error
    if not count:
        raise DataError("no file is usable, so nothing is written")
    return count


def _tiled(trained: "Trained", name: str, files: list[tuple[Path, Path]], folder: Path) -> int:
    """Process images in overlapping patches; return the number of files written.

    Raises:
        ConfigError: the model was not trained on images.
        DataError: images cannot be read; the message names them.
    """
    import torch

    from vaelab.trained.adapter import Part
    from vaelab.trained.images import Images, UnusableError, blended, framed, picture, save_png, tiled, whole_picture

    adapter = trained.adapter
    if not isinstance(adapter, Images):
        raise ConfigError(f"--tile: works on images only, but the model was trained on {trained.spec.kind} data")
    made = trained.reconstructed if name == "reconstruct" else trained.restored
    size = trained.spec.shape[1], trained.spec.shape[2]
    broken, count = [], 0
    with progress("tiling", len(files)) as done:
        for file, stem in files:
            try:
                pixels, frame = whole_picture(file, adapter.decoding)
            except UnusableError as error:
                broken.append(f"{file} {error.reason}")
                continue
            patches, places = tiled(pixels, size)
            values = torch.from_numpy(patches)
            part = Part(len(values), partial(adapter.batches, values), {}, stem)
            again = blended(made(part), places, (pixels.shape[1], pixels.shape[2]))
            save_png(framed(picture(again), frame), folder / f"{stem}.png")
            count += 1
            done(1)
    if broken:
        told = f"{len(broken):,} of {counted(len(files), 'file')} cannot be used: {some(broken)}"
        if not adapter.reading.settings.get("skip_broken") or not count:
            raise DataError(f"{told}{_besides(count, folder)}; data.skip_broken=true leaves them out")
        note(f"{told}; they are left out")
    return count


def _besides(count: int, folder: Path) -> str:
    return f"; {counted(count, 'other is', 'others are')} written to {folder}" if count else ""
