"""Fit a prior to the codes of a trained model, save it in the run folder, and load it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from vaelab.careful_read import DIGEST, Weights, brief, digest, read_json
from vaelab.config.builder import Builder
from vaelab.data.module import DataModule
from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation.autoregressive_prior import Autoregressive
from vaelab.evaluation.encoded import Encoded, encoded
from vaelab.evaluation.scores import same_weights
from vaelab.evaluation.sources import classes_of
from vaelab.latents.fitted import (
    Codes,
    Counts,
    FittedFlow,
    FittedPrior,
    FullGaussian,
    FullMixture,
    GaussianByLabel,
    LabelledPrior,
    MixtureByLabel,
)
from vaelab.models import Model
from vaelab.models.building import Limit
from vaelab.models.saved_model import load_model

FILE, WEIGHTS = "fitted_prior.json", "fitted_prior.safetensors"  # in the folder `model` of a run
BEFORE = "sampler.json"  # name of the file in version 0.1
MOST_BYTES = 2**28  # of FILE: about twenty for each element of a covariance
KINDS: dict[str, type[FittedPrior]] = {
    kind.name: kind
    for kind in (FullGaussian, FullMixture, GaussianByLabel, MixtureByLabel, FittedFlow, Counts, Autoregressive)
}


def fitted_to(
    prior: FittedPrior, model: Model, data: DataModule, folder: Path | None = None, **settings: Any
) -> FittedPrior:
    """Fit a prior to the train codes of a model.

    Args:
        prior: an unfitted prior.
        model: trained, in evaluation mode.
        data: the data that the model was trained on.
        folder: for checkpoints of a network during the fit; None keeps none.
        settings: the seed, and a function that reports progress; see `vaelab.latents.fitted.Codes`.

    Raises:
        ConfigError: the prior does not support such codes, or the model was not trained on the data.
    """
    refuse_misfit(prior, model)
    encodings = [encoded(model, data, split) for split in ("train", "val")]
    train, val = (_rows(split, prior) for split in encodings)
    if model.conditional:
        names = ("train_label", "val_label")
        settings |= {name: split.label for name, split in zip(names, encodings, strict=True)}
        settings["classes"] = data.spec.classes
    # An interrupted fit is resumed only with the same codes; other weights give other codes.
    own = None if folder is None else folder / hashlib.sha256(train.numpy().tobytes()).hexdigest()[:16]
    fitted = prior.fit(Codes(train, val, model.latent, model.device, folder=own, **settings))
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return fitted


def refuse_misfit(prior: FittedPrior, model: Model) -> None:
    """Refuse a prior that does not support the codes of a model.

    Raises:
        ConfigError: names what does.
    """
    if model.infers_label:
        raise ConfigError(
            f"fitted_prior={prior.name}: the code of {type(model).__name__} contains a class, which this prior does "
            "not support; use fitted_prior=none"
        )
    prior.refuse_misfit(model.latent)
    if isinstance(prior, LabelledPrior) and prior.needs_label and not model.conditional:
        if not model.likelihood.spec.classes:
            raise ConfigError(f"fitted_prior={prior.name}: the data have no labels; leave fitted_prior out")
        raise ConfigError(f"fitted_prior={prior.name}: the model is not given labels; add model.condition=label")


def _rows(split: Encoded, prior: FittedPrior) -> Any:
    return split.drawn_indices if prior.discrete else split.draws


def saved_for(prior: FittedPrior, model: Model, folder: Path) -> FittedPrior | None:
    """The prior saved in a run's `model/`, if it has the same settings and the model has the run's weights."""
    path = _kept(folder)
    if path is None or not same_weights(model, folder):
        return None
    about = read_json(path, MOST_BYTES)
    name = about.get("fitted_prior", about.get("sampler")) if isinstance(about, dict) else None
    if isinstance(name, str) and name != prior.name:  # it may be from a package that this run does not load
        return None
    saved = read_fitted_prior(folder, model, type(prior))
    if saved is None or saved.settings != prior.settings:
        return None
    if isinstance(saved, LabelledPrior) and saved.classes != classes_of(model):
        return None  # saved by a version that did not use labels
    return saved


def _kept(folder: Path) -> Path | None:
    """The file in a run's `model/` that describes its fitted prior."""
    return next((folder / name for name in (FILE, BEFORE) if (folder / name).is_file()), None)


