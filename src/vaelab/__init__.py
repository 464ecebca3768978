"""Train and use autoencoders and variational autoencoders.

`python train.py --help` is the way in. Importing this package imports nothing heavy. `vaelab.load` brings back
what a run has trained, to be used on real files and objects. `vaelab.AE` and `vaelab.VAE` are LightningModules for a
plain Trainer.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaelab.trained import Trained
    from vaelab.training.lightning_models import AE, VAE

__all__ = ["AE", "VAE", "__version__", "load"]

__version__ = "0.1.0"


def load(run: str | Path, trusted: tuple[str, ...] = (), device: str = "cpu") -> "Trained":
    """Bring back the trained model of a run folder, ready for use.

        trained = vaelab.load("logs/anomaly/table-vae/<date>")
        verdicts = trained.detect(pandas.read_csv("later.csv"))  # score, alarm and p-value of each row

    What it returns takes and gives back PIL images, DataFrames, arrays, strings, MIDI files and tensors; see
    `vaelab.trained.Trained`. Its `model` is the module. Only plain data and safetensors are read, and nothing that the
    files say is run. See `docs/trust.md`.

    Args:
        run: a run folder, its folder `model`, or `owner/name` of a repository on the Hugging Face hub.
        trusted: packages whose classes the files may name, beside vaelab's own models, backbones and likelihoods.
            Importing a package runs it, so name only those that you trust.
        device: that computes, such as `cuda` or `mps`.

    Raises:
        vaelab.errors.UserError: the folder holds no model, or one that is broken, that names a class which is not
            trusted, or that does not fit its weights.
    """
    from vaelab.trained import load as load_trained

    return load_trained(run, trusted, device)


def __getattr__(name: str) -> Any:
    """AE and VAE, which import torch and Lightning, where somebody asks for them."""
    if name not in ("AE", "VAE"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vaelab.training import lightning_models

    return getattr(lightning_models, name)
