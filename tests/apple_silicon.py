"""Apple's GPU as torch shows it, on a machine that has none: the same arithmetic on the processor, the same refusals.

A tensor of the simulated device holds its values in one of the processor. What the real device refuses is refused
here: float64, tensors of two devices in one operation, arrays of NumPy, adaptive pooling to sizes that do not divide
the input's, and a few linear-algebra functions that it has not. Speed and rounding are the processor's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import mod
from typing import Any, ClassVar

import pytest
import torch
from lightning.fabric.accelerators import MPSAccelerator as FabricAccelerator
from lightning.pytorch.accelerators import MPSAccelerator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

MPS = torch.device("mps", 0)
READS: list[str] = []  # operations that brought values from the device, each of which has to wait for it
_STAND_IN = torch.device("meta")  # what C++ takes it for: this build of torch has no guard of the real one
_BETWEEN = {"aten::copy_", "aten::_to_copy", "aten::set_", "aten::_foreach_copy_"}  # from one device to another
# Of these only the first argument must lie on the device: indices and lengths may be the processor's.
_FIRST = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_", "aten::_pack_padded_sequence"}
_ABSENT = {"aten::_linalg_eigh", "aten::linalg_eigh", "aten::_linalg_svd", "aten::linalg_lstsq", "aten::linalg_eig"}


class AppleTensor(Tensor):
    """Values that lie on the simulated device."""

    values: Tensor
    device: ClassVar[Any] = MPS
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> "AppleTensor":
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=_STAND_IN,
            requires_grad=values.requires_grad,
        )
        made.values = values
        return made

    @property
    def is_mps(self) -> bool:
        return True

    def tolist(self) -> Any:
        return self.values.tolist()

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_indices(index), value)

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["values"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "AppleTensor":
        return AppleTensor(inner["values"])

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.values.detach().__reduce_ex__(protocol)  # a file knows no simulated device

    def __repr__(self, **_: Any) -> str:
        return f"AppleTensor({self.values})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class AppleSilicon(TorchDispatchMode):
    """While it is entered, tensors may be made on `mps` and moved there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _indices(index: Any) -> Any:
    """Lists as tensors: C++ would make one of a list where the stand-in is, without the values."""
    if isinstance(index, tuple):
        return tuple(torch.tensor(part) if isinstance(part, list) else part for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = function._schema.name
    flat, shape = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    inside = [value for value in tensors if isinstance(value, AppleTensor)]
    assert all(isinstance(value, AppleTensor) or not value.is_meta for value in tensors), f"{name} lost its values"
    asked = kwargs.get("device")
    wanted = asked is not None and torch.device(asked).type in ("mps", "meta")
    elsewhere = asked is not None and not wanted
    if inside and name not in _BETWEEN:
        if name in _ABSENT:
            raise NotImplementedError(f"The operator '{name}' is not currently implemented for the MPS device")
        others = [value for value in tensors if not isinstance(value, AppleTensor) and value.dim() > 0]
        if others and not (name in _FIRST and isinstance(args[0], AppleTensor)):
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found mps:0 and cpu")
        if name == "aten::_adaptive_avg_pool2d" and any(map(mod, args[0].shape[-2:], args[1])):
            raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes")
    if inside and (elsewhere or name == "aten::_local_scalar_dense"):
        READS.append(name)
    plain = [value.values if isinstance(value, AppleTensor) else value for value in flat]
    plain_args, plain_kwargs = tree_unflatten(plain, shape)
    if wanted:
        plain_kwargs["device"] = torch.device("cpu")
    result = function(*plain_args, **plain_kwargs)
    if wanted or (inside and not elsewhere and not (name == "aten::copy_" and not isinstance(args[0], AppleTensor))):
        if name == "aten::_pack_padded_sequence":  # whose second result, sizes of batches, is the processor's
            return _placed(result[0]), result[1]
        result = tree_map_only(Tensor, _placed, result)
        return return_and_correct_aliasing(function, args, kwargs, result)
    return result


def _placed(values: Tensor) -> Tensor:
    if values.dtype in (torch.float64, torch.complex128):
        raise TypeError(
            "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
            "Please use float32 instead."
        )
    return AppleTensor(values)


@contextmanager
def apple_silicon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose accelerator is Apple's GPU, for torch and for Lightning."""
    generator = torch.Generator

    class Generator(generator):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> torch.Generator:
            return generator("cpu" if torch.device(device).type == "mps" else device)

    for accelerator in (MPSAccelerator, FabricAccelerator):
        monkeypatch.setattr(accelerator, "is_available", staticmethod(lambda: True))
    monkeypatch.setattr(torch, "Generator", Generator)
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device=...)` then moves what it made
    try:
        with AppleSilicon():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
