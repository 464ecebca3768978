"""Every term sends a gradient where its model says it does and nowhere else, and every phase moves its own weights.

Options of all groups that a model is made of are found in `conf/`, so a new one enters by itself.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from torch import Tensor

from pairwise import pairwise
from vaelab.config.builder import Builder, produced
from vaelab.config.location import config_dir
from vaelab.core import Batch, DataSpec, StepNoise
from vaelab.corruptions import Identity
from vaelab.data.images.digits import Digits
from vaelab.errors import ConfigError
from vaelab.models import Model, Start, Terms
from vaelab.models.building import LATENT_PARTS, PARTS, build_model
from vaelab.models.phases import MAIN
from vaelab.models.topk_ae import TopK
from vaelab.training.module import TrainingModule
from vaelab.training.phases import only, weights_of

SPEC = DataSpec("digits", "image", (1, 8, 8), "unit", 17, tuple("0123456789"))
OWN = "own"  # of the model: no option of the group
ENCODERS = {"vector": ("mlp", "conv"), "grid": ("conv",)}  # one that takes the condition, and one that does not


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


@cache
def composed(model: str) -> dict[str, Any]:
    """The groups of a model as the command line has them: an option of `model` may choose others."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", [f"model={model}"])
    groups = [group for group in (*PARTS, *LATENT_PARTS) if config.get(group)]
    return {group: _small(OmegaConf.to_container(config[group], resolve=True)) for group in groups}


@cache
def node(group: str, option: str) -> dict[str, Any]:
    return _small(OmegaConf.to_container(OmegaConf.load(config_dir() / group / f"{option}.yaml")))


def architecture(model: str, condition: str, **chosen: str) -> dict[str, Any]:
    about = dict(composed(model)) | {group: node(group, option) for group, option in chosen.items() if option != OWN}
    about["model"] = about["model"] | {"condition": None if condition == "none" else condition}
    posterior = about.get("posterior", {})
    size = len(posterior["levels"]) if "levels" in posterior else posterior.get("categories", 3)
    return {"latent_dim": size, "spec": SPEC.to_json()} | about


def _small(plain: Any) -> dict[str, Any]:
    """Narrow, smooth layers and few components: what is tried is where gradients go, not how well anything learns.

    Smooth, since a Jacobian does not change with the input of a ReLU, nor with the condition beside it.
    """
    found = dict(plain)
    for key, value in plain.items():
        if key == "components":
            found[key] = min(value, 16)
        elif key == "activation":
            found[key] = "tanh"
        elif key != "levels" and isinstance(value, list):
            found[key] = [16] * len(value)
    return found


def discriminators() -> list[str]:
    return [option for option in options("adversary") if option != "none"]


@cache
def cases() -> dict[str, dict[str, str]]:
    """Every two options of two groups meet in some model, by name; those that do not fit each other are among them."""
    latents = [f"{latent}-{encoder}" for latent in options("latent") for encoder in ENCODERS[latent]]
    found = pairwise({
        "model": options("model"),
        "prior": [OWN, *options("prior")],
        "posterior": [OWN, *options("posterior")],
        "latent": latents,
        "adversary": [OWN, *discriminators()],
        "shortcut": [OWN, *options("shortcut")],
        "condition": ["none", "label"],
    })  # fmt: skip
    # Pairs meet in combinations that do not fit as a whole, so each option is also tried with the model's own parts.
    alone = {
        "prior": OWN,
        "posterior": OWN,
        "latent": "vector-mlp",
        "adversary": OWN,
        "shortcut": OWN,
        "condition": "none",
    }
    for model in options("model"):
        model_class = produced(Builder().resolve(composed(model)["model"], "model", Model))
        plain = alone if model_class.vectors else alone | {"latent": "grid-conv"}
        for group, some in (("prior", options("prior")), ("posterior", options("posterior")), ("latent", latents),
                            ("adversary", discriminators()), ("shortcut", options("shortcut")),
                            ("condition", ["label"])):  # fmt: skip
            found += [{"model": model} | plain | {group: option} for option in some]
    return {"-".join(case.values()): case for case in found}


@cache
def quick_cases() -> frozenset[str]:
    """Those that `make test` tries: of models that differ from another in numbers only, their own parts alone."""
    return frozenset(
        name for name, case in cases().items() if case["model"] in objectives() or name == own(case["model"])
    )


def own(model: str) -> str:
    """The name of a model with its own parts."""
    model_class = produced(Builder().resolve(composed(model)["model"], "model", Model))
    return "-".join([model, OWN, OWN, "vector-mlp" if model_class.vectors else "grid-conv", OWN, OWN, "none"])


def tried(model: str, quick: bool, some: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, Model]]:
    """Models of one option of `model`, by name, as far as their parts fit each other."""
    for name, case in cases().items():
        if case["model"] == model and (name in quick_cases() and some(name)) == quick and (found := built(**case)):
            yield name, found


BY_MODEL = pytest.mark.parametrize(
    ("option", "quick"),
    [
        pytest.param(
            option, quick, id=f"{option}-{'quick' if quick else 'rest'}", marks=[] if quick else pytest.mark.long
        )
        for option in options("model")
        for quick in (True, False)
    ],
)


