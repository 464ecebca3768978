"""The checks of a machine, one function for each topic."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from time import perf_counter
from typing import Any

from packaging.requirements import Requirement

SIDE, SECONDS = 1_024, 0.5  # size of the matrices whose product is timed, and for how many seconds
LEAST_FREE = 2e9  # free bytes on a disk; with less, runs soon fail
SHOWN = ("torch", "lightning", "hydra-core", "torchmetrics", "wandb")


@dataclass
class Findings:
    """The result of the checks.

    Attributes:
        rows: facts, as `(name, value)`.
        notes: things that work, but not as well as they could, with a remedy.
        problems: things that make runs fail, with a remedy.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"found": dict(self.rows), "notes": self.notes, "problems": self.problems}


def look(folders: dict[str, Path]) -> Findings:
    """Run all checks.

    Args:
        folders: the folders that runs write to and read from, by config key.
    """
    found = Findings()
    _packages(found)
    _devices(found)
    _compiler(found)
    _trackers(found)
    _folders(found, folders)
    return found


def _packages(found: Findings) -> None:
    found.rows.append(("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"))
    found.rows.append(("vaelab", _installed("vaelab") or "not installed: pip install -e ."))
    extras: dict[str, list[str]] = {}
    for needed, extra in _requirements():
        installed = _installed(needed.name)
        if extra is None and installed is None:
            found.problems.append(f"{needed.name} is not installed: pip install '{needed}'")
        elif installed is not None and not needed.specifier.contains(installed, prereleases=True):
            found.problems.append(
                f"{needed.name} {installed} is not a supported version: pip install '{needed.name}{needed.specifier}'"
            )
        if extra is not None:
            extras.setdefault(extra, []).append("" if installed else needed.name)
    found.rows += [(name, _installed(name) or "not installed") for name in SHOWN]
    there = sorted(extra for extra, lacking in extras.items() if not any(lacking))
    lacking = sorted(set(extras) - set(there) - {"dev"})
    found.rows.append(("extras", ", ".join(there) or "none"))
    if lacking:
        found.rows.append(("extras not installed", f"{', '.join(lacking)} (pip install 'vaelab[{lacking[0]}]')"))


def _requirements() -> Iterator[tuple[Requirement, str | None]]:
    """Yield each package that vaelab needs, with the extra that needs it."""
    for text in (requires("vaelab") if _installed("vaelab") else None) or ():
        needed = Requirement(text)
        if needed.marker is None:
            yield needed, None
            continue
        extra = str(needed.marker).partition("extra == ")[2].strip("\"' ")
        if extra:
            yield needed, extra


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices(found: Findings) -> None:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found.rows.append(("processor", f"{cores} cores, {torch.get_num_threads()} threads"))
    with suppress(OSError, ValueError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found.rows.append(("memory", f"{memory / 1e9:.0f} GB"))
    devices = [torch.device("cpu")]
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        found.rows.append((f"GPU {number}", f"{about.name}, {about.total_memory / 1e9:.0f} GB"))
        devices.append(torch.device("cuda", number))
    if torch.backends.mps.is_available():
        found.rows.append(("GPU", "Apple's"))
        devices.append(torch.device("mps"))
    if len(devices) == 1:
        found.rows.append(("GPU", "none that torch can see"))
        if torch.version.cuda is None and shutil.which("nvidia-smi"):
            found.notes.append(
                "there is a GPU, but this torch is built without CUDA; see pytorch.org for the right build"
            )
    for device in devices:
        try:
            speeds = [f"{_speed(device, precision):,.0f} in {precision}" for precision in ("float32", "bfloat16")]
        except RuntimeError as error:  # such as a GPU without free memory
            found.problems.append(f"{device}: cannot multiply matrices ({str(error).splitlines()[0]})")
            continue
        found.rows.append(
            (f"speed of {device}", f"{' and '.join(speeds)}, billions of operations per second in matrix products")
        )


def _speed(device: Any, precision: str) -> float:
    """Return the billions of additions and multiplications per second in matrix products."""
    import torch

    matrix = torch.ones(SIDE, SIDE, dtype=getattr(torch, precision), device=device)

    def wait() -> None:
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()

    matrix @ matrix
    wait()
    began, products = perf_counter(), 0
    while perf_counter() - began < SECONDS:
        matrix @ matrix
        wait()
        products += 1
    return products * 2 * SIDE**3 / (perf_counter() - began) / 1e9


def _compiler(found: Findings) -> None:
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    there = next(filter(None, map(shutil.which, names)), None)
    found.rows.append(("C++ compiler", there or "none"))
    if there is None:
        found.notes.append(f"without a C++ compiler ({' or '.join(names)}) long runs are not compiled, and take longer")


def _trackers(found: Findings) -> None:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        said = f"WANDB_MODE={os.environ['WANDB_MODE']}"
    else:
        said = "logged in" if _knows_wandb() else "offline: not logged in (wandb login)"
    found.rows.append(("W&B", said))
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        from vaelab.secrets import redact_text

        found.rows.append(("MLflow", redact_text(address)))


def _knows_wandb() -> bool:
    """Whether there is an API key, without contacting the service."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    from netrc import NetrcParseError, netrc

    try:
        return netrc().authenticators(os.environ.get("WANDB_BASE_URL", "api.wandb.ai").split("/")[-1]) is not None
    except (OSError, NetrcParseError):
        return False


def _folders(found: Findings, folders: dict[str, Path]) -> None:
    for key, folder in folders.items():
        place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not place.is_dir():
            found.problems.append(f"{key}={folder}: {place} is a file; name another folder")
            continue
        free = shutil.disk_usage(place).free
        found.rows.append((key, f"{folder}, {free / 1e9:.1f} GB free"))
        if free < LEAST_FREE:
            found.problems.append(
                f"{key}={folder}: {free / 1e9:.1f} GB are free; free some space, or choose another disk"
            )
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            found.problems.append(f"{key}={folder}: cannot be written ({error.strerror}); name another folder")
