"""Train and use autoencoders and variational autoencoders.

Start with `python train.py --help`. Importing this package imports no heavy modules. `vaelab.load` loads a trained
model for use on files and objects. `vaelab.AE` and `vaelab.VAE` are LightningModules for a plain Trainer.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaelab.trained import Trained
    from vaelab.training.lightning_models import AE, VAE

__all__ = ["AE", "VAE", "__version__", "load"]

__version__ = "0.1.0"


def load(run: str | Path, trusted: tuple[str, ...] = (), device: str = "cpu") -> "Trained":
    """Load the trained model of a run folder, ready for use.

        trained = vaelab.load("logs/anomaly/table-vae/<date>")
        verdicts = trained.detect(pandas.read_csv("later.csv"))  # score, alarm and p-value of each row

    The result takes and returns PIL images, DataFrames, arrays, strings, MIDI files and tensors; see
    `vaelab.trained.Trained`. Its attribute `model` is the module. Only plain data and safetensors are read, and no code
    from the files is run. See `docs/trust.md`.

    Args:
        run: a run folder, its folder `model`, or `owner/name` of a repository on the Hugging Face hub.
        trusted: packages whose classes the files may name, in addition to vaelab's models, backbones and likelihoods.
            Importing a package runs it, so name only those that you trust.
        device: the device to compute on, such as `cpu`, `cuda` or `mps`.

    Raises:
        vaelab.errors.UserError: the folder contains no model, or the model is damaged, names a class that is not
            trusted, or does not match its weights.
    """
    from vaelab.trained import load as load_trained

    return load_trained(run, trusted, device)


def __getattr__(name: str) -> Any:
    """Import AE and VAE, which need torch and Lightning, only on access."""
    if name not in ("AE", "VAE"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vaelab.training import lightning_models

    return getattr(lightning_models, name)