@cache
def objectives() -> frozenset[str]:
    """One option of `model` for each objective."""
    chosen: dict[Any, str] = {}
    for option in options("model"):
        settings = composed(option)["model"]
        key = (
            settings["_target_"],
            settings.get("bound"),
            settings.get("estimator"),
            composed(option).get("posterior", {}).get("_target_"),
        )
        chosen.setdefault(key, option)
    return frozenset(chosen.values())


def built(
    model: str, prior: str, posterior: str, latent: str, adversary: str, shortcut: str, condition: str
) -> Model | None:
    """In training, before its first step; None where parts do not fit each other."""
    layout, encoder = latent.split("-")
    torch.manual_seed(0)
    try:
        parts = {"prior": prior, "posterior": posterior, "latent": layout, "adversary": adversary, "shortcut": shortcut}
        found = build_model(architecture(model, condition, encoder=encoder, decoder=encoder, **parts), Builder())
    except ConfigError:
        return None
    found.start(Start(32, torch.full(SPEC.shape, 0.4), values(max(1, found.start_examples))))
    found.step = 1_000  # schedules that begin at 0 have begun
    if isinstance(found.posterior, TopK):
        found.posterior.silent.fill_(1_000_000)  # as a run has it in which no number came
    return found.train()


def values(count: int) -> Tensor:
    return torch.randint(17, (count, *SPEC.shape), generator=torch.Generator().manual_seed(1)) / 16


def batch_of(count: int = 8) -> Batch:
    x = values(count)
    label = torch.arange(count) % 10 - 1  # one without
    return Batch(x, x, label, x, StepNoise(0, 0, 0, slice(0, count), count), 1.0)


def named(model: Model, phase: str, terms: Terms) -> dict[str, Tensor]:
    """What a phase logs, but what is made of other terms."""
    if phase != MAIN:
        return {f"{phase}_loss": terms.loss, **terms.penalties}
    return {name: value for name, value in terms.named().items() if name not in ("loss", "elbo")}


def moved_by(term: Tensor, model: Model) -> set[str]:
    """Modules in which a term has a gradient other than zero."""
    if not term.requires_grad:
        return set()
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    gradients = torch.autograd.grad(term.mean(), list(weights.values()), allow_unused=True, retain_graph=True)
    found = zip(weights, gradients, strict=True)
    return {name.partition(".")[0] for name, gradient in found if gradient is not None and bool(gradient.any())}


@BY_MODEL
def test_every_term_moves_what_it_says_and_nothing_else(option: str, quick: bool) -> None:
    count = 0
    for name, model in tried(option, quick):
        count += 1
        said = model.moves()
        children = dict(model.named_children())
        assert all(any(True for _ in children[part].parameters()) for parts in said.values() for part in parts), name
        seen = set()
        for phase in model.phases:
            with only(model, phase):
                terms = named(model, phase.name, model.phase_terms(phase.name, batch_of()))
                seen |= terms.keys()
                for term, value in terms.items():
                    assert moved_by(value, model) == set(said[term]), f"{name}: {term}"
        assert seen == said.keys(), name
    assert count or not quick


@cache
def digits() -> Digits:
    data = Digits(
        None,
        corruption=Identity(),
        batch_size=32,
        val_fraction=0.1,
        test_fraction=0.2,
        split_seed=0,
        seed=0,
        normal=None,
    )
    data.setup()
    return data


class Watch(Callback):
    """Which weights each optimizer changes in its steps."""

    def __init__(self) -> None:
        self.changed: list[set[str]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            changed: set[str] = set()
            self.changed.append(changed)
            before: dict[str, Tensor] = {}
            weights = dict(pl_module.model.named_parameters())

            def keep(*_: Any, before=before, weights=weights) -> None:
                before.update({name: weight.detach().clone() for name, weight in weights.items()})

            def compare(*_: Any, before=before, weights=weights, changed=changed) -> None:
                changed.update(name for name, weight in weights.items() if not torch.equal(before[name], weight))

            optimizer.register_step_pre_hook(keep)
            optimizer.register_step_post_hook(compare)


@BY_MODEL
def test_every_optimizer_changes_all_weights_of_its_phase_and_no_other(
    option: str, quick: bool, tmp_path: Path
) -> None:
    for name, model in tried(option, quick, lambda case: case == own(option) or cases()[case]["adversary"] != OWN):
        module, watch = TrainingModule(model), Watch()
        trainer = L.Trainer(
            default_root_dir=tmp_path, accelerator="cpu", max_steps=2, callbacks=[watch], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        data = digits()
        data.trainer = data._train_position = None
        trainer.fit(module, datamodule=data)  # in the first of two steps a weight of the KL may be 0
        names = {id(weight): weight_name for weight_name, weight in model.named_parameters()}
        assert watch.changed == [{names[id(w)] for w in weights_of(model, phase)} for phase in model.phases], name


@pytest.mark.long
def test_every_option_is_in_some_model_that_is_tried() -> None:
    fitting = [
        cases()[name] for option in options("model") for quick in (True, False) for name, _ in tried(option, quick)
    ]
    for group in ("model", *LATENT_PARTS):
        assert set(options(group)) - {"none"} <= {case[group].partition("-")[0] for case in fitting}, group
