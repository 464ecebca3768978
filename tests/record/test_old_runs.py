"""Run folders that version 0.1 wrote, before a latent code could be anything but one vector, still load."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from vaelab import load
from vaelab.evaluation.fitted_priors import load_fitted_prior
from vaelab.evaluation.scores import Detector

RUNS = Path(__file__).parent / "old_runs"
EVALUATED = ["digits_vae", "digits_ae", "digits_spatial", "cancer_vae"]  # of data that every machine has


@pytest.mark.parametrize("run", sorted(path.name for path in RUNS.iterdir()))
def test_an_old_model_encodes_and_decodes_as_it_did(run: str) -> None:
    expected = {
        name: torch.tensor(values) for name, values in json.loads((RUNS / run / "expected.json").read_text()).items()
    }
    model = load(RUNS / run).model
    with torch.no_grad():
        code = model.encode(expected["x"])
        torch.testing.assert_close(code, expected["code"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.decode(code), expected["decoded"], rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("run", EVALUATED)
def test_an_old_run_is_evaluated_to_the_numbers_that_it_had(train: Any, tmp_path: Path, run: str) -> None:
    shutil.copytree(RUNS / run, tmp_path / run)
    folder = train("train=false", f"ckpt_path={tmp_path / run}", "trainer=cpu")
    before, now = (json.loads((path / "metrics.json").read_text()) for path in (RUNS / run, folder))
    if "test/fid_prior" in before:  # samples of a fitted prior say so in the names of their numbers today
        for name in ("fid", "kid", "precision", "recall"):
            before[f"test/{name}_fitted"] = before.pop(f"test/{name}")
        before["test/fid"] = before.pop("test/fid_prior")
    tested = [name for name in before if name.startswith("test/")]
    assert len(tested) > 5
    for name in tested:
        assert now[name] == pytest.approx(before[name], rel=2e-3, abs=1e-4), name


def test_an_old_sampler_and_an_old_detector_load() -> None:
    assert load_fitted_prior(RUNS / "digits_vae").sample(4).shape == (4, 3)
    assert Detector.load(RUNS / "cancer_vae").score(torch.zeros(2, 30)).isfinite().all()
