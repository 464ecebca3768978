"""Advice is given where a run has the fault, and not where it has not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vaelab.record.advice import Finished, advice
from vaelab.training.budget import TrainingTime


def watched(values: Any) -> TrainingTime:
    time = TrainingTime("val/elbo", "max", "normal")
    time.passes = [(100 * step, float(value)) for step, value in enumerate(values, 1)]
    return time


def run(
    task: str = "generation", values: Any = (), dim: int = 16, size: int = 64, conditional: bool = False, **numbers: Any
) -> Finished:
    latent = SimpleNamespace(finest=SimpleNamespace(shape=(dim,)), groups=(None,), discrete=False, size=dim)
    model: Any = SimpleNamespace(
        latent_dim=dim, architecture={"encoder": {"widths": [8]}, "latent_dim": dim}, latent=latent, has_rate=True,
        fitted=None, conditional=conditional, infers_label=False,
        likelihood=SimpleNamespace(spec=SimpleNamespace(size=size)),
    )  # fmt: skip
    named = {name.replace("__", "/"): value for name, value in numbers.items() if not isinstance(value, dict)}
    about = {name.replace("__", "/"): value for name, value in numbers.items() if isinstance(value, dict)}
    return Finished(named, about, watched(values) if len(values) else None, model, task)


WORSE_FID = {"baseline/pca_gaussian/fid": {"the run is ahead by": -9, "at least": -12, "at most": -1}}
FLAT = np.minimum(np.linspace(-100, 0, 30), -50)
RISING = np.linspace(-100, 0, 30)
OVERFITTED = np.concatenate([np.linspace(-100, -10, 10), np.linspace(-10, -60, 20)])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (run(values=RISING), "val/elbo was still improving when training ended; effort=best"),
        (run(values=OVERFITTED), "over-fitting: val/elbo was best at step 1,000 of 3,000, and then got worse"),
        (run(test__active_units=3.0), "3 of the 16 latent dimensions are used; latent_dim=4 would lose little"),
        (
            run(
                "compression",
                **{
                    "test__mse": 0.02,
                    "baseline__pca__mse": 0.01,
                    "baseline/pca/mse": {"the run is ahead by": -0.01, "at least": -0.02, "at most": -0.001},
                },
            ),
            "the baseline pca has a significantly better mse than the run (0.01, the run has 0.02); model=ae",
        ),
        (
            run("generation", **WORSE_FID),
            "fitted_prior=mixture samples where the codes are",
        ),
        (
            run("generation", conditional=True, **WORSE_FID),
            "fitted_prior=mixture_by_label samples where the codes are",
        ),
        (
            run("compression", size=4),
            "the code is as large as the data: 16 dimensions for the 4 values of an example; latent_dim=2 is half",
        ),
        (run("embedding", size=16, test__active_units=3.0), "latent_dim=8 is half of it"),
        (
            run(  # a lead of a tenth of an FID is less than one of a third of an AUROC
                **WORSE_FID,
                test__fid=99.0,
                baseline__pca_gaussian__fid=90.0,
                test__tstr=0.6,
                baseline__gaussian_copula__tstr=0.9,
                **{"baseline/gaussian_copula/tstr": {"the run is ahead by": -0.3, "at most": -0.2}},
            ),
            "the baseline gaussian_copula has a significantly better tstr than the run",
        ),
        (
            run(
                test__tstr=0.5,
                test__tstr_fitted=0.7,
                **{
                    "baseline/gaussian_copula/tstr": {"the run is ahead by": -0.3, "at most": -0.2},
                    "baseline/gaussian_copula/tstr_fitted": {"the run is ahead by": -0.1, "at most": -0.05},
                    "baseline__gaussian_copula__tstr": 0.8,
                },
            ),
            "the baseline gaussian_copula has a significantly better tstr_fitted than the run (0.8, the run has 0.7)",
        ),
    ],
)
def test_a_run_with_the_fault_is_told_what_to_type(found: Finished, said: str) -> None:
    assert [line for line in advice(found) if said in line]


@pytest.mark.parametrize(
    "found",
    [
        run(values=FLAT),
        run(values=RISING[:5]),
        run(test__active_units=12.0),
        run(test__active_units=0.0),  # a collapsed code is told of elsewhere
        run(**{"baseline/pca/mse": {"the run is ahead by": -0.01, "at least": -0.02, "at most": 0.01}}),
        run(**{"baseline/pca/mse": {"the run is ahead by": 0.01, "at least": 0.005, "at most": 0.02}}),
        run("generation", size=4),
        run("compression", dim=3, size=4),
        run(test__fid=64.09, baseline__pca_gaussian__fid=69.65, **WORSE_FID),  # its numbers say the opposite
        run(**{"baseline/train_split/fid": {"the run is ahead by": -9, "at least": -12, "at most": -1}}),
    ],
)
def test_a_run_without_it_is_not(found: Finished) -> None:
    assert advice(found) == []


@pytest.mark.long
def test_a_wide_code_is_mentioned_before_training_and_after(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b,c,d", comments="")
    words = ("data=table", f"data.path={tmp_path / 'rows.csv'}", "trainer.max_epochs=1", "task.baselines=false")
    said = "the code is as large as the data: 16 dimensions for the 4 values of an example; latent_dim=2 is half of it"
    run = train("task=compression", *words)
    assert said in " ".join(capsys.readouterr().err.split())
    assert said in (run / "report.html").read_text()
    train("task=compression", *words, "latent_dim=2")
    assert "as large as the data" not in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(("rows", "said"), [(30, True), (200, False)])
def test_numbers_of_few_test_examples_come_with_a_note(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, said: bool
) -> None:
    values = np.random.default_rng(0).normal(size=(rows, 3))
    np.savetxt(tmp_path / "rows.csv", values, delimiter=",", header="a,b,c", comments="")
    words = ("task=generation", "fitted_prior=none", "trainer.max_epochs=1", "task.nll_samples=2")
    run = train(*words, "data=table", f"data.path={tmp_path / 'rows.csv'}", "task.baselines=false")
    note = "6 test examples: with so few, metrics depend on chance"
    assert (note in capsys.readouterr().out) == said
    assert (note in (run / "report.html").read_text()) == said


@pytest.mark.long
def test_a_real_run_says_it_in_its_report(train: Any) -> None:
    folder = train("trainer.max_epochs=12", "optimizer.lr=1e-5", "trainer=cpu", "task.baselines=false")
    page = (folder / "report.html").read_text()
    assert "val/elbo was still improving when training ended; a larger trainer.max_epochs trains for longer" in page


@pytest.mark.chaos  # it trains for minutes
def test_a_run_that_got_worse_is_not_told_to_go_on(train: Any) -> None:
    """The test loads the best checkpoint, which knows only the validations up to itself."""
    page = (train("effort=best", "trainer=cpu", "task.baselines=false") / "report.html").read_text()
    assert "over-fitting: val/elbo was best at step" in page
    assert "a smaller encoder.hidden and decoder.hidden" in page
    assert "still improving" not in page
