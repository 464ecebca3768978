"""Models of packages outside this one, by a folder of YAMLs and `trusted` alone."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import vaelab
from vaelab.core import Batch, ExampleNoise
from vaelab.errors import CheckpointError
from vaelab.training.module import only

Run = Callable[..., Path]
MODELS = ("rq_vae", "tc_vae", "relaxed_vae", "three_levels", "critic_ae", "class_prior")
TASKS = ("panel", "denoising", "anomaly")  # a panel is generation, compression and embedding
QUICK = ("critic_ae", "denoising")
MOST_LINES = 120
SMALL = ("latent_dim=8", "encoder.hidden=[64]", "decoder.hidden=[64]")
FEW = (*SMALL, "trainer.limit_train_batches=6", "trainer.log_every_n_steps=1", "task.baselines=false")


def chosen(packages: Path, name: str) -> tuple[str, ...]:
    return f"--config-dir={packages / name / 'conf'}", f"trusted=[{name}]", f"model={name}"


def numbers_of(run: Path) -> dict[str, float | None]:
    found: dict[str, float | None] = json.loads((run / "metrics.json").read_text())
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_package_is_short(packages: Path, name: str) -> None:
    lines = [line for file in (packages / name).rglob("*.py") for line in file.read_text().splitlines()]
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize(
    ("name", "task"),
    [pytest.param(n, t, marks=[] if (n, t) == QUICK else pytest.mark.long) for n in MODELS for t in TASKS],
)
def test_a_model_is_trained_and_measured(train: Run, packages: Path, name: str, task: str) -> None:
    more = ["data.normal=[0,1,2]"] if task == "anomaly" else []
    run = train(*chosen(packages, name), f"task={task}", *FEW, "trainer.max_epochs=1", *more)
    numbers = {key: value for key, value in numbers_of(run).items() if key.startswith("test/")}
    assert len(numbers) > 3
    assert all(math.isfinite(value) for value in numbers.values() if value is not None), numbers


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) for n in MODELS])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does_and_is_loaded(
    train: Run, packages: Path, name: str
) -> None:
    settings = (*chosen(packages, name), "task=compression", *FEW)
    whole = vaelab.load(train(*settings, "trainer.max_epochs=2"), trusted=(name,)).model
    part = train(*settings, "trainer.max_epochs=1")
    before = vaelab.load(part, trusted=(name,)).model.state_dict()
    with pytest.raises(CheckpointError, match=name):
        vaelab.load(part)
    train(f"--config-dir={packages / name / 'conf'}", f"trusted=[{name}]", f"resume={part}", "trainer.max_epochs=2")
    resumed = vaelab.load(part, trusted=(name,)).model
    assert resumed.state_dict().keys() == whole.state_dict().keys()
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in resumed.state_dict().items())
    assert any(not torch.equal(value, before[key]) for key, value in resumed.state_dict().items())
    again = resumed.decode(resumed.sample_latent(3, seed=1))
    assert again.shape == (3, 1, 8, 8)
    assert again.isfinite().all()


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) for n in MODELS])
def test_each_term_moves_the_modules_that_it_says(train: Run, packages: Path, name: str) -> None:
    run = train(*chosen(packages, name), "task=compression", *FEW, "trainer.max_epochs=1")
    model = vaelab.load(run, trusted=(name,)).model.train()
    x = torch.randint(17, (32, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 16
    batch = Batch(x, x, torch.arange(32) % 10, x, ExampleNoise(0, range(32)), 1.0)
    with only(model, model.phases[0]):
        terms = model.terms(batch)
        assert {"reconstruction", *terms.penalties, *terms.rates} <= model.moves().keys()
        for term, modules in model.moves().items():
            value = terms.named()[term].sum()
            assert value.requires_grad == bool(modules), term
            for part, module in model.named_children():
                weights = [weight for weight in module.parameters() if weight.requires_grad]
                if weights and value.requires_grad:
                    found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
                    assert any(g is not None and bool(g.any()) for g in found) == (part in modules), (term, part)
