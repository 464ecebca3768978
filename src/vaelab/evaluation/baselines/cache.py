"""Cached numbers and outputs of baselines, so that each is computed once for a data set."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import sklearn
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vaelab.atomic_write import write_file, write_json
from vaelab.data.module import DataModule

FORMAT = 2  # raise it when a baseline gives other results on the same data


class BaselineCache:
    """One JSON file for each baseline, its settings and a fingerprint of the data.

    The fingerprint covers stored values, labels, the split and the corruption, so that a run is never compared with
    numbers on other examples.
    """

    def __init__(self, folder: Path, data: DataModule) -> None:
        self._folder = folder
        self._data = data
        self._fingerprint: str | None = None

    def numbers(
        self, name: str, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, float]]
    ) -> dict[str, float]:
        """`baseline/<name>/<metric>` to number, computed if no file has it.

        Args:
            name: of the baseline, such as `pca`.
            settings: everything else that the numbers depend on, as plain data.
            compute: returns metric names, such as `mse`, and numbers.
        """
        path = self._path(name, settings, "json")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            found = {metric: float(value) for metric, value in compute().items()}
            with suppress(OSError):  # on a read-only disk the numbers are computed again each time
                write_json(path, found)
        return {f"baseline/{name}/{metric}": value for metric, value in found.items()}

    def tensor(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
        """A value for each example, such as a score, computed if no file has it.

        Args:
            name, settings: as in `numbers`.
            compute: returns the tensor.
        """
        path = self._path(name, settings, "safetensors")
        try:
            return load(path.read_bytes())["values"]
        except (OSError, SafetensorError, KeyError):
            values = compute().contiguous()
            with suppress(OSError):
                write_file(path, save({"values": values}))
            return values

    def _path(self, name: str, settings: Mapping[str, Any], kind: str) -> Path:
        key = json.dumps([FORMAT, sklearn.__version__, name, settings, self.fingerprint], sort_keys=True)
        return self._folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.{kind}"

    @property
    def fingerprint(self) -> str:
        """A digest of the data, its split and its corruption."""
        if self._fingerprint is None:
            digest = hashlib.sha256(json.dumps(self._data.spec.to_json()).encode())
            digest.update(self._data.fingerprint().encode())
            digest.update(repr(sorted(vars(self._data.corruption).items())).encode())
            digest.update(type(self._data.corruption).__name__.encode())
            digest.update(str(self._data.binarize).encode())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint
