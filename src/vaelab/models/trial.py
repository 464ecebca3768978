"""A trial of an untrained model, which finds shapes and names that would fail later or be wrong without an error."""

import traceback
from typing import Any

import torch
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.errors import ConfigError, UserError
from vaelab.models.model import Model
from vaelab.models.phases import MAIN
from vaelab.models.terms import Terms


def refuse_ill_formed(model: Model, batch: Batch) -> None:
    """Run a model on a few examples and check its outputs; the model's state does not change.

    Args:
        model: built, on the device of the batch.
        batch: two examples are enough.

    Raises:
        ConfigError: names the class, the method and what it should return.
    """
    trained = model.training
    model.eval()
    try:
        with torch.no_grad():
            _try(model, batch)
    except UserError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"model: {type(model).__name__} fails on {len(batch.x)} examples, at {place.filename}:{place.lineno}: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        ) from error
    finally:
        model.train(trained)


def _try(model: Model, batch: Batch) -> None:
    name, count, known = type(model).__name__, len(batch.x), dict(model.named_children())
    for term, modules in model.moves().items():
        if unknown := [module for module in modules if module not in known]:
            raise ConfigError(
                f"model: {name}.moves says that {term} trains {unknown[0]}, which the model does not have; it has "
                f"{', '.join(known)}"
            )
    names = [phase.name for phase in model.phases]
    if names[0] != MAIN or len(set(names)) < len(names):
        raise ConfigError(f"model: {name} has the phases {', '.join(names)}: each needs its own name")
    for phase in model.phases:
        if unknown := [module for module in phase.modules if module not in known]:
            raise ConfigError(f"model: phase {phase.name} of {name} trains {unknown[0]}, which is no part of the model")
    _draws(model, batch)
    terms: Any = model.terms(batch)
    if not isinstance(terms, Terms):
        raise ConfigError(f"model: {name}.terms returns {_shown(terms)}: should be vaelab.models.Terms")
    taken = terms._replace(kl=terms.loss, penalties={}).named().keys() | {f"{phase}_loss" for phase in names}
    for term in terms.penalties:
        if term in taken:
            raise ConfigError(f"model: a penalty of {name} has the name {term}, which every model uses; rename it")
    if unknown := sorted(model.batch_terms - terms.named().keys()):
        raise ConfigError(
            f"model: {name}.batch_terms names {unknown[0]}, which is not one of its terms: {', '.join(terms.named())}"
        )
    for term, value in terms.named().items():
        _refuse_shape(value, (count,), f"{name}: its term {term}", "one number for each example")


def _draws(model: Model, batch: Batch) -> None:
    posterior, prior = type(model.posterior).__name__, type(model.prior).__name__
    samples, single = 3, len(model.latent.groups) == 1
    draw = model.draw(batch, samples)
    made = f"{posterior}.draw" if single else f"{type(model).__name__}.draw_from"
    for about, group in zip(model.latent.groups, draw.groups, strict=True):
        drawn = samples if model.streams(samples) else group.z.shape[1] if group.z.dim() > 1 else 1
        _refuse_shape(group.z, (len(batch.x), drawn, *about.shape), f"{made}: z", "(B, S, *shape)")
        if group.rate is not None:
            _refuse_shape(group.rate, (len(batch.x),), f"{made}: rate", "one number for each example")
            ratio = group.log_ratio
            if ratio is not None:
                _refuse_shape(ratio, (len(batch.x), drawn), f"{made} or {prior}: log p(z) - log q(z|x)", "(B, S)")
    _refuse_shape(model.sample_latent(2), (2, model.latent.size), f"{prior}.sample, as flat codes", "(count, size)")


def _refuse_shape(value: Any, shape: tuple[int, ...], what: str, should: str) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        raise ConfigError(f"model: {what} is {_shown(value)}: should be {should}, here {list(shape)}")


def _shown(value: Any) -> str:
    return f"of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
