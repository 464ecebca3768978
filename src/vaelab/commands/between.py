"""`vaelab interpolate RUN A B -o DIR` and `vaelab traverse RUN A -o DIR`"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.commands.options import a_count, add_common, loaded, output_folder, parser, read_settings, wrote
from vaelab.errors import ConfigError, DataError
from vaelab.notes import counted

if TYPE_CHECKING:
    from torch import Tensor

    from vaelab.trained import Trained

MOST = 10  # dimensions of a traversal, where none is named
WHICH = "of several examples the first; words such as data.encoding=latin-1 say how they are read"


def interpolate(arguments: list[str]) -> None:
    """Write what lies between two examples.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    made = parser(
        "interpolate",
        "Writes what a model decodes on the way from one code to another: of images a strip (strip.png) and a film\n"
        "(film.gif), of music a MIDI file for each step, of text and tables a line or row for each step.",
        [
            ("logs/generation/images-vae/<date> a.png b.png -o between/", "nine images, the ends included"),
            ("logs/generation/images-vae/<date> a.png b.png -n 25 --spherical -o between/", "along a great circle"),
        ],
    )
    made.add_argument("files", nargs="+", metavar="FILE", help=f"two files, A and B; {WHICH}")
    made.add_argument("-n", "--count", type=a_count, default=9, metavar="N", help="steps, the ends included; 9")
    made.add_argument(
        "--spherical", action="store_true", help="keep the length of codes on the way, as draws of N(0, I) have it"
    )
    add_common(made, "the folder for the results")
    options = made.parse_intermixed_args(arguments)
    folder = output_folder(options)
    if options.count < 2:
        raise ConfigError("-n 1: a way has two ends; at least 2")
    trained = loaded(options)
    import torch

    (a, label), (b, other) = (_first(trained, file) for file in _files(trained, options.files, 2))
    shares = torch.linspace(0, 1, options.count)
    codes = (spherical if options.spherical else linear)(a, b, shares)
    labels = None if label is None else [label if share < 0.5 else other for share in shares]
    _write(trained, folder, trained.decode(codes, labels), options.count)
    wrote(options.count, "step", folder)


def traverse(arguments: list[str]) -> None:
    """Write what single numbers of a code do.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    made = parser(
        "traverse",
        "Changes one number of the code of an example at a time, and writes what the model decodes: of images a\n"
        "picture with a row for each number (strip.png), those first that change the picture most.",
        [
            ("logs/generation/images-vae/<date> a.png -o around/", "the ten numbers that matter most"),
            ("logs/generation/images-vae/<date> a.png --dims 3,7 --range 2 -o around/", "two of them, by up to 2"),
        ],
    )
    made.add_argument("files", nargs="+", metavar="FILE", help=f"a file; {WHICH}")
    made.add_argument("-n", "--count", type=a_count, default=7, metavar="N", help="steps of each number; 7")
    made.add_argument("--dims", metavar="NUMBERS", help="of the code, counted from 0; those that matter most")
    made.add_argument("--range", type=float, default=3.0, metavar="R", help="how far each goes from 0, up and down; 3")
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
    wrote(len(dims), "number", folder, more=f" (z{', z'.join(map(str, dims))}; {options.count} steps each)")


def linear(a: "Tensor", b: "Tensor", shares: "Tensor") -> "Tensor":
    """`(n, size)` codes on the line from `a` to `b`."""
    return a + shares[:, None] * (b - a)


def spherical(a: "Tensor", b: "Tensor", shares: "Tensor") -> "Tensor":
    """`(n, size)` codes on a great circle, with lengths that change evenly (Shoemake, 1985; White, 2016).

    slerp(a, b, t) = (sin((1 - t) w) a + sin(t w) b) / sin(w), w the angle between them.
    """
    import torch

    lengths = torch.stack([a.norm(), b.norm()]).clamp(min=1e-12)
    one, other = a / lengths[0], b / lengths[1]
    angle = (one @ other).clamp(-1, 1).acos()
    if angle < 1e-4 or torch.pi - angle < 1e-4:  # one circle or many: the line says the same or as much
        return linear(a, b, shares)
    t = shares[:, None]
    direction = (((1 - t) * angle).sin() * one + (t * angle).sin() * other) / angle.sin()
    return direction * (lengths[0] + t * (lengths[1] - lengths[0]))


def by_effect(
    trained: "Trained", code: "Tensor", reach: float, places: "Tensor | None" = None, label: str | None = None
) -> list[int]:
    """Places of a code, those first whose change from `-reach` to `reach` changes the decoded example most.

    Args:
        trained: decodes.
        code: `(size,)`, of which one number at a time is changed.
        reach: how far from 0.
        places: `(n,)` those that are tried; None for all.
        label: of the example, for a model that is given labels.
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
        raise ConfigError(f"--dims {words}: should be numbers from 0 to {size - 1} with commas between them")
    return [int(part) for part in parts]


def _files(trained: "Trained", words: list[str], count: int) -> list[Path]:
    """So many files that words name; the other words say how they are read.

    Raises:
        ConfigError: there are more or fewer.
    """
    paths = read_settings(trained, words)
    if len(paths) != count:
        raise ConfigError(f"{counted(len(paths), 'file')} {'is' if len(paths) == 1 else 'are'} named; name {count}")
    return paths


def _first(trained: "Trained", file: Path) -> tuple["Tensor", str | None]:
    """The code of the first example of a file, and its label where the model is given labels."""
    part = next(iter(trained.adapter.read(trained.adapter.find([file]))), None)
    if part is None:
        raise DataError(f"{file}: holds no example that can be used")
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
    """A film that goes forth and back, eight pictures a second."""
    from vaelab.atomic_write import replacing

    there_and_back = [frame.convert("RGB") for frame in [*frames, *frames[-2:0:-1]]]
    with replacing(path) as partial:
        there_and_back[0].save(
            partial, "GIF", save_all=True, append_images=there_and_back[1:], duration=125, loop=0
        )  # fmt: skip
