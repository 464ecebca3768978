"""Options, progress bar and last line that all commands which use a trained model share."""

import argparse
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.errors import ConfigError
from vaelab.missing_package import missing
from vaelab.notes import counted

if TYPE_CHECKING:
    from vaelab.trained import Trained

RUN = "a run folder, its folder model, or owner/name on the Hugging Face hub"


def parser(name: str, what: str, examples: list[tuple[str, str]]) -> argparse.ArgumentParser:
    """Make the parser of one command.

    Args:
        name: the name of the command.
        what: what the command does, in a sentence or two.
        examples: pairs of a command line and what it does.
    """
    width = max(len(line) for line, _ in examples)
    shown = "\n".join(f"  vaelab {name} {line:{width}}  {why}" for line, why in examples)
    made = argparse.ArgumentParser(
        f"vaelab {name}",
        description=what,
        epilog=f"examples:\n{shown}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("run", metavar="RUN", help=RUN)
    return made


def add_common(made: argparse.ArgumentParser, output: str | None, seeded: bool = False, needed: bool = True) -> None:
    """Add the options that follow a command's own options.

    Args:
        made: the parser.
        output: help for `-o`; None for a command that writes nothing.
        seeded: whether the command draws random numbers.
        needed: whether `-o` must be given.
    """
    if output is not None:
        made.add_argument("-o", "--output", required=needed, metavar="PATH", help=output)
        made.add_argument("--overwrite", action="store_true", help="overwrite existing files")
    if seeded:
        made.add_argument(
            "--seed",
            type=a_seed,
            default=0,
            metavar="N",
            help="random seed; the same seed gives the same result (default: 0)",
        )
    made.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda, mps or cuda:1 (default: auto, which uses CUDA if available)",
    )
    made.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package whose classes the model's files may name",
    )


def loaded(options: argparse.Namespace) -> "Trained":
    """Load the model that a command line names, on the device that it names.

    Raises:
        UserError: there is no such model, it is damaged, or the machine has no such device.
    """
    gc.disable()  # garbage collection would take a quarter of the import time, and find nothing
    try:
        import torch

        import vaelab.trained
    except ModuleNotFoundError as error:
        raise ConfigError(missing(error)) from error
    gc.freeze()
    gc.enable()
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        there = [
            "cpu",
            *(["cuda"] if torch.cuda.is_available() else []),
            *(["mps"] if torch.mps.is_available() else []),
        ]
        raise ConfigError(f"--device {name}: this machine has {', '.join(there)}") from error
    return vaelab.load(options.run, tuple(options.trust), name)


def a_seed(word: str) -> int:
    """Parse a seed: a whole number from 0 to 2^63 - 1."""
    if not word.isdecimal() or int(word) >= 2**63:
        raise argparse.ArgumentTypeError(f"{word}: should be a whole number from 0 to 2^63 - 1")
    return int(word)


def add_files(made: argparse.ArgumentParser) -> None:
    """Add the files that a command reads."""
    made.add_argument(
        "files", nargs="+", metavar="FILE",
        help="files or folders of files; words such as data.encoding=latin-1 set how they are read",
    )  # fmt: skip


def find(trained: "Trained", words: list[str]) -> list[tuple[Path, Path]]:
    """Find the files that are named; see `Adapter.find`. Words such as `data.encoding=latin-1` set how they are read.

    Raises:
        ConfigError: such a word is not valid, or no file is named.
        DataError: a file does not exist.
    """
    paths = read_settings(trained, words)
    if not paths:
        raise ConfigError("no file is named")
    return trained.adapter.find(paths)


def read_settings(trained: "Trained", words: list[str]) -> list[Path]:
    """Apply words such as `data.encoding=latin-1`, which set how files are read; return the other words as paths.

    Raises:
        ConfigError: such a word is not valid.
    """
    settings = [word for word in words if word.startswith("data.") and "=" in word and not Path(word).exists()]
    if settings:
        import yaml

        try:
            values = {key: yaml.safe_load(value) for key, _, value in (word[5:].partition("=") for word in settings)}
        except yaml.YAMLError as error:
            raise ConfigError(f"{' '.join(settings)}: cannot be read ({str(error).splitlines()[0]})") from error
        trained.read_with(values)
    return [Path(word) for word in words if word not in settings]


def output_folder(options: argparse.Namespace) -> Path:
    """Return the folder that `-o` names.

    Raises:
        ConfigError: it is a file, or is not empty and `--overwrite` is not given.
    """
    return an_output_folder(options.output, "-o", options.overwrite)


def an_output_folder(place: str, option: str, overwrite: bool) -> Path:
    """Return the folder that an option names.

    Raises:
        ConfigError: it is a file, or is not empty and may not be overwritten.
    """
    folder = Path(place)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{option} {folder}: is a file; name a folder")
    if folder.is_dir() and not overwrite and any(folder.iterdir()):
        raise ConfigError(f"{option} {folder}: is not empty; name a new folder, or add --overwrite")
    return folder


def output_file(options: argparse.Namespace, suffixes: tuple[str, ...]) -> Path:
    """Return the file that `-o` names.

    Raises:
        ConfigError: it has another suffix, is a folder, is one of the files to read, or exists without `--overwrite`.
    """
    path = Path(options.output)
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"-o {path}: should be a file that ends with {' or '.join(suffixes)}")
    if path.is_dir():
        raise ConfigError(f"-o {path}: is a folder; name a file")
    if any(Path(given).resolve() == path.resolve() for given in options.files):
        raise ConfigError(f"-o {path}: is one of the files to read; name another file")
    if path.exists() and not options.overwrite:
        raise ConfigError(f"-o {path}: exists already; name another file, or add --overwrite")
    return path


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal and remove it at the end; show nothing if standard error is not a terminal.

    Args:
        what: the description next to the bar.
        total: number of examples; None if it is unknown.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vaelab.terminal import console

    shown = console(stderr=True)
    bars: Any = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bars, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def wrote(count: int, one: str, place: Path, several: str | None = None, more: str = "") -> None:
    """Print the last line: what was written, and where."""
    print(f"wrote {counted(count, one, several)} to {place}{more}")


def a_count(word: str) -> int:
    """Parse a whole number of at least 1."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word}: should be a whole number of at least 1")
    return int(word)
