"""`encoder=mine` alone: the decoder follows the encoder, and there need not be one of that name."""

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
    """The override that gives an encoder without a decoder of its name the one of the data; None for another error.

    It is said on the screen. Nobody has typed the decoder that is missing, so it is no mistake to name.

    Args:
        error: what Hydra said of the overrides.
        overrides: of one run.
        folders: of config groups.
    """
    group, name = missing_option(error)
    if group != "decoder" or any(override.lstrip("+").startswith("decoder=") for override in overrides):
        return None
    if not any((folder / "encoder" / f"{name}.yaml").is_file() for folder in folders):
        return None
    usual = _usual_decoder(overrides, folders)
    if usual is None or usual == name:
        return None
    say(f"note: there is no decoder={name} for encoder={name}, so it is decoder={usual}; decoder=... chooses another")
    return f"decoder={usual}"


def with_decoder(compose: Callable[[list[str]], T], overrides: list[str], folders: list[Path]) -> T:
    """What `compose` makes of overrides; a decoder that an encoder of the user's own lacks is added to them.

    Args:
        compose: raises what Hydra raises.
        overrides: of one run; changed in place.
        folders: of config groups.
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
    """The decoder that the same groups have without a choice of the encoder."""
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
