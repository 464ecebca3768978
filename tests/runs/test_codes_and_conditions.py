"""Whole runs of discrete codes, with priors fitted to them, and of models that are given labels."""

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

import in_memory
import vaelab
from vaelab.errors import CheckpointError
from vaelab.evaluation.encoded import encoded
from vaelab.evaluation.fitted_priors import load_fitted_prior
from vaelab.latents.fitted import Counts, LabelledPrior

CONV = ("encoder=conv", "encoder.widths=[4,8]", "decoder.widths=[4,8]")
FSQ = ("model=fsq", *CONV, "trainer.max_epochs=1", "task.baselines=false")
GENERATION = ("task=generation", "task.nll_samples=2", "task.extractor=random", "task.temperatures=[]")
AUTOREGRESSIVE = (
    "fitted_prior=autoregressive", "fitted_prior.steps=12", "fitted_prior.width=8", "fitted_prior.layers=1",
    "fitted_prior.heads=2",
)  # fmt: skip
FITTED = {"counts": ("fitted_prior=counts",), "autoregressive": AUTOREGRESSIVE}


def numbers(run: Path) -> dict[str, float]:
    read: dict[str, float] = json.loads((run / "metrics.json").read_text())
    return read


@pytest.mark.long
def test_bits_of_a_discrete_code_are_those_of_its_indices(train: Any) -> None:
    found = numbers(train("task=compression", *FSQ))
    assert found["test/bits_out"] == 4 * 9  # 2 x 2 cells of 512 levels
    assert found["test/values_out"] == 4
    assert found["test/bits_kl"] == pytest.approx(36, rel=1e-5)  # of one draw that is always the same
    assert found["test/mse_sampled"] == pytest.approx(found["test/mse"], rel=1e-4)
    assert 0 < found["test/bits_entropy"] <= found["test/bits_coded"] <= 36
    assert 0 < found["test/code_usage"] <= 1
    assert 1 <= found["test/code_perplexity"] <= 512
    assert not any(name.endswith("bit") for name in found)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["counts", "autoregressive"])
def test_a_discrete_code_generates_from_the_prior_fitted_to_it_and_keeps_it(
    kind: str, train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*GENERATION, *FSQ, *FITTED[kind])
    found = numbers(run)
    assert {"test/fid", "test/fid_fitted", "test/nll", "test/nll_fitted", "test/bpd_fitted"} < found.keys()
    prior, model = load_fitted_prior(run), vaelab.load(run).model
    assert prior.dimensions == 4
    drawn = prior.sample(5, seed=1)
    assert model.decode(model.from_indices(drawn.view(5, 2, 2))).shape == (5, 1, 8, 8)
    # An example has one code, so that its nll is exact: -log p(x|z) and the nats of its indices under either prior.
    assert found["test/nll"] == pytest.approx(found["test/kl"] - found["test/reconstruction"], rel=1e-5)
    assert found["test/kl"] == pytest.approx(4 * log(512))
    data = in_memory.digits()
    indices = encoded(model, data, "test").indices
    assert indices is not None
    nats = -prior.log_prob(indices).mean().item()
    assert found["test/nll_fitted"] == pytest.approx(nats - found["test/reconstruction"], rel=1e-4)

    again = train("train=false", f"ckpt_path={run}")
    tested = {name: value for name, value in found.items() if name.startswith("test/")}
    assert {name: value for name, value in numbers(again).items() if name in tested} == pytest.approx(tested, rel=1e-5)
    kept = load_fitted_prior(again)
    assert torch.equal(kept.sample(20, seed=3), prior.sample(20, seed=3))
    said = capsys.readouterr().err
    assert "step 0 of 12" not in said

    train(f"resume={run}", "trainer.max_epochs=2")
    assert numbers(run)["test/mse"] < found["test/mse"]
    new = load_fitted_prior(run)  # fitted to the codes that the model has now
    assert not torch.equal(new.log_prob(drawn), prior.log_prob(drawn))


@pytest.mark.long
def test_a_fit_that_fails_leaves_the_model_and_no_prior_of_other_weights(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(*FSQ, *FITTED["counts"], "test=false")
    before = vaelab.load(run).model.state_dict()

    def stops(*arguments: Any) -> Any:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Counts, "fit", stops)
    with pytest.raises((RuntimeError, SystemExit)):
        train(f"resume={run}", "trainer.max_epochs=2")
    after = vaelab.load(run).model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(CheckpointError, match="no fitted prior"):
        load_fitted_prior(run)


@pytest.mark.long
@pytest.mark.parametrize("task", ["embedding", "anomaly", pytest.param("panel", marks=pytest.mark.long)])
def test_every_task_measures_a_discrete_code(task: str, train: Any) -> None:
    more = {
        "anomaly": ("data.normal=[0]", "task.nll_samples=2", "task.resamples=100"),
        "panel": ("task.parts.generation.nll_samples=2", "task.parts.generation.extractor=random"),
    }
    found = numbers(train(f"task={task}", *FSQ, *more.get(task, ())))
    assert any(name.startswith("test/") for name in found)
    if task == "anomaly":
        assert found["test/auroc"] > 0


def test_a_prior_of_real_numbers_is_refused_for_indices_before_training(
    train: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        train("task=compression", *FSQ, "fitted_prior=gaussian")
    assert "fitted_prior=gaussian: the code is discrete; use fitted_prior=counts or autoregressive" in (
        capsys.readouterr().err
    )
    assert not list((tmp_path / "logs").rglob("metrics.json"))


# Labels

LABELLED = ("model.condition=label", "trainer.max_epochs=1", "task.baselines=false", "encoder.hidden=[16]")


@pytest.mark.long
@pytest.mark.parametrize("model", ["ae", "vae"])
def test_samples_of_a_label_are_shown_and_classified(model: str, train: Any, tmp_path: Path) -> None:
    settings = ("task=generation", "task.nll_samples=2", "task.temperatures=[]", "trainer.max_epochs=3")
    run = train(f"model={model}", *LABELLED, *settings)
    found = numbers(run)
    assert (run / "figures" / "samples_by_class.png").is_file()
    assert 0.2 < found["test/label_accuracy"] <= 1
    assert {f"test/fid_class_{digit}" for digit in range(10)} < found.keys()
    assert "test/nll" not in found
    assert ("test/nll_given_label" in found) == (model == "vae")
    loaded = vaelab.load(run).model
    z = torch.zeros(2, loaded.latent.size)
    zero, one = loaded.decode(z, torch.tensor([0, 1]))
    assert (zero - one).abs().max() > 0.05
    assert numbers(train("train=false", f"ckpt_path={run}"))["test/label_accuracy"] == found["test/label_accuracy"]


@pytest.mark.long
def test_a_prior_of_each_label_makes_samples_that_look_more_like_it(train: Any) -> None:
    settings = ("task=generation", "task.nll_samples=2", "task.temperatures=[]", "trainer.max_epochs=10")
    run = train("model=ae", *LABELLED, *settings, "fitted_prior=gaussian_by_label")
    found = numbers(run)
    assert found["test/label_accuracy_fitted"] > found["test/label_accuracy"] + 0.02
    assert {f"test/fid_class_{digit}_fitted" for digit in range(10)} < found.keys()
    again = numbers(train("train=false", f"ckpt_path={run}"))
    assert again["test/label_accuracy_fitted"] == found["test/label_accuracy_fitted"]


@pytest.mark.long
def test_a_discrete_code_has_a_prior_given_the_label(train: Any) -> None:
    settings = ("task=generation", "task.temperatures=[]", "trainer.max_epochs=10", "model.condition=label")
    network = ("fitted_prior=autoregressive", "fitted_prior.steps=200", "fitted_prior.width=32")
    run = train(*FSQ, *settings, *network, "task.baselines=false")
    found = numbers(run)
    assert found["test/label_accuracy_fitted"] > found["test/label_accuracy"] + 0.1
    assert found["test/nll_given_label_fitted"] < found["test/nll_given_label"]
    prior = load_fitted_prior(run)
    assert isinstance(prior, LabelledPrior)
    assert prior.sample(20, seed=1, label=torch.arange(20) % 10).shape == (20, prior.dimensions)


def test_a_prior_of_each_label_is_refused_without_labels(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train("task=compression", "fitted_prior=mixture_by_label")
    assert (
        "fitted_prior=mixture_by_label: the model is not given labels; add model.condition=label"
        in capsys.readouterr().err
    )


@pytest.mark.long
@pytest.mark.parametrize("model", ["ae", "vae"])
@pytest.mark.parametrize("task", ["anomaly", "compression", "denoising", "embedding", "panel"])
def test_every_task_measures_a_model_that_is_given_labels(task: str, model: str, train: Any) -> None:
    more = {
        "anomaly": ("data.normal=[0]", "task.nll_samples=2", "task.resamples=100"),
        "panel": ("task.parts.generation.nll_samples=2", "task.parts.generation.extractor=random"),
    }
    run = train(f"task={task}", f"model={model}", *LABELLED, *more.get(task, ()))
    assert any(name.startswith("test/") for name in numbers(run))
    told = "the encoder is given the label of each example (model.condition=label)" in (run / "report.html").read_text()
    assert told == (task in ("embedding", "panel"))


def test_labels_that_the_data_do_not_have_are_refused(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.csv").write_text("a,b\n" + "1,2\n3,5\n" * 20)
    with pytest.raises(SystemExit):
        train("data=table", f"data.path={tmp_path / 'plain.csv'}", "model.condition=label")
    assert "condition=label: " in capsys.readouterr().err


def test_later_rows_of_a_class_that_a_conditional_model_does_not_know_are_refused_by_name(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for first, (name, kinds) in enumerate((("train", "xy"), ("subset", "y"), ("later", "yxw"))):
        lines = [f"{first + row % 7},{row % 3},{kinds[row % len(kinds)]}" for row in range(60)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,kind", *lines]))
    table = ("data=table", "data.label=kind", "task.baselines=false", "task.nll_samples=2")
    words = ("model.condition=label", "fitted_prior=none", "trainer.max_epochs=1", f"data.path={tmp_path}/train.csv")
    run = train(*table, *words)
    evaluated = train(*table, *words[:2], "train=false", f"ckpt_path={run}", f"data.path={tmp_path}/subset.csv")
    assert (evaluated / "metrics.json").exists()
    with pytest.raises(SystemExit):
        train(*table, *words[:2], "train=false", f"ckpt_path={run}", f"data.path={tmp_path}/later.csv")
    assert "later: has the label w, but the model was trained with the labels x, y only" in (capsys.readouterr().err)
