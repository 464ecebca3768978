"""Decoded tensors, kept beside their source."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaelab.atomic_write import replacing
from vaelab.data.images.decoding import Decoding
from vaelab.data.images.source import HubSource, LocalSource

FORMAT = 2  # raise when decoding changes what it makes of the same file
Decoded = tuple[Tensor, Tensor, dict[str, Any]]  # values, labels and what is known of them


class TensorCache:
    """One safetensors file for each pair of source fingerprint and decoding options.

    It lies in a hidden folder `.vaelab` of the source's own folder, or of `fallback` where that
    cannot be written or does not exist. Files of an earlier state of the source are removed on writing.
    """

    def __init__(self, source: LocalSource | HubSource, decoding: Decoding, fallback: Path) -> None:
        homes = [fallback] if source.home is None else [source.home, fallback]
        self._of_source = _short(source.identity)
        self._of_state = f"{self._of_source}-{_short(source.fingerprint)}"
        name = f"{self._of_state}-{_short(json.dumps([FORMAT, decoding.to_json()]))}.safetensors"
        self.paths = [home / ".vaelab" / name for home in homes]

    def read(self) -> Decoded | None:
        """What was written; None where there is nothing, or nothing whole."""
        for path in self.paths:
            try:
                with safe_open(path, "pt") as file:
                    return file.get_tensor("values"), file.get_tensor("label"), json.loads(file.metadata()["about"])
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                continue
        return None

    def write(self, decoded: Decoded) -> bool:
        """Write whole or not at all, also when several processes do it at once; False where nothing can be written."""
        for path in self.paths:
            try:
                self._write(path, *decoded)
            except OSError:
                continue
            except SafetensorError as error:  # how it reports a full disk
                if "os error" not in str(error):
                    raise
                continue
            return True
        return False

    def _write(self, path: Path, values: Tensor, label: Tensor, about: dict[str, Any]) -> None:
        with replacing(path) as partial:
            save_file({"values": values, "label": label}, partial, {"about": json.dumps(about)})
        for old in path.parent.glob(f"{self._of_source}-*.safetensors"):
            if not old.name.startswith(self._of_state):
                old.unlink(missing_ok=True)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
