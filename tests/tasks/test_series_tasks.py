"""Every task on series, through the command line: of one length, of any length with gaps, and cut from a recording."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from in_memory import InMemory
from series_files import folder, waves
from vaelab import load
from vaelab.backbones.conv1d import Conv1dDecoder, Conv1dEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.evaluation.scores.per_value import step_errors
from vaelab.evaluation.scores.scores import Reconstruction
from vaelab.likelihoods.squared_error import squared_error
from vaelab.models import AE
from vaelab.tasks.denoising.baselines import DenoisingBaselines

TINY = {
    "conv1d": ["encoder.widths=[4,8]", "decoder.widths=[4,8]"],
    "gru": ["encoder=gru", "encoder.width=8", "decoder.width=8"],
    "transformer": ["encoder=transformer", "encoder.width=8", "decoder.width=8", "encoder.heads=2", "decoder.heads=2"],
}
TASKS = {
    "compression": ["task=compression"],
    "generation": ["task=generation", "task.nll_samples=3"],
    "embedding": ["task=embedding", "task.neighbours=2"],
    "anomaly": ["task=anomaly", "data.normal=[usual]", "task.resamples=100"],
    "gaussian": ["task=denoising", "corruption=gaussian"],
    "mask": ["task=denoising", "corruption=mask", "corruption.positions=block", "model=ae"],
}
FIGURES = {"compression": "reconstructions", "generation": "samples", "anomaly": "where"}


def sources(root: Path) -> dict[str, list[str]]:
    """Settings of one data set of each form."""
    folder(root / "any", 40)
    np.save(root / "fixed.npy", waves(40))
    np.save(root / "kinds.npy", np.where(np.arange(40) % 4, "usual", "odd"))
    steps = np.arange(600)
    rows = np.column_stack([np.sin(steps), np.cos(steps)])
    kinds = np.where(steps % 70 < 4, "odd", "usual")
    lines = [f"{a:.5f};{b:.5f};{kind}" for (a, b), kind in zip(rows, kinds, strict=True)]
    (root / "long.csv").write_text("\r\n".join(["a;b;kind", *lines]))
    return {
        "any": [f"data.path={root / 'any'}"],
        "fixed": [f"data.path={root / 'fixed.npy'}", f"data.labels={root / 'kinds.npy'}"],
        "long": [f"data.path={root / 'long.csv'}", "data.label=kind", "data.window=12", "data.stride=6"],
    }


RUNS = [(task, "conv1d", "any") for task in TASKS]
RUNS += [("generation", "conv1d", "fixed"), ("mask", "conv1d", "fixed"), ("anomaly", "conv1d", "long")]
RUNS += [(task, backbone, "any") for task in ("generation", "anomaly", "mask") for backbone in ("gru", "transformer")]


@pytest.mark.parametrize(("task", "backbone", "source"), RUNS)
@pytest.mark.long
def test_runs(train: Any, tmp_path: Path, task: str, backbone: str, source: str) -> None:
    settings = sources(tmp_path)[source]
    folder = train(
        "data=series", *settings, *TASKS[task], *TINY[backbone], "trainer.max_epochs=1", "latent_dim=3",
        "task.false_alarm_rate=0.3" if task == "anomaly" else "seed=1", f"paths.data_dir={tmp_path}",
    )  # fmt: skip
    numbers = json.loads((folder / "metrics.json").read_text())
    assert all(np.isfinite(value) for value in numbers.values())
    assert (folder / "figures" / f"{FIGURES.get(task, 'curves')}.png").is_file()
    model = load(folder).model
    spec = model.likelihood.spec
    assert spec.has_missing == (source == "any")
    assert type(model.encoder).__name__.lower().startswith(backbone)
    assert type(model.decoder).__name__.lower().startswith(backbone)
    if task == "anomaly":
        check_step_scores(folder, steps=spec.shape[-1])
    if task in ("gaussian", "mask"):
        assert (folder / "figures" / "denoised.png").is_file()
        assert "test/mse_ratio" in numbers
    if task == "generation":
        assert "test/nll_per_step" in numbers
        assert "test/fid" in numbers
        samples = np.load(folder / "samples" / "samples.npy")
        assert samples.shape[1:] == spec.shape
        assert np.isnan(samples).any() == spec.has_missing
        assert (folder / "samples" / "samples.csv").read_text().startswith("example,step,")


@pytest.mark.long
def test_nats_of_a_step_given_a_label_have_a_name_of_their_own(train: Any, tmp_path: Path) -> None:
    settings = [*sources(tmp_path)["fixed"], *TASKS["generation"], *TINY["conv1d"], f"paths.data_dir={tmp_path}"]
    folder = train("data=series", *settings, "trainer.max_epochs=1", "latent_dim=3", "model.condition=label")
    numbers = json.loads((folder / "metrics.json").read_text())
    steps = load(folder).model.likelihood.spec.shape[-1]
    assert numbers["test/nll_per_step_given_label"] == pytest.approx(numbers["test/nll_given_label"] / steps, rel=1e-5)
    assert "test/nll_per_step" not in numbers


def check_step_scores(folder: Path, steps: int) -> None:
    """Examples in the order of their score, and steps of each in theirs."""
    with (folder / "scores.csv").open() as file:
        scores = {row["example"]: float(row["reconstruction"]) for row in csv.DictReader(file)}
    with (folder / "step_scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    examples = list(dict.fromkeys(row["example"] for row in rows))
    assert set(examples) == set(scores)
    assert [scores[e] for e in examples] == sorted(scores.values(), reverse=True)
    assert all(0 <= int(row["step"]) < steps and float(row["score"]) >= 0 for row in rows)


def model(spec: DataSpec) -> AE:
    torch.manual_seed(0)
    encode = Conv1dEncoder(spec.shape, 3, spec=spec, widths=[4], activation="silu")
    return AE(encode, Conv1dDecoder(3, (1, *spec.shape), widths=[4], activation="silu"), squared_error(spec), 3).eval()


def test_step_errors_sum_to_the_score_of_the_series() -> None:
    spec = DataSpec("x", "series", (2, 15), "real")
    net, x = model(spec), torch.randn(4, 2, 15)
    torch.testing.assert_close(2 * step_errors(net, x).sum(1), Reconstruction()(net, x))


def test_missing_values_have_no_part_in_a_step_error() -> None:
    spec = DataSpec("x", "series", (2, 15), "real", has_missing=True)
    net, x = model(spec), torch.randn(1, 2, 15)
    x[0, 0, 3] = x[0, :, 12:] = torch.nan
    errors = step_errors(net, x)
    assert errors[0, 12:].isnan().all()
    again = net.decode(net.encode(x))
    torch.testing.assert_close(errors[0, 3], (again - x)[0, 1, 3].square())


def test_the_score_of_a_series_does_not_grow_with_its_length() -> None:
    """An encoder and decoder that give zero leave the mean square, whatever the length."""
    spec = DataSpec("x", "series", (1, 20), "real", has_missing=True)
    net = model(spec)
    for parameter in net.parameters():
        parameter.data.zero_()
    x = torch.ones(2, 1, 20)
    x[1, :, 5:] = torch.nan
    assert Reconstruction()(net, x).tolist() == [20.0, 20.0]


def test_the_loss_of_an_autoencoder_is_the_squared_error_of_what_is_there() -> None:
    spec = DataSpec("x", "series", (2, 9), "real", has_missing=True)
    net, x = model(spec), torch.randn(3, 2, 9)
    x[0, 1, 4:] = x[1, 0, 2] = torch.nan
    batch = Batch(x, x, torch.zeros(3).long(), x, ExampleNoise(0, range(3)), 1.0)
    expected = (net.decode(net.encode(x)) - x).square().nan_to_num().flatten(1).sum(1)
    torch.testing.assert_close(net(batch).loss, expected)


def test_what_masked_values_are_replaced_by_is_the_mean_of_those_there() -> None:
    x = torch.full((50, 1, 4), 3.0)
    x[::2, :, 1] = x[:, :, 3] = torch.nan
    data = InMemory(x, DataSpec("x", "series", (1, 4), "real", has_missing=True))
    baselines = DenoisingBaselines(data, None, 10)  # type: ignore[arg-type]
    assert baselines._average().tolist() == [[3.0, 3.0, 3.0, 0.0]]
