"""Numbers and outputs of baselines, kept so that each costs once for a data set."""

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

FORMAT = 2  # raise when a baseline changes what it makes of the same data


class BaselineCache:
    """One JSON file for each baseline, its settings and the fingerprint of the data it saw.

    The fingerprint covers stored values, labels, the split and the corruption, so that a number is
    never shown beside a run on other examples.
    """

    def __init__(self, folder: Path, data: DataModule) -> None:
        self._folder = folder
        self._data = data
        self._fingerprint: str | None = None

    def numbers(
        self, name: str, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, float]]
    ) -> dict[str, float]:
        """`baseline/<name>/<metric>` to number, computed where no file has it.

        Args:
            name: of the baseline, such as `pca`.
            settings: everything besides the data that the numbers depend on, as plain data.
            compute: gives metric names, such as `mse`, and numbers.
        """
        path = self._path(name, settings, "json")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            found = {metric: float(value) for metric, value in compute().items()}
            with suppress(OSError):  # a read-only place costs time, not the run
                write_json(path, found)
        return {f"baseline/{name}/{metric}": value for metric, value in found.items()}

    def tensor(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
        """What a baseline gives each example, such as a score, computed where no file has it.

        Args:
            name, settings: as in `numbers`.
            compute: gives the tensor.
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
        """Of the data, its split and its corruption."""
        if self._fingerprint is None:
            digest = hashlib.sha256(json.dumps(self._data.spec.to_json()).encode())
            digest.update(self._data.fingerprint().encode())
            digest.update(repr(sorted(vars(self._data.corruption).items())).encode())
            digest.update(type(self._data.corruption).__name__.encode())
            digest.update(str(self._data.binarize).encode())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint
