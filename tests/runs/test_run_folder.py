"""A run folder holds what design and README promise, and nothing that cannot be trusted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import vaelab
from vaelab.record.curves import read_curves

SMALL = ("trainer.max_epochs=2", "encoder.hidden=[16]", "decoder.hidden=[16]", "task.nll_samples=5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vaelab.cli import train

    logs = tmp_path_factory.mktemp("logs")
    train([*SMALL, "seed=0", "model.beta=2", "logger=none", f"paths.log_dir={logs}"])
    (config,) = logs.rglob("config.yaml")
    return config.parent


def test_holds_every_file(folder: Path) -> None:
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files - {"changes.patch"} == {
        "config.yaml", "overrides.yaml", "choices.yaml", "environment.json", "metrics.json", "metrics.csv",
        "report.html", "model/training.json", "state.json",
        "checkpoints/before_last.ckpt", "checkpoints/best.ckpt", "checkpoints/last.ckpt",
        "model/data.json", "model/model.json", "model/model.safetensors",
        "figures/samples.png", "figures/reconstructions.png", "figures/traversals.png", "figures/curves.png",
        "figures/temperatures.png", "figures/interpolations.png", "figures/nearest_train.png",
        "figures/rate_per_dimension.png", "latent_dimensions.csv", "metrics_metadata.json",
    } | {
        f"progress/{name}/epoch-000{epoch}.png"
        for name in ("reconstructions", "samples", "traversals") for epoch in (1, 2)
    }  # fmt: skip


def test_says_what_was_run(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["seed"] == 0  # 0 is a seed
    assert config["model"]["beta"] == 2
    assert "${" not in (folder / "config.yaml").read_text()
    assert "model.beta=2" in yaml.safe_load((folder / "overrides.yaml").read_text())
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seed"] == 0
    assert environment["packages"]["torch"] == torch.__version__
    assert folder.parts[-3:-1] == ("generation", "digits-vae")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?", folder.name)


def test_numbers_are_floats_under_the_agreed_names_and_add_up(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert all(isinstance(value, float) for value in metrics.values())
    assert {"test/elbo", "test/nll", "test/bpd", "test/kl", "test/active_units", "val/elbo", "train/beta"} <= set(
        metrics
    )
    assert metrics["test/elbo"] == pytest.approx(metrics["test/reconstruction"] - metrics["test/kl"])
    assert metrics["test/loss"] == pytest.approx(-metrics["test/reconstruction"] + 2 * metrics["test/kl"])
    assert metrics["test/bpd"] == pytest.approx(metrics["test/nll"] / 64 / 0.693147, rel=1e-4)
    assert metrics["train/beta"] == 2
    curves = read_curves(folder / "metrics.csv")
    best = max(value for _, value in curves["val/elbo"])
    assert metrics["val/elbo"] == pytest.approx(best)  # a beta = 1 quantity decides, whatever beta is


def test_checkpoints_load_without_running_code(folder: Path) -> None:
    for name in ("best", "last"):
        checkpoint = torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)
        assert not [key for key in checkpoint["state_dict"] if "_orig_mod" in key]
        assert "hyper_parameters" not in checkpoint


def test_the_model_can_be_used(folder: Path) -> None:
    model = vaelab.load(folder).model
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    images = model.decode(torch.zeros(2, model.latent_dim))
    assert images.shape == (2, 1, 8, 8)
    assert 0 <= images.min() <= images.max() <= 1


def test_the_report_needs_no_other_file(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 8 + 6  # figures, and the frames of films
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "model.beta=2" in page
    assert "test/nll" in page
    for picture in (folder / "figures").iterdir():
        with Image.open(picture) as opened:
            assert opened.size[0] > 200


def test_evaluating_a_run_gives_the_same_numbers(folder: Path, train: Any) -> None:
    again = train("seed=5", "train=false", f"ckpt_path={folder}")
    assert again != folder
    ours, theirs = (json.loads((f / "metrics.json").read_text()) for f in (again, folder))
    assert ours == {name: value for name, value in theirs.items() if name.startswith(("test/", "baseline/"))}


@pytest.mark.long
def test_two_runs_in_one_second_do_not_share_a_folder(train: Any) -> None:
    folders = {train("debug=fdr") for _ in range(3)}
    assert len(folders) == 3


@pytest.mark.long
def test_the_same_seed_gives_the_same_run_and_another_one_another(train: Any) -> None:
    first, second, other = (train(*SMALL, f"seed={seed}") / "metrics.json" for seed in (0, 0, 1))
    assert first.read_text() == second.read_text() != other.read_text()


@pytest.mark.long
def test_no_seed_draws_one_and_records_it(train: Any) -> None:
    drawn = [json.loads((train("debug=fdr", "seed=null") / "environment.json").read_text())["seed"] for _ in range(2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    "debug",
    ["fdr", *(pytest.param(name, marks=pytest.mark.long) for name in ("default", "overfit", "limit", "profiler"))],
)
def test_debug_modes(debug: str, train: Any, tmp_path: Path) -> None:
    overfit = ("trainer.max_epochs=30",) if debug == "overfit" else ()
    folder = train(f"debug={debug}", "encoder.hidden=[64]", "decoder.hidden=[64]", *overfit)
    curves = read_curves(folder / "metrics.csv")
    if debug == "overfit":
        losses = [value for _, value in curves["train/loss"]]
        assert losses[-1] < losses[0] - 30
    assert folder.is_relative_to(tmp_path / "logs/debug")
    if debug in ("default", "limit", "profiler"):
        assert len(curves["val/elbo"]) == 1


@pytest.mark.long
def test_a_multirun_keeps_its_jobs_apart(tmp_path: Path) -> None:
    from vaelab.cli import train as command

    command(["-m", "latent_dim=2,3", "debug=fdr", f"paths.log_dir={tmp_path}"])
    jobs = sorted(tmp_path.glob("debug/generation/multirun/*/*/config.yaml"))
    assert [yaml.safe_load(job.read_text())["latent_dim"] for job in jobs] == [2, 3]
    assert [job.parent.name for job in jobs] == ["0", "1"]


def test_a_refused_resume_leaves_the_run_as_it_was(folder: Path, train: Any, capsys: Any) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "latent_dim=5")
    assert "another architecture" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
