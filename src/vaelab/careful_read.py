"""Read files that may come from somebody else.

Sizes are checked before memory is taken, nothing in a file is run, and whatever is wrong ends in one message that
names the file.
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

MOST_BYTES = 2**24  # of a JSON file; a few kilobytes are usual
MOST_CONTAINERS = 2**18  # lists and objects in it, each of which takes twenty times its text in memory
DEEPEST = 32  # lists and objects within each other
MOST_HEADER = 2**22  # bytes of names and shapes in a file of weights: some forty thousand tensors
LONGEST_MESSAGE = 600  # characters of what is passed on about a file
DIGEST = "sha256"  # under which a file of weights keeps what `digest` gives
FLOATS = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16}  # precisions that weights are trained in
DTYPES = FLOATS | {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
                   "BOOL": torch.bool}  # fmt: skip


def excess_of(content: bytes, most_bytes: int | None = None) -> str | None:
    """Why `read_json` would not read JSON of this size; None if it would."""
    most = MOST_BYTES if most_bytes is None else most_bytes
    if len(content) > most:
        return f"is larger than {most:,} bytes"
    if content.count(b"[") + content.count(b"{") > MOST_CONTAINERS:
        return f"has more than {MOST_CONTAINERS:,} lists and objects"
    return None


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Plain data.

    Raises:
        CheckpointError: it is no file, larger or more nested than plain data of its kind is, no UTF-8, no JSON, or
            holds a number that is not finite.
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
    """All of a file of at most so many bytes.

    Raises:
        CheckpointError: it is no file, larger, or cannot be read.
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
    """Level by level, since a recursion would itself fail on what it looks for."""
    level = [data]
    for _ in range(DEEPEST):
        for part in level:
            if isinstance(part, str):
                part.encode()  # an escaped half of a surrogate pair is no text, and cannot be shown
        level = [
            inner
            for part in level
            if isinstance(part, dict | list)
            for inner in ([*part, *part.values()] if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise ValueError(f"more than {DEEPEST} lists or objects lie within each other")


class Weights:
    """A safetensors file. Only its header is read until `load` is called.

    Attributes:
        layout: shape and safetensors' name of the dtype of each tensor.
        metadata: texts by name; what `digest` gave when the file was written is under `sha256`, if there is one.

    Raises:
        CheckpointError: it is no file, or cut short, or no safetensors.
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
        """Compare names, shapes and dtypes with those of a module; any precision of numbers may stand for another.

        Args:
            state: its `state_dict`, which may lie on the meta device.
            described: what says that the module is so, such as `model.json`.

        Raises:
            CheckpointError: names the first difference.
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
        """All tensors, on the CPU.

        Raises:
            CheckpointError: a number is not finite, or the file is not as it was written.
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
            raise CheckpointError(f"{self.path}: is broken, it is not as it was written (its {DIGEST} differs)")
        return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names, dtypes, shapes and values on the CPU; in hexadecimal."""
    of = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        of.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        of.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return of.hexdigest()


def lies_whole(tensor: Tensor) -> bool:
    """Whether each number of a tensor has a place of its own in memory: a tensor of one number can pose as a billion.

    The order of the numbers is free, since weights of images may lie with their channels last.
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
    """`model/` of a run folder, or the folder itself, with all of these files.

    Raises:
        CheckpointError: one is missing, so that the folder holds no `what`.
    """
    try:
        folder = run / "model" if (run / "model").is_dir() else run
        missing = [name for name in names if not (folder / name).exists()]
    except OSError as error:  # such as a folder that may not be entered
        broken(run, error)
    if missing:
        raise CheckpointError(f"{run}: holds no {what} ({missing[0]} is missing)")
    return folder


def refuse_no_file(path: Path) -> None:
    """A folder, a pipe or a device in the place of a file would fail later, or never end.

    Raises:
        CheckpointError: it is none.
    """
    try:
        if path.is_file():
            return
        there = path.exists()
    except OSError as error:
        broken(path, error)
    raise CheckpointError(f"{path}: {'is no file' if there else 'no such file'}")


def broken(path: Path, error: Exception) -> NoReturn:
    """Say that a file cannot be read.

    Raises:
        CheckpointError: always.
    """
    what = "cannot be read" if isinstance(error, OSError) else "is broken or cut short"
    raise CheckpointError(f"{path}: {what} ({brief(str(error))})") from error


def brief(text: str) -> str:
    """What a file says, fit for a message."""
    return printable(" ".join(text.split()), LONGEST_MESSAGE)
