"""Read untrusted files.

Sizes are checked before memory is allocated, nothing in a file is executed, and every error is one message that names
the file.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaelab.errors import CheckpointError, printable

MOST_BYTES = 2**24  # bytes of a JSON file; a few kilobytes are usual
MOST_CONTAINERS = 2**18  # lists and objects in a JSON file; each takes twenty times the size of its text in memory
DEEPEST = 32  # nested lists and objects
MOST_HEADER = 2**22  # bytes of names and shapes in a file of weights: some forty thousand tensors
LONGEST_MESSAGE = 600  # characters of a text from a file in a message
DIGEST = "sha256"  # metadata key for the result of `digest` in a file of weights
FLOATS = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16}  # floating-point types of weights
DTYPES = FLOATS | {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
                   "BOOL": torch.bool}  # fmt: skip


def excess_of(content: bytes, most_bytes: int | None = None) -> str | None:
    """Return why `read_json` would refuse this content; None if it would not."""
    most = MOST_BYTES if most_bytes is None else most_bytes
    if len(content) > most:
        return f"is larger than {most:,} bytes"
    if content.count(b"[") + content.count(b"{") > MOST_CONTAINERS:
        return f"has more than {MOST_CONTAINERS:,} lists and objects"
    return None


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Read plain data from a JSON file.

    Raises:
        CheckpointError: it is not a file, is too large or too deeply nested, is not UTF-8 or not JSON, or contains a
            number that is not finite.
    """
    content = read_bytes(path, most_bytes)
    if excess := excess_of(content, most_bytes):
        raise CheckpointError(f"{path}: {excess}, and is not read")
    try:
        data = json.loads(content.decode(), parse_constant=_not_finite)
        _check_depth_and_texts(data)
    except (ValueError, RecursionError) as error:
        broken(path, error)
    return data


def read_bytes(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes.

    Raises:
        CheckpointError: it is not a file, is larger, or cannot be read.
    """
    refuse_no_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        broken(path, error)
    if len(content) > most:
        raise CheckpointError(f"{path}: is larger than {most:,} bytes, and is not read")
    return content


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON has")


def _check_depth_and_texts(data: Any) -> None:
    """Check level by level, since a recursive check would itself fail on deeply nested data."""
    level = [data]
    for _ in range(DEEPEST):
        for part in level:
            if isinstance(part, str):
                part.encode()  # an escaped half of a surrogate pair is not text, and cannot be printed
        level = [
            inner
            for part in level
            if isinstance(part, dict | list)
            for inner in ([*part, *part.values()] if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise ValueError(f"more than {DEEPEST} nested lists or objects")


class Weights:
    """A safetensors file. Only its header is read until `load` is called.

    Attributes:
        layout: shape and dtype (as named by safetensors) of each tensor.
        metadata: texts by name; `sha256` holds the `digest` at the time of writing, if there is one.

    Raises:
        CheckpointError: it is not a file, is truncated, or is not safetensors.
    """

    def __init__(self, path: Path) -> None:
        refuse_no_file(path)
        self.path = path
        try:
            self._refuse_long_header()
            with safe_open(path, "pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                self.layout = {name: (tuple(of.get_shape()), str(of.get_dtype())) for name, of in slices.items()}
                self.metadata: dict[str, str] = file.metadata() or {}
        except (OSError, SafetensorError, ValueError, OverflowError) as error:
            broken(path, error)

    def _refuse_long_header(self) -> None:
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > min(MOST_HEADER, self.path.stat().st_size):
            raise ValueError(f"it begins with a header of {length:,} bytes")

    def refuse_others(self, state: Mapping[str, Tensor], described: str) -> None:
        """Compare names, shapes and dtypes with those of a module; floating-point types may differ.

        Args:
            state: the `state_dict` of the module, which may be on the meta device.
            described: the file that describes the module, such as `model.json`.

        Raises:
            CheckpointError: they differ; the message names the first difference.
        """
        for name, tensor in state.items():
            if name not in self.layout:
                self._refuse(described, f"{name} is missing in {self.path.name}")
            shape, dtype = self.layout[name]
            if shape != tuple(tensor.shape):
                there, here = list(shape), list(tensor.shape)
                self._refuse(described, f"{name} has shape {there} in {self.path.name} and {here} by {described}")
            fits = dtype in FLOATS if tensor.is_floating_point() else DTYPES.get(dtype) is tensor.dtype
            if not fits:
                wanted = str(tensor.dtype).removeprefix("torch.")
                self._refuse(described, f"{name} is {dtype} in {self.path.name} and should be {wanted}")
        if more := self.layout.keys() - state.keys():
            self._refuse(described, f"{self.path.name} has {brief(min(more))}, {described} has not")

    def _refuse(self, described: str, difference: str) -> NoReturn:
        raise CheckpointError(
            f"{self.path.parent}: {described} and {self.path.name} do not belong together: {difference}"
        )

    def load(self) -> dict[str, Tensor]:
        """Load all tensors to the CPU.

        Raises:
            CheckpointError: a number is not finite, or the file has changed since it was written.
        """
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in self.layout}
        except (OSError, SafetensorError) as error:
            broken(self.path, error)
        for name, tensor in tensors.items():
            if (
                tensor.is_floating_point()
                and tensor.numel()
                and not torch.stack(torch.aminmax(tensor)).isfinite().all()
            ):
                raise CheckpointError(f"{self.path}: {brief(name)} holds NaN or infinity")
        if DIGEST in self.metadata and self.metadata[DIGEST] != digest(tensors):
            raise CheckpointError(f"{self.path}: is broken: it has changed since it was written (its {DIGEST} differs)")
        return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a hexadecimal digest of names, dtypes, shapes and values of tensors on the CPU."""
    of = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        of.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        of.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return of.hexdigest()


def lies_whole(tensor: Tensor) -> bool:
    """Whether each element of a tensor has its own memory: a tensor with strides of 0 can be arbitrarily large.

    Any memory order is allowed, since image weights may use the channels-last format.
    """
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
        return False
    room = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    places = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != places:
                return False
            places *= size
    return tensor.numel() <= room


def folder_with(run: Path, names: Iterable[str], what: str) -> Path:
    """Return `model/` of a run folder, or the folder itself, whichever contains all of these files.

    Raises:
        CheckpointError: a file is missing, so the folder holds no `what`.
    """
    try:
        folder = run / "model" if (run / "model").is_dir() else run
        missing = [name for name in names if not (folder / name).exists()]
    except OSError as error:  # such as a folder without permission
        broken(run, error)
    if missing:
        raise CheckpointError(f"{run}: holds no {what} ({missing[0]} is missing)")
    return folder


def refuse_no_file(path: Path) -> None:
    """Refuse a folder, a pipe or a device, which would fail later or never end.

    Raises:
        CheckpointError: it is not a regular file.
    """
    try:
        if path.is_file():
            return
        there = path.exists()
    except OSError as error:
        broken(path, error)
    raise CheckpointError(f"{path}: {'is no file' if there else 'no such file'}")


def broken(path: Path, error: Exception) -> NoReturn:
    """Raise an error for a file that cannot be read.

    Raises:
        CheckpointError: always.
    """
    what = "cannot be read" if isinstance(error, OSError) else "is broken or cut short"
    raise CheckpointError(f"{path}: {what} ({brief(str(error))})") from error


def brief(text: str) -> str:
    """Shorten a text from a file for a message."""
    return printable(" ".join(text.split()), LONGEST_MESSAGE)
