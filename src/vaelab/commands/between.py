"""`vaelab interpolate RUN A B -o DIR` and `vaelab traverse RUN A -o DIR`"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.commands.options import a_count, add_common, loaded, output_folder, parser, read_settings, wrote
from vaelab.errors import ConfigError, DataError
from vaelab.notes import counted

if TYPE_CHECKING:
    from torch import Tensor

    from vaelab.trained import Trained

MOST = 10  # dimensions of a traversal, if none are named
WHICH = "its first example is used; words such as data.encoding=latin-1 set how files are read"


def interpolate(arguments: list[str]) -> None:
    """Decode the codes between two examples, and write the results.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    made = parser(
        "interpolate",
        "Interpolates between the codes of two examples, and writes what the model decodes at each step: for images a\n"
        "strip (strip.png) and an animation (film.gif), for music one MIDI file per step, for text and tables one\n"
        "line or row per step.",
        [
            ("logs/generation/images-vae/<date> a.png b.png -o between/", "nine images, including both ends"),
            ("logs/generation/images-vae/<date> a.png b.png -n 25 --spherical -o between/", "along a great circle"),
        ],
    )
    made.add_argument("files", nargs="+", metavar="FILE", help=f"two files, A and B; of each, {WHICH}")
    made.add_argument(
        "-n", "--count", type=a_count, default=9, metavar="N", help="number of steps, including both ends (default: 9)"
    )
    made.add_argument(
        "--spherical", action="store_true", help="interpolate along a great circle (slerp), for codes of N(0, I)"
    )
    add_common(made, "the folder for the results")
    options = made.parse_intermixed_args(arguments)
    folder = output_folder(options)
    if options.count < 2:
        raise ConfigError("-n 1: an interpolation has two ends; use at least 2")
    trained = loaded(options)
    import torch

    (a, label), (b, other) = (_first(trained, file) for file in _files(trained, options.files, 2))
    shares = torch.linspace(0, 1, options.count)
    codes = (spherical if options.spherical else linear)(a, b, shares)
    labels = None if label is None else [label if share < 0.5 else other for share in shares]
    _write(trained, folder, trained.decode(codes, labels), options.count)
    wrote(options.count, "step", folder)


