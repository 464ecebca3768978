"""Train and use autoencoders and variational autoencoders.

`python train.py --help` is the way in. Importing this package imports nothing heavy; `vaelab.load`
brings back a trained model from a run folder.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaelab.models import Model

__version__ = "0.1.0"


def load(folder: str | Path, trusted: tuple[str, ...] = ()) -> "Model":
    """Bring back the trained model of a run folder, in evaluation mode, on the CPU.

    Reads `model/model.json` (plain data) and `model/model.safetensors`; no pickle is involved, and a
    class that the JSON names must belong to vaelab, torch or one of the `trusted` packages.

    Raises:
        vaelab.errors.UserError: the folder holds no model, or the model does not fit its weights.
    """
    from vaelab.record.export import load_model

    return load_model(Path(folder), trusted)
