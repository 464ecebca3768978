"""What a run of task=anomaly has learned says the same of files, objects and tensors, and says why."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import vaelab
from vaelab.careful_read import Weights
from vaelab.cli import main
from vaelab.errors import CheckpointError, ConfigError


def rows(count: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    a = generator.normal(10, 2, count)
    return pd.DataFrame(
        {"a": a, "b": 3 * a + generator.normal(0, 0.1, count), "c": generator.choice(["x", "y"], count)}
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vaelab.cli import train

    home = tmp_path_factory.mktemp("scores")
    rows(400).to_csv(home / "rows.csv", index=False)
    train([
        "task=anomaly", "data=table", f"data.path={home / 'rows.csv'}", "trainer.max_epochs=3", "logger=none",
        "task.pictures_every=null", f"paths.output_dir={home / 'run'}", f"paths.data_dir={home}",
        "data.val_fraction=0.3",
    ])  # fmt: skip
    return home / "run"


def test_scores_are_those_of_the_run_itself(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = pd.read_csv(run / "scores.csv")
    file = run.parent / "rows.csv"
    monkeypatch.setattr(sys, "argv", ["vaelab", "score", str(run), str(file), "-o", str(tmp_path / "s.csv")])
    main()
    found = pd.read_csv(tmp_path / "s.csv").merge(own, on="row", suffixes=("", "_own"))
    assert len(found) == len(own)
    assert np.allclose(found["score"], found["combined"], atol=1e-5)
    assert (found["alarm"] == found["alarm_own"]).all()
    frame = pd.read_csv(file)
    trained = vaelab.load(run)
    for name in ("reconstruction", "latent", "neighbours", "elbo"):
        assert np.allclose(trained.score(frame, name)[own["row"]], own[name], rtol=1e-4, atol=1e-4), name


def test_a_p_value_is_the_share_of_normal_examples_that_score_as_high(run: Path) -> None:
    trained = vaelab.load(run)
    clean = Weights(run / "model/clean_scores.safetensors").load()["combined"].numpy()
    found = trained.detect(rows(50, seed=2))
    by_hand = [(1 + (clean >= score).sum()) / (len(clean) + 1) for score in found["score"]]
    assert np.allclose(found["p_value"], by_hand)
    assert (found["p_value"][found["alarm"]] <= 0.05).all()
    odd = rows(1).assign(b=-50.0)
    assert trained.detect(odd)["p_value"][0] == pytest.approx(1 / (len(clean) + 1))


def test_the_threshold_moves_to_another_rate(run: Path) -> None:
    trained, later = vaelab.load(run), rows(2_000, seed=3)
    shares = [trained.detect(later, rate)["alarm"].mean() for rate in (0.05, 0.1, 0.3)]
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(0.3, abs=0.12)
    with pytest.raises(ConfigError, match="allow no rate below"):
        trained.detect(later, 0.0001)


def test_the_columns_that_did_it_are_named(run: Path) -> None:
    trained = vaelab.load(run)
    odd = rows(3).assign(b=[0.0, 30.0, 0.0])
    why = trained.explain(odd)
    assert why["because"][0].startswith(("b (", "a ("))
    parts = trained.explain(odd, "reconstruction")
    total = parts[["a", "b", "c"]].sum(axis=1)
    assert np.allclose(total, trained.score(odd, "reconstruction"), rtol=1e-4)


def test_a_run_of_an_earlier_version_keeps_its_own_rate_alone(run: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(run / "model", older)
    (older / "clean_scores.safetensors").unlink()
    trained = vaelab.load(older)
    assert set(trained.detect(rows(5))) == {"score", "alarm"}
    with pytest.raises(CheckpointError, match=r"clean_scores\.safetensors, which another false-alarm rate"):
        trained.detect(rows(5), 0.2)


def test_a_tensor_is_scored_as_a_tensor(run: Path) -> None:
    trained = vaelab.load(run)
    part = trained.part(rows(4))
    values = torch.cat([batch.x for batch in part.batches(torch.device("cpu"))])
    found = trained.score(values)
    assert isinstance(found, torch.Tensor)
    assert not found.requires_grad
    assert np.allclose(found.numpy(), trained.score(rows(4)))


def test_verdicts_and_reasons_have_the_index_of_the_frame(run: Path) -> None:
    trained = vaelab.load(run)
    frame = rows(4).set_index(pd.Index(["d", "c", "b", "a"], name="who"))
    assert trained.detect(frame).index.equals(frame.index)
    assert trained.explain(frame).index.equals(frame.index)
    assert np.allclose(trained.detect(frame)["score"], trained.score(frame))
    assert trained.detect(frame.iloc[[2]]).index.tolist() == ["b"]


@pytest.mark.parametrize("lost", [["threshold.json"], ["scores.safetensors"], ["threshold.json", "scores.safetensors"]])
def test_a_detector_of_which_a_part_is_lost_is_one_message(run: Path, tmp_path: Path, lost: list[str]) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    for name in lost:
        (tmp_path / "model" / name).unlink()
    trained = vaelab.load(tmp_path / "model")
    assert len(trained.encode(rows(3))) == 3
    with pytest.raises(CheckpointError, match=f"{lost[0]} is missing, but .* exists"):
        trained.score(rows(3))