def traverse(arguments: list[str]) -> None:
    """Change one dimension of a code at a time, decode, and write the results.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    made = parser(
        "traverse",
        "Changes one dimension of the code of an example at a time, and writes what the model decodes: for images one\n"
        "picture (strip.png) with a row per dimension. Dimensions that change the output most come first.",
        [
            ("logs/generation/images-vae/<date> a.png -o around/", "the ten dimensions with the largest effect"),
            (
                "logs/generation/images-vae/<date> a.png --dims 3,7 --range 2 -o around/",
                "dimensions 3 and 7, from -2 to 2",
            ),
        ],
    )
    made.add_argument("files", nargs="+", metavar="FILE", help=f"a file; {WHICH}")
    made.add_argument(
        "-n", "--count", type=a_count, default=7, metavar="N", help="steps for each dimension (default: 7)"
    )
    made.add_argument(
        "--dims",
        metavar="NUMBERS",
        help="dimensions of the code, from 0, such as 3,7 (default: the 10 largest effects)",
    )
    made.add_argument(
        "--range", type=float, default=3.0, metavar="R", help="vary each dimension from -R to R (default: 3)"
    )
    add_common(made, "the folder for the results")
    options = made.parse_intermixed_args(arguments)
    folder = output_folder(options)
    trained = loaded(options)
    import torch

    code, label = _first(trained, *_files(trained, options.files, 1))
    dims = (
        _dims(options.dims, trained.latent_dim)
        if options.dims
        else by_effect(trained, code, options.range, label=label)[:MOST]
    )
    steps = torch.linspace(-options.range, options.range, options.count)
    codes = code.repeat(len(dims), options.count, 1)
    for row, dim in enumerate(dims):
        codes[row, :, dim] = steps
    _write(trained, folder, trained.decode(codes.flatten(0, 1), label), options.count)
    wrote(len(dims), "dimension", folder, more=f" (z{', z'.join(map(str, dims))}; {options.count} steps each)")


def linear(a: "Tensor", b: "Tensor", shares: "Tensor") -> "Tensor":
    """Return `(n, size)` codes on the straight line from `a` to `b`."""
    return a + shares[:, None] * (b - a)


def spherical(a: "Tensor", b: "Tensor", shares: "Tensor") -> "Tensor":
    """Return `(n, size)` codes on a great circle; the norm changes linearly (Shoemake, 1985; White, 2016).

    slerp(a, b, t) = (sin((1 - t) w) a + sin(t w) b) / sin(w), w the angle between them.
    """
    import torch

    lengths = torch.stack([a.norm(), b.norm()]).clamp(min=1e-12)
    one, other = a / lengths[0], b / lengths[1]
    angle = (one @ other).clamp(-1, 1).acos()
    if angle < 1e-4 or torch.pi - angle < 1e-4:  # parallel or opposite codes: the circle is the line, or not unique
        return linear(a, b, shares)
    t = shares[:, None]
    direction = (((1 - t) * angle).sin() * one + (t * angle).sin() * other) / angle.sin()
    return direction * (lengths[0] + t * (lengths[1] - lengths[0]))


def by_effect(
    trained: "Trained", code: "Tensor", reach: float, places: "Tensor | None" = None, label: str | None = None
) -> list[int]:
    """Order the dimensions of a code: those first whose change from `-reach` to `reach` changes the output most.

    Args:
        trained: the model that decodes.
        code: `(size,)`; one dimension at a time is changed.
        reach: the largest absolute value that a dimension is set to.
        places: `(n,)` indices of the dimensions to try; None for all.
        label: the label of the example, for a model conditioned on labels.
    """
    import torch

    places = torch.arange(len(code)) if places is None else places
    count = len(places)
    ends, rows = code.repeat(2, count, 1), torch.arange(count)
    ends[0, rows, places], ends[1, rows, places] = -reach, reach
    decoded = trained.decode(ends.flatten(0, 1), label).float().nan_to_num()
    low, high = decoded.unflatten(0, (2, count))
    effect = (high - low).flatten(1).square().mean(1)
    return [int(place) for place in places[effect.argsort(descending=True, stable=True)]]


def _dims(words: str, size: int) -> list[int]:
    parts = words.split(",")
    if not all(part.strip().isdecimal() and int(part) < size for part in parts):
        raise ConfigError(f"--dims {words}: should be numbers from 0 to {size - 1}, separated by commas")
    return [int(part) for part in parts]


def _files(trained: "Trained", words: list[str], count: int) -> list[Path]:
    """Return the `count` files that are named; the other words set how files are read.

    Raises:
        ConfigError: more or fewer files are named.
    """
    paths = read_settings(trained, words)
    if len(paths) != count:
        raise ConfigError(f"{counted(len(paths), 'file')} {'is' if len(paths) == 1 else 'are'} named; name {count}")
    return paths


def _first(trained: "Trained", file: Path) -> tuple["Tensor", str | None]:
    """Return the code of the first example of a file, and its label if the model is conditioned on labels."""
    part = next(iter(trained.adapter.read(trained.adapter.find([file]))), None)
    if part is None:
        raise DataError(f"{file}: contains no usable example")
    labels = trained.labels_of(part)
    return trained.codes(part)[0], None if labels is None else labels[0]


def _write(trained: "Trained", folder: Path, values: "Tensor", columns: int) -> None:
    if trained.spec.kind != "image":
        trained.adapter.write_samples(folder, values, "step", drawn=False)
        return
    from vaelab.figures.images import tile
    from vaelab.trained.images import enlarged, picture, save_png

    shown = enlarged(values)
    save_png(picture(tile(shown, columns).permute(2, 0, 1)), folder / "strip.png")
    save_film([picture(value) for value in shown], folder / "film.gif")


def save_film(frames: list[Any], path: Path) -> None:
    """Save an animation that runs forward and backward, at eight frames per second."""
    from vaelab.atomic_write import replacing

    there_and_back = [frame.convert("RGB") for frame in [*frames, *frames[-2:0:-1]]]
    with replacing(path) as partial:
        there_and_back[0].save(
            partial, "GIF", save_all=True, append_images=there_and_back[1:], duration=125, loop=0
        )  # fmt: skip
