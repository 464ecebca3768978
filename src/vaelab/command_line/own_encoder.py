"""`encoder=mine` without a decoder of that name: the decoder that fits the data is used."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vaelab.command_line.explain import COMPOSITION_ERRORS, missing_option
from vaelab.config.location import config_dir, groups
from vaelab.quoting import quoted
from vaelab.signals import say

T = TypeVar("T")


def decoder_instead(error: Exception, overrides: list[str], folders: list[Path]) -> str | None:
    """Return the override that chooses the data's usual decoder if the encoder has none of its name; else None.

    A note is printed. Nobody typed the missing decoder, so it is not an error.

    Args:
        error: the error of Hydra.
        overrides: the overrides of one run.
        folders: the folders of config groups.
    """
    group, name = missing_option(error)
    if group != "decoder" or any(override.lstrip("+").startswith("decoder=") for override in overrides):
        return None
    if not any((folder / "encoder" / f"{name}.yaml").is_file() for folder in folders):
        return None
    usual = _usual_decoder(overrides, folders)
    if usual is None or usual == name:
        return None
    say(f"note: there is no decoder={name} for encoder={name}, so decoder={usual} is used; decoder=... chooses another")
    return f"decoder={usual}"


def with_decoder(compose: Callable[[list[str]], T], overrides: list[str], folders: list[Path]) -> T:
    """Compose overrides; if an encoder of the user's own has no decoder, add the usual one to the overrides.

    Args:
        compose: a function that composes overrides and raises Hydra's errors.
        overrides: the overrides of one run; changed in place.
        folders: the folders of config groups.
    """
    try:
        return compose(overrides)
    except COMPOSITION_ERRORS as error:
        decoder = decoder_instead(error, overrides, folders)
        if decoder is None:
            raise
        overrides.append(decoder)
        return compose(overrides)


def _usual_decoder(overrides: list[str], folders: list[Path]) -> str | None:
    """Return the decoder that is chosen if the encoder is not."""
    names = {name for folder in folders for name in groups(folder)} - {"encoder", "experiment", "hydra", "local"}
    chosen = [override for override in overrides if override.partition("=")[0] in names and "," not in override]
    searched = ",".join(quoted(f"file://{folder.absolute()}") for folder in folders if folder != config_dir())
    before = GlobalHydra.instance().hydra  # that of a sweep which goes on with its other jobs
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("train", [*chosen, f"hydra.searchpath=[{searched}]"], return_hydra_config=True)
            return str(config.hydra.runtime.choices.decoder)
    except (HydraException, OmegaConfBaseException):
        return None
    finally:
        GlobalHydra.instance().hydra = before
