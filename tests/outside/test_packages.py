"""Models of packages outside this one, by a folder of YAMLs and `trusted` alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., Path]
MODELS = ("rq_vae", "tc_vae", "gumbel_vae", "three_levels", "adversarial_ae", "class_prior")
TASKS = ("generation", "compression", "embedding", "denoising", "anomaly")
QUICK = ("adversarial_ae", "compression")
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
    print(numbers_of(run))
    print((run / "metrics.csv").read_text()[:1500])
    assert 0
