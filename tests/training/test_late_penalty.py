"""A penalty may begin later than the first step: the rest of the run does not notice."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaelab.cli import train as command
from vaelab.core import Batch, ExampleNoise
from vaelab.likelihoods import Gaussian
from vaelab.record.curves import read_curves
from vaelab.training.compiled import CompiledObjective

Train = Callable[..., Path]
# 13 steps an epoch; the penalty begins at the tenth, within a window of five.
SMALL = ("encoder.hidden=[16]", "decoder.hidden=[16]", "data.batch_size=100", "trainer.max_epochs=2", "model=ae")
SMALL += ("trainer.log_every_n_steps=4", "latent_dim=4", "trusted=[late_penalty]", "test=false")
NAMED, UNNAMED = "model._target_=late_penalty.Late", "model._target_=late_penalty.NamedLate"
TERMS = ("train/loss", "train/late", "train/late_step", "val/loss", "val/late")


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    found = read_curves(run / "metrics.csv")
    return {name: [(step, pytest.approx(value, rel=1e-4)) for step, value in found[name]] for name in TERMS}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    command([f"paths.log_dir={folder}", "logger=none", *SMALL, NAMED])
    (config,) = folder.rglob("config.yaml")
    return config.parent


def test_a_term_that_is_named_late_counts_as_0_before(named: Path, train: Train) -> None:
    shown, expected = read_curves(train(*SMALL, UNNAMED) / "metrics.csv"), curves(named)
    assert [value for _, value in expected["train/late_step"]][:2] == [0, 0]
    expected["train/late_step"] = [point for point in expected["train/late_step"] if point[0] > 8]
    assert {name: shown[name] for name in TERMS} == expected


@pytest.mark.parametrize(
    ("stopped", "saved"), [pytest.param(8, 6, marks=pytest.mark.long), (12, 11)], ids=["before", "after"]
)
def test_a_run_that_was_stopped_on_either_side_of_its_beginning_goes_on(
    stopped: int, saved: int, named: Path, train: Train, tmp_path: Path
) -> None:
    stop = ("+callbacks.stop._target_=late_penalty.StopAt", f"+callbacks.stop.step={stopped}")
    with pytest.raises(SystemExit):
        train(*SMALL, UNNAMED, *stop, f"callbacks.last.every_n_train_steps={saved}")
    run = next(tmp_path.rglob("last.ckpt")).parents[1]
    again = (UNNAMED, "trusted=[late_penalty]")  # whose code runs is not taken from a folder
    train(f"resume={run}", "callbacks.stop=null", *again)
    ours, theirs = (torch.load(r / "checkpoints/last.ckpt", weights_only=True) for r in (run, named))
    assert ours["global_step"] == theirs["global_step"] == 26
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"])
    shown, expected = read_curves(run / "metrics.csv"), curves(named)
    assert {name: shown[name] for name in TERMS[:2]} == {name: expected[name] for name in TERMS[:2]}


@pytest.mark.long
def test_a_compiled_objective_takes_up_a_late_penalty_and_is_compiled_once(named: Path, train: Train) -> None:
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = train(*SMALL, NAMED, "compile=true")
    shown = read_curves(compiled / "metrics.csv")
    assert {name: shown[name] for name in TERMS} == curves(named)


@pytest.mark.long
def test_an_objective_that_asks_for_the_step_itself_is_not_compiled_anew_at_each(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(*SMALL, UNNAMED, "compile=true")
    said = capsys.readouterr().err
    assert "it reads the step; what changes over the steps should come from scheduled()" in said
    assert "compile=false runs without compilation" in said


def test_a_compiled_objective_sees_all_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from late_penalty import Labelled
    from vaelab.backbones import MLPDecoder, MLPEncoder
    from vaelab.core import DataSpec

    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    spec = DataSpec("dots", "image", (1, 4, 4), "unit", 256)
    torch.manual_seed(0)
    model = Labelled(
        MLPEncoder((1, 4, 4), 3, [8], activation="relu"),
        MLPDecoder(3, (1, 1, 4, 4), [8], activation="relu"),
        Gaussian(spec, 1.0),
        3,
    )
    objective = CompiledObjective(model, "default", required=True)
    for step in range(3):
        x, target, clean = torch.rand(3, 5, 1, 4, 4, generator=torch.Generator().manual_seed(step)).unbind()
        batch = Batch(x, target, torch.arange(5) + step, clean, ExampleNoise(0, range(5)), 0.5 + step)
        ours, plain = objective(batch).named(), model.terms(batch).named()
        assert ours.keys() == plain.keys() >= {"label", "clean", "weight"}
        for name, value in plain.items():
            torch.testing.assert_close(ours[name], value)
