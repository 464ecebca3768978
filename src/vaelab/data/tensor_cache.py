"""Decoded tensors, kept beside their source."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaelab.data.decoding import Decoding
from vaelab.data.source import HubSource, LocalSource

FORMAT = 1  # raise when decoding changes what it makes of the same file


class TensorCache:
    """One safetensors file for each pair of source fingerprint and decoding options.

    It lies in a hidden folder `.vaelab` of the source's own folder, or of `fallback` where that
    cannot be written or does not exist. Older files of the same source are removed on writing.
    """

    def __init__(self, source: LocalSource | HubSource, decoding: Decoding, fallback: Path) -> None:
        home = source.home
        folder = home if home is not None and os.access(home, os.W_OK) else fallback
        stem = hashlib.sha256(f"{source}".encode()).hexdigest()[:8]
        options = hashlib.sha256(json.dumps([FORMAT, decoding.to_json()]).encode()).hexdigest()[:8]
        self._siblings = f"{stem}-{options}-*.safetensors"
        self.path = folder / ".vaelab" / f"{stem}-{options}-{source.fingerprint[:16]}.safetensors"

    def read(self) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Values, labels and what is known of them."""
        with safe_open(self.path, "pt") as file:
            return file.get_tensor("values"), file.get_tensor("label"), json.loads(file.metadata()["about"])

    def write(self, values: Tensor, label: Tensor, about: dict[str, Any]) -> None:
        """Write whole or not at all, also when several processes do it at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, delete=False) as partial:
            pass
        try:
            save_file({"values": values, "label": label}, partial.name, {"about": json.dumps(about)})
            for old in self.path.parent.glob(self._siblings):
                old.unlink(missing_ok=True)
            os.replace(partial.name, self.path)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise
