"""Train and use autoencoders and variational autoencoders.

`python train.py --help` is the way in. Importing this package imports nothing heavy; `vaelab.load`
brings back a trained model from a run folder. `vaelab.AE` and `vaelab.VAE` are LightningModules for a plain Trainer.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaelab.models import Model
    from vaelab.training.lightning_models import AE, VAE

__all__ = ["AE", "VAE", "__version__", "load"]

__version__ = "0.1.0"


def load(folder: str | Path, trusted: tuple[str, ...] = ()) -> "Model":
    """Bring back the trained model of a run folder, in evaluation mode, on the CPU.

    Reads `model/model.json` (plain data) and `model/model.safetensors`; no pickle is involved, and nothing that
    the files say is run. See `docs/trust.md`.

    Args:
        folder: a run folder, or its folder `model`.
        trusted: packages whose classes the JSON may name, beside vaelab's own models, backbones and likelihoods.
            Importing a package runs it, so name only those that you trust.

    Raises:
        vaelab.errors.UserError: the folder holds no model, or one that is broken, that names a class which is not
            trusted, or that does not fit its weights.
    """
    from vaelab.models.saved_model import load_model

    return load_model(Path(folder), trusted)


def __getattr__(name: str) -> Any:
    """AE and VAE, which import torch and Lightning, where somebody asks for them."""
    if name not in ("AE", "VAE"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vaelab.training import lightning_models

    return getattr(lightning_models, name)
