"""A compiled objective is the same objective, and is compiled once and where that is worth it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.exc import TorchRuntimeError
from torch._dynamo.utils import counters

from vaelab.record.curves import read_curves
from vaelab.training import compilation

SMALL = ("encoder.hidden=[16]", "decoder.hidden=[16]", "data.batch_size=100", "trainer.max_epochs=2", "test=false")
Train = Callable[..., Path]


@pytest.fixture(autouse=True)
def compiled_once() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


def objectives_compiled() -> int:
    return counters["stats"]["unique_graphs"]


def losses(run: Path) -> list[float]:
    curves = read_curves(run / "metrics.csv")
    return [value for name in ("train/loss", "train/kl", "val/elbo") for _, value in curves[name]]


def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WATCHED", 0.0)
    monkeypatch.setattr(compilation, "WORTH", 0.0)


@pytest.mark.parametrize(
    "model",
    [("model=capacity_vae", "model.schedule.steps=20"), ("model=iwae", "likelihood=bernoulli_dynamic")],
    ids=["a number that changes at each step", "several streams of noise"],
)
@pytest.mark.long
def test_same_numbers_from_one_function(model: tuple[str, ...], train: Train) -> None:
    plain = train(*SMALL, *model, "compile=false")
    assert objectives_compiled() == 0
    compiled = train(*SMALL, *model, "compile=true")
    assert objectives_compiled() == 1
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-4)


@pytest.mark.long
def test_auto_compiles_what_is_worth_it_and_says_so(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = train(*SMALL)
    assert objectives_compiled() == 0
    in_no_time(monkeypatch)
    train(*SMALL, "trainer.deterministic=true")
    assert objectives_compiled() == 0
    torch.use_deterministic_algorithms(False)  # Lightning leaves it on
    assert "compiling" not in capsys.readouterr().out
    long = train(*SMALL)
    assert objectives_compiled() == 1
    assert "compiling the objective" in capsys.readouterr().out
    assert losses(long) == pytest.approx(losses(short), rel=1e-4)


@pytest.mark.long
def test_auto_leaves_bfloat16_convolutions_on_a_processor_and_their_test_is_compiled(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_no_time(monkeypatch)
    monkeypatch.setattr("vaelab.training.precision.gains_by_bfloat16", lambda device, model, batch_size: True)
    conv = ("encoder=conv", "encoder.widths=[8]", "decoder.widths=[8]", "trainer.max_epochs=2", "trainer=cpu")
    folder = train(*conv, "test=false")
    assert objectives_compiled() == 0
    monkeypatch.setattr(compilation, "WORTH_IN_TEST", 0.0)
    train(*conv, "train=false", f"ckpt_path={folder}", "task.nll_samples=64", "trainer.limit_test_batches=null")
    assert objectives_compiled() == 1


@pytest.mark.long
def test_a_long_test_compiles_its_importance_weights(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = [one for one in SMALL if one != "test=false"]
    plain = train(*tested, "compile=false")
    monkeypatch.setattr(compilation, "WORTH_IN_TEST", 0.0)
    long = train(*tested)
    assert objectives_compiled() == 1
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (long, plain))
    assert ours["test/nll"] == pytest.approx(theirs["test/nll"], rel=1e-5)


@pytest.mark.long
def test_a_resumed_run_keeps_what_auto_decided(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    in_no_time(monkeypatch)
    run = train(*SMALL)
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(compilation, "WORTH", float("inf"))
    train(f"resume={run}", "trainer.max_epochs=3")
    assert objectives_compiled() == 1


@pytest.mark.long
def test_auto_goes_on_without_a_compiler_that_fails(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(function: Any, **settings: Any) -> Any:
        def fail(*arguments: Any) -> Any:
            raise TorchRuntimeError("no linker")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    in_no_time(monkeypatch)
    run = train(*SMALL)
    assert losses(run) == losses(train(*SMALL, "compile=false"))
    assert "no linker); the run continues without compilation" in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(SystemExit):
        train(*SMALL, "compile=true")
    assert "compile=false runs without compilation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=contractive_ae"], "compile=true: the objective contains a gradient"),
        (["compile=fast"], "compile=fast"),
        (["compile=max-autotune", "model=contractive_ae"], "compile=max-autotune: the objective"),
    ],
)
def test_what_cannot_be_compiled_is_refused(
    overrides: list[str], message: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL, *([] if "compile" in overrides[0] else ["compile=true"]), *overrides)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_no_compiler_is_said(train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit):
        train(*SMALL, "compile=true")
    assert "there is no C++ compiler (g++ or clang++)" in capsys.readouterr().err
