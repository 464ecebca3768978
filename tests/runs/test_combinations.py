"""Every two of model, encoder, decoder and likelihood meet, with every kind of data that they say they fit.

So do every two of model, latent, posterior, prior, adversary and condition.

Options are found in `conf/`, so a new one is tried here with everything it claims.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from pairwise import pairwise
from vaelab import load
from vaelab.config.builder import Builder, produced
from vaelab.config.location import config_dir
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import ConfigError
from vaelab.latents import Gaussian
from vaelab.models import Model, Start
from vaelab.models.building import LATENT_PARTS, PARTS, build_model, refuse_misfit
from vaelab.models.saved_model import save_model
from vaelab.training.module import only, weights_of

SPECS = (
    DataSpec("digits", "image", (1, 8, 8), "unit", 17, classes=("a", "b")),
    DataSpec("odd", "image", (2, 27, 31), "unit", 256),
    DataSpec("binary", "image", (1, 9, 6), "binary", 2),
    DataSpec("real", "image", (3, 7, 5), "real"),
    DataSpec("row", "table", (13,), "real"),
    DataSpec("waves", "series", (2, 21), "real", classes=("a", "b")),
    DataSpec("broken", "series", (3, 10), "real", has_missing=True),
)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


@cache
def default() -> Any:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train")


@cache
def node(group: str, option: str) -> dict[str, Any]:
    config = OmegaConf.load(config_dir() / group / f"{option}.yaml")
    if "defaults" in config:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("train", [f"{group}={option}"])[group]
    config._set_parent(default())  # which interpolations lead to
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return {key: _small(value) for key, value in plain.items()}


def _small(value: Any) -> Any:
    """Narrow layers: what is tried is whether parts fit, not how well they learn."""
    return [16] * len(value) if isinstance(value, list) and value and isinstance(value[0], int) else value


def values(spec: DataSpec, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if spec.levels:
        return torch.randint(spec.levels, (count, *spec.shape), generator=generator) / (spec.levels - 1)
    x = torch.randn(count, *spec.shape, generator=generator)
    if spec.has_missing:  # in the middle, and after the end
        x[0, 0, 3] = x[1, :, -4:] = torch.nan
    return x


def fits(spec: DataSpec, group: str, name: str) -> bool:
    builder, chosen = Builder(), node(group, name)
    try:
        if group == "likelihood":
            builder.build(chosen, group, PARTS[group], spec=spec)
        else:
            refuse_misfit(builder, chosen, group, spec)
    except ConfigError:
        return False
    return True


@cache
def produced_by(group: str, option: str) -> Any:
    return produced(Builder().resolve(node(group, option), group, (PARTS | LATENT_PARTS)[group]))


def models() -> list[str]:
    """One option of each objective: of the others only numbers differ."""
    chosen = {}
    for option in options("model"):
        settings = node("model", option)
        chosen.setdefault((settings["_target_"], settings.get("bound"), settings.get("estimator")), option)
    return sorted(chosen.values())


def latent_of(spec: DataSpec, chosen: dict[str, str]) -> dict[str, Any] | None:
    """A vector, or a grid where the model needs one; None where the data or a backbone has none."""
    if produced_by("model", chosen["model"]).vectors:
        return node("latent", "vector")
    grids = produced_by("encoder", chosen["encoder"]), produced_by("decoder", chosen["decoder"])
    return node("latent", "grid") if spec.kind == "image" and grids[0].gives_grids and grids[1].reads_grids else None


QUICK_MODELS, QUICK_DATA = ("ae", "iwae", "vae"), ("digits", "row", "waves")


def cases(spec: DataSpec) -> list[Any]:
    """Every two options of two groups that fit a kind of data meet in some model.

    `make test` tries all models on one kind of images, rows and series, and three models on the others.
    """
    fitting = {group: [o for o in options(group) if fits(spec, group, o)] for group in ("encoder", "decoder")}
    likelihoods = [o for o in options("likelihood") if fits(spec, "likelihood", o)]
    assert all(fitting.values())
    trained = [m for m in models() if spec.classes or not produced_by("model", m).infers_label]
    chosen = pairwise(
        {"model": trained, "likelihood": likelihoods} | fitting, lambda each: latent_of(spec, each) is not None
    )
    return [
        pytest.param(
            spec,
            choice,
            id=f"{spec.name}-{'-'.join(choice.values())}",
            marks=[] if spec.name in QUICK_DATA or choice["model"] in QUICK_MODELS else pytest.mark.long,
        )
        for choice in chosen
    ]


@pytest.mark.parametrize(("spec", "chosen"), [case for spec in SPECS for case in cases(spec)])
def test_trains_a_step_decodes_its_own_shape_and_reloads(
    spec: DataSpec, chosen: dict[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    x = values(spec, 4)
    batch = Batch(x, x, torch.zeros(4).long(), x, ExampleNoise(0, range(4)), 1.0)
    size = 16 if chosen["model"] == "topk_ae" else 3  # of three sparse numbers all may be zero
    about = {"latent_dim": size, "spec": spec.to_json()} | {group: node(group, chosen[group]) for group in PARTS}
    about["latent"] = latent_of(spec, chosen)
    built = build_model(about, Builder())
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-3)
    before = [p.clone() for p in built.encoder.parameters()]
    loss = built(batch).loss.mean()
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in built.parameters() if p.grad is not None)
    assert any(not torch.equal(a, b) for a, b in zip(before, built.encoder.parameters(), strict=True))

    built.eval()
    with torch.no_grad():
        prediction = built.predict(batch)
        assert prediction.reconstruction.shape == x.shape
        assert prediction.latent.shape == (4, built.latent.size)
        drawn = built.sample(prediction.latent, torch.Generator().manual_seed(0))
        assert drawn.shape == x.shape
        save_model(built, tmp_path / "model")
        again = load(tmp_path).model
        torch.testing.assert_close(again.predict(batch).reconstruction, prediction.reconstruction, rtol=0, atol=0)


# Codes, posteriors, priors, adversaries and conditions

IMAGE = DataSpec("labelled", "image", (2, 11, 9), "unit", 256, classes=("a", "b"))
ROW = DataSpec("row", "table", (7,), "real", classes=("a", "b"))
GROUPS = ("latent", "posterior", "prior", "adversary")


def fit_each_other(spec: DataSpec, chosen: dict[str, Any]) -> bool:
    """As far as options declare what they fit."""
    model = produced_by("model", chosen["model"])
    posterior, prior = (chosen[group] and produced_by(group, chosen[group]) for group in ("posterior", "prior"))
    if chosen["condition"] and model.infers_label:
        return False
    if (posterior and "posterior" not in model.takes) or (prior and "prior" not in model.takes):
        return False
    if chosen["latent"] == "vector" and not model.vectors:
        return False
    if chosen["latent"] == "grid" and (
        spec.kind != "image"
        or not produced_by("encoder", chosen["encoder"]).gives_grids
        or not all(part.grids for part in (model, posterior, prior) if part)
    ):
        return False
    if chosen["prior"] == "vampprior" and posterior not in (None, Gaussian):
        return False
    discrete = bool(posterior and posterior.discrete)
    return (not prior or prior.discrete == discrete) and (not chosen["adversary"] or spec.kind == "image")


def codes(spec: DataSpec, fit: bool) -> list[Any]:
    encoders = ["conv", "mlp", "spatial"] if spec.kind == "image" else ["mlp"]
    parameters = {"model": models(), "encoder": encoders, "latent": options("latent"), "condition": [None, "label"]}
    parameters |= {group: [None, *options(group)] for group in ("posterior", "prior")} | {
        "adversary": [None, *(option for option in options("adversary") if option != "none")]
    }
    found = pairwise(parameters, lambda chosen: fit_each_other(spec, chosen) == fit)
    return [
        pytest.param(spec, chosen, id=f"{spec.name}-{'-'.join(str(value) for value in chosen.values())}")
        for chosen in found
    ]


def built_of(spec: DataSpec, chosen: dict[str, Any]) -> Model:
    torch.manual_seed(0)
    about = {"latent_dim": 3, "spec": spec.to_json(), "likelihood": node("likelihood", "gaussian")}
    about |= {"latent_dim": 10} if chosen["posterior"] == "gumbel" else {}
    about["model"] = node("model", chosen["model"]) | {"condition": chosen["condition"]}
    about |= {side: node(side, chosen["encoder"]) for side in ("encoder", "decoder")}
    about |= {group: node(group, chosen[group]) for group in GROUPS if chosen[group]}
    if "components" in about.get("prior", {}):
        about["prior"] |= {"components": 3}
    return build_model(about, Builder())


@pytest.mark.parametrize(("spec", "chosen"), [*codes(IMAGE, fit=True), *codes(ROW, fit=True)])
def test_codes_posteriors_priors_and_adversaries_train_generate_and_reload(
    spec: DataSpec, chosen: dict[str, Any], tmp_path: Path
) -> None:
    built, x = built_of(spec, chosen), values(spec, 4)
    label = torch.tensor([0, 1, -1, 1])
    batch = Batch(x, x, label, x, ExampleNoise(0, range(4)), 1.0)
    built.start(Start(4, x.mean(0), x[: built.start_examples]))
    for phase in built.phases:
        weights = weights_of(built, phase)
        before = [weight.detach().clone() for weight in weights]
        with only(built, phase):
            loss = built.phase_terms(phase.name, batch).loss.mean()
            loss.backward()
        assert loss.isfinite()
        assert all(weight.grad.isfinite().all() for weight in weights if weight.grad is not None)
        torch.optim.Adam(weights, lr=1e-3).step()
        assert any(not torch.equal(a, b) for a, b in zip(before, weights, strict=True))
        built.zero_grad()

    built.eval()
    with torch.no_grad():
        prediction = built.predict(batch)
        assert prediction.latent.shape == (4, built.latent.size)
        drawn = built.sample_latent(5, seed=2, condition=torch.tensor([0, 0, 1, 1, -1]))
        assert drawn.shape == (5, built.latent.size)
        assert built.decode(drawn).shape == (5, *spec.shape)
        if built.has_rate:
            assert built.log_evidence(batch, 3).isfinite().all()
        save_model(built, tmp_path / "model")
        again = load(tmp_path).model
        torch.testing.assert_close(again.predict(batch).reconstruction, prediction.reconstruction, rtol=0, atol=0)
        assert torch.equal(again.sample_latent(5, seed=2), built.sample_latent(5, seed=2))


@pytest.mark.parametrize(("spec", "chosen"), [*codes(IMAGE, fit=False), *codes(ROW, fit=False)])
def test_what_does_not_fit_is_refused_and_a_group_to_change_is_named(spec: DataSpec, chosen: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"latent|posterior|prior|adversary|encoder|condition"):
        built_of(spec, chosen)


SETTINGS = {  # what a task does not run without, and what would take long
    "anomaly": ["data.normal=[0]", "task.nll_samples=2", "task.resamples=100"],
    "disentanglement": ["task.examples=300", "task.trees=2", "task.votes=50"],
    "generation": ["task.nll_samples=2"],
    "panel": ["task.parts.generation.nll_samples=2"],
}


ENCODERS = [e for e in options("encoder") if e != "mlp_small" and fits(SPECS[0], "encoder", e)]
RUNS = pairwise({"task": options("task"), "encoder": ENCODERS, "model": ["ae", "vae"]})


QUICK = {("generation", "mlp"), ("denoising", "mlp")}  # the others take longer


@pytest.mark.parametrize(
    ("task", "encoder", "model"),
    [
        pytest.param(*run.values(), marks=[] if (run["task"], run["encoder"]) in QUICK else pytest.mark.long)
        for run in RUNS
    ],
)
def test_every_task_runs_with_every_encoder(train: Any, task: str, encoder: str, model: str) -> None:
    folder = train(f"task={task}", f"model={model}", f"encoder={encoder}", "debug=fdr", *SETTINGS.get(task, []))
    assert (folder / "metrics.json").is_file()


@pytest.mark.parametrize(
    "corruption",
    [pytest.param(c, marks=pytest.mark.long) for c in options("corruption") if c != "none"],
)
def test_every_corruption_is_undone_on_every_kind_of_input(train: Any, corruption: str) -> None:
    folder = train("task=denoising", f"corruption={corruption}", "model=ae", "debug=fdr")
    assert '"test/psnr_gain"' in (folder / "metrics.json").read_text()