def remove(folder: Path) -> None:
    """Remove the prior in a run's `model/`, if there is one."""
    for name in (FILE, WEIGHTS, BEFORE):
        (folder / name).unlink(missing_ok=True)


def refuse_new_fit(prior: FittedPrior) -> None:
    """Refuse a fit to data that the model was not trained on.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"fitted_prior={prior.name}: needs train codes, but the model was not trained on these data, and the run has "
        "no saved prior with these settings; leave fitted_prior out"
    )


def files(prior: FittedPrior) -> dict[str, bytes | str]:
    """The files of a fitted prior, by path within the run folder."""
    about = prior.to_json() | {"settings": prior.settings}
    if prior.name not in KINDS:
        about["class"] = f"{type(prior).__module__}.{type(prior).__qualname__}"
    found: dict[str, bytes | str] = {f"model/{FILE}": json.dumps(about)}
    if weights := {name: value.contiguous().cpu() for name, value in prior.weights().items()}:
        found[f"model/{WEIGHTS}"] = save(weights, {DIGEST: digest(weights)})
    return found


def load_fitted_prior(run: str | Path, trusted: tuple[str, ...] = ()) -> FittedPrior:
    """The prior that was fitted to the codes of a run's model.

        model, prior = vaelab.load(run).model, load_fitted_prior(run)
        z = prior.sample(16, seed=3)
        images = model.decode(model.from_indices(z) if prior.discrete else z)

    Args:
        run: a run folder, or its folder `model`.
        trusted: see `vaelab.load`.

    Raises:
        CheckpointError: there is none, or it cannot be read, or it does not fit the run's model.
    """
    run = Path(run)
    folder = next((folder for folder in (run / "model", run) if _kept(folder)), None)
    prior = None
    if folder is not None:
        kind = _named_kind(read_json(folder / FILE, MOST_BYTES), trusted) if (folder / FILE).is_file() else None
        prior = read_fitted_prior(folder, load_model(run, trusted), kind)
    if prior is None:
        raise CheckpointError(f"{run}: has no fitted prior; fitted_prior=<option> fits one")
    return prior


def _named_kind(about: Any, trusted: tuple[str, ...]) -> type[FittedPrior] | None:
    """The class of a prior of a trusted package; None for one of this package.

    Raises:
        CheckpointError: its package is not trusted.
    """
    node = {"_target_": about.get("class")} if isinstance(about, dict) else {}
    if not node.get("_target_") or about.get("fitted_prior") in KINDS:
        return None
    try:
        kind: type[FittedPrior] = Builder(trusted).resolve(node, FILE, FittedPrior)
    except ConfigError as error:
        raise CheckpointError(brief(str(error))) from error
    return kind


def read_fitted_prior(folder: Path, model: Model, kind: type[FittedPrior] | None = None) -> FittedPrior | None:
    """The prior in a run's `model/`; None if a run of version 0.1 used N(0, I).

    Args:
        folder: `model/`.
        model: the run's model.
        kind: class of a prior of another package.

    Raises:
        CheckpointError: it cannot be read, or is for codes of another size or with other labels.
    """
    latent = model.latent
    path = _kept(folder) or folder / FILE
    about = read_json(path, MOST_BYTES)
    try:
        name = about["fitted_prior"] if "fitted_prior" in about else about["sampler"]
        if name == "standard_normal":
            return None
        known = KINDS if kind is None else {kind.name: kind} | KINDS
        made_by = known[name]
        if made_by.keeps_weights:  # checked before memory for a network larger than the file is allocated
            file = Weights(folder / WEIGHTS)
            with torch.random.fork_rng(devices=[]), torch.device("meta"), Limit(len(file.layout), WEIGHTS):
                outline = made_by.from_json(about, latent).weights()
            file.refuse_others(outline, path.name)
        prior = made_by.from_json(about, latent)
        if made_by.keeps_weights:
            prior.load_weights(file.load())
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, ConfigError) as error:
        raise CheckpointError(f"{path}: does not describe a prior of these codes ({brief(str(error))})") from error
    wanted = latent.finest.tokens if prior.discrete else latent.size
    if prior.dimensions != wanted:
        raise CheckpointError(
            f"{path}: is for codes of {prior.dimensions} dimensions, and the model has {brief(str(wanted))}"
        )
    if isinstance(prior, LabelledPrior) and prior.classes not in (0, classes_of(model)):
        raise CheckpointError(f"{path}: is for {prior.classes} labels, and the model has {classes_of(model)}")
    return prior
