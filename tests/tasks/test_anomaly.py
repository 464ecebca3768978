"""Anomaly detection end to end on digits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score

from in_memory import SETTINGS
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.corruptions import Identity
from vaelab.data.examples import Examples
from vaelab.data.images.digits import Digits
from vaelab.data.module import DataModule
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.outliers import OUTLIER_SCORES
from vaelab.figures.anomalies import column_errors
from vaelab.likelihoods import Gaussian
from vaelab.models import AE
from vaelab.tasks.anomaly.shown import column_names
from vaelab.tasks.anomaly.task import Anomaly

Run = Callable[..., Path]


def digits(normal: int) -> Digits:
    data = Digits(corruption=Identity(), normal=[normal], **SETTINGS | {"seed": 1})
    data.setup()
    return data


def metrics(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("digit", [0, 8])
@pytest.mark.long
def test_an_autoencoder_of_one_digit_ranks_it_below_the_others(train: Run, digit: int) -> None:
    run = train(
        "task=anomaly", "model=ae", f"data.normal=[{digit}]", "trainer.max_epochs=60", "latent_dim=8",
        "encoder.hidden=[64]", "task.false_alarm_rate=0.2", "task.score=reconstruction",
    )  # fmt: skip
    found = metrics(run)
    assert found["test/auroc"] > 0.95
    assert found["test/auroc_low"] <= found["test/auroc"] <= found["test/auroc_high"]
    assert found["test/detection_rate"] > 0.7
    threshold = json.loads((run / "model/threshold.json").read_text())
    assert threshold["value"] == found["test/threshold"]
    assert (threshold["rate"], threshold["n"]) == (0.2, len(digits(digit).split["val"]))

    rows = np.genfromtxt(run / "scores.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    data = digits(digit)
    assert rows["example"].tolist() == data.split["test"].tolist()
    assert rows["anomalous"].astype(bool).tolist() == data.is_anomaly("test").tolist()
    assert found["test/auroc"] == pytest.approx(roc_auc_score(rows["anomalous"], rows["reconstruction"]))
    assert found["test/auprc"] == pytest.approx(average_precision_score(rows["anomalous"], rows["reconstruction"]))
    assert found["test/auroc_relative"] == pytest.approx(roc_auc_score(rows["anomalous"], rows["relative"]))
    assert found["test/auroc_latent"] == pytest.approx(roc_auc_score(rows["anomalous"], rows["latent"]))
    alarms = rows["reconstruction"] > threshold["value"]
    assert found["test/false_alarm_rate"] == pytest.approx(alarms[rows["anomalous"] == 0].mean())
    assert found["test/detection_rate"] == pytest.approx(alarms[rows["anomalous"] == 1].mean())
    assert {p.stem for p in (run / "figures").iterdir()} == {"scores", "roc_pr", "where", "curves"}


@pytest.mark.long
def test_scores_of_one_checkpoint_do_not_depend_on_batch_size_or_call(train: Run) -> None:
    shared = "task=anomaly", "data.normal=[3]", "task.nll_samples=5", "encoder.hidden=[32]"
    first = train(*shared, "trainer.max_epochs=2")
    again = train(*shared, "train=false", f"ckpt_path={first}")
    other = train(*shared, "train=false", f"ckpt_path={first}", "data.batch_size=300", "seed=7")
    assert (first / "scores.csv").read_text() == (again / "scores.csv").read_text()
    kept, moved = (np.genfromtxt(r / "scores.csv", delimiter=",", skip_header=1)[:, 2:] for r in (first, other))
    np.testing.assert_allclose(moved, kept, rtol=1e-4)


@pytest.mark.long
def test_a_denoiser_is_scored_on_clean_input(train: Run) -> None:
    """Whatever its noise, scores are those of the uncorrupted example."""
    plain = "task=anomaly", "model=ae", "data.normal=[3]", "encoder.hidden=[32]"
    run = train(*plain, "corruption=gaussian", "trainer.max_epochs=1")
    again = train(*plain, "train=false", f"ckpt_path={run}")
    assert (run / "scores.csv").read_text() == (again / "scores.csv").read_text()


@pytest.mark.long
def test_baselines_are_scikit_learns_on_the_same_split(train: Run) -> None:
    run = train("task=anomaly", "model=ae", "data.normal=[5]", "debug=fdr")
    found, data = metrics(run), digits(5)
    rows, test, anomalous = data.clean("train").flatten(1), data.clean("test").flatten(1), data.is_anomaly("test")
    assert set(data.labels("train").tolist()) == {5}
    val = data.clean("val").flatten(1)
    fits = [PCA(size, random_state=0).fit(rows.double().numpy()) for size in range(1, 64)]
    least = 1e-9 * rows.double().var(0).sum()  # less noise is none: with it, any example would be impossible
    pca = max((fit for fit in fits if fit.noise_variance_ > least), key=lambda fit: fit.score(val.double().numpy()))
    error = ((test.numpy() - pca.inverse_transform(pca.transform(test.numpy()))) ** 2).sum(1)
    assert found["baseline/pca/auroc"] == pytest.approx(roc_auc_score(anomalous, error), abs=1e-6)
    assert found["baseline/pca/auprc"] == pytest.approx(average_precision_score(anomalous, error), abs=1e-6)
    near = torch.cdist(val.double(), rows.double()).sort(1).values
    k = max((1, 2, 5, 10, 20, 50), key=lambda k: np.log(k) - rows.shape[1] * float(near[:, k - 1].log().mean()))
    distance = torch.cdist(test.double(), rows.double()).sort(1).values[:, k - 1]
    assert found["baseline/knn/auroc"] == pytest.approx(roc_auc_score(anomalous, distance), abs=1e-6)
    method = OUTLIER_SCORES["isolation_forest"]
    forest = method.score(data, method.rows(data))
    assert found["baseline/isolation_forest/auroc"] == roc_auc_score(anomalous, forest)
    assert min(found[f"baseline/{name}/auroc"] for name in OUTLIER_SCORES) > 0.9


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "data.normal=['3']"),
        (["data.normal=[12]"], "data.normal=12: no such label; known here: 0, 1"),
        (
            ["data.normal=[0]", "model=ae", "task.score=nll"],
            "task.score=nll: needs a model with a posterior (model=vae)",
        ),
        (["data.normal=[0]", "task.precision_at=10000"], "the test split has 1655 examples"),
        (["data.normal=[0]", "task.false_alarm_rate=0"], "greater than 0"),
        (["data.normal=[0]", "task.score=error"], "task.score=error"),
    ],
)
def test_misuse_is_refused(train: Run, capsys, overrides: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        train("task=anomaly", "debug=fdr", *overrides)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def clean_rows(path: Path, count: int, seed: int, **columns: str | list[str]) -> str:
    """Rows of three numbers, the second of which follows the first."""
    generator = np.random.default_rng(seed)
    first, third = generator.normal(size=(2, count))
    rows = pd.DataFrame({"a": first, "b": first + 0.1 * generator.normal(size=count), "c": third, **columns})
    rows.to_csv(path, index=False)
    return f"data.path={path}"


CLEAN = ("task=anomaly", "data=table", "trainer.max_epochs=2", "task.nll_samples=5")
RANKING = ("auroc", "auprc", "precision_at_k", "precision_at_prevalence")


def test_a_table_without_a_label_is_trained_on_and_later_rows_are_scored(
    train: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*CLEAN, clean_rows(tmp_path / "clean.csv", 300, 0))
    said = capsys.readouterr().err
    assert "data.normal=null: the 300 examples have no label, so all are treated as normal" in said
    about = json.loads((run / "metrics_metadata.json").read_text())
    for name in (*(f"test/{metric}" for metric in RANKING), *(f"baseline/{name}" for name in OUTLIER_SCORES)):
        assert about[name] == {"not measured": "no example has a label that says whether it is normal"}
        assert name not in metrics(run)
    assert 0 <= metrics(run)["test/alarm_rate"] <= 1
    assert len((run / "scores.csv").read_text().splitlines()) == 61
    assert (run / "columns.csv").read_text().startswith("example,row,score,a,b,c\n")
    assert json.loads((run / "model/threshold.json").read_text())["n"] == 24
    assert json.loads((run / "model/table.json").read_text())["scaling"]["method"] == "standard"  # sees what is far

    later = train("train=false", f"ckpt_path={run}", clean_rows(tmp_path / "later.csv", 50, 1))
    assert len((later / "scores.csv").read_text().splitlines()) == 51
    assert metrics(later)["test/threshold"] == metrics(run)["test/threshold"]
    labelled = clean_rows(tmp_path / "labelled.csv", 50, 2, state=["good", "bad"] * 25)
    known = train("train=false", f"ckpt_path={run}", labelled, "data.label=state", "data.normal=[good]")
    assert 0 <= metrics(known)["test/auroc"] <= 1


@pytest.mark.long
def test_images_of_one_folder_are_trained_on_without_a_label(train: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for folder, count in (("parts", 40), ("later", 5)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            pixels = generator.integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    words = ("task=anomaly", "data=images", "trainer.max_epochs=1", "task.nll_samples=5", "trainer=cpu")
    run = train(*words, f"data.path={tmp_path / 'parts'}")
    assert (run / "scores.csv").read_text().startswith("example,file,label,anomalous,alarm,")
    assert "not measured" in json.loads((run / "metrics_metadata.json").read_text())["test/auroc"]
    later = train("train=false", f"ckpt_path={run}", f"data.path={tmp_path / 'later'}")
    assert len((later / "scores.csv").read_text().splitlines()) == 6


@pytest.mark.long
@pytest.mark.parametrize("kind", ["series", "text"])
def test_series_and_texts_are_trained_on_without_a_label(train: Run, tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("series.npy" if kind == "series" else "lines.txt")
    if kind == "series":
        np.save(path, np.random.default_rng(0).normal(size=(60, 2, 16)).astype(np.float32))
    else:
        path.write_text("".join("ab " * (1 + number % 7) + "\n" for number in range(60)))
    run = train("task=anomaly", f"data={kind}", f"data.path={path}", "trainer.max_epochs=1", "task.nll_samples=5")
    assert "test/alarm_rate" in metrics(run)
    assert (run / "scores.csv").is_file()


@pytest.mark.long
def test_normal_examples_alone_give_the_rate_of_false_alarms(train: Run, tmp_path: Path) -> None:
    path = clean_rows(tmp_path / "good.csv", 300, 0, state="good")
    run = train(*CLEAN, path, "data.label=state", "data.normal=[good]")
    assert 0 <= metrics(run)["test/false_alarm_rate"] <= 1
    about = json.loads((run / "metrics_metadata.json").read_text())
    assert about["test/auroc"] == {"not measured": "no example has an anomalous label"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.label=state"], "such as data.normal=['good'], or leave data.label out to treat all rows as normal"),
        (["data.drop=[state]", "data.normal=[good]"], "the data have no labels; data.label=<column> names them"),
    ],
)
def test_a_message_about_labels_of_a_table_names_the_way_out(
    train: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    path = clean_rows(tmp_path / "rows.csv", 40, 0, state=["good", "good", "bad", "good"] * 10)
    with pytest.raises(SystemExit):
        train(*CLEAN, path, *words)
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.long
def test_too_few_clean_examples_for_the_rate_are_mentioned_and_raise_no_alarm(train: Run, capsys) -> None:
    run = train("task=anomaly", "model=ae", "data.normal=[0]", "task.false_alarm_rate=0.01", "debug=fdr")
    assert "needs 99 normal validation examples" in capsys.readouterr().err
    found = metrics(run)
    assert "test/threshold" not in found
    assert (found["test/false_alarm_rate"], found["test/detection_rate"]) == (0, 0)
    assert json.loads((run / "model/threshold.json").read_text())["value"] is None


def test_columns_of_a_table_are_ordered_by_their_error() -> None:
    errors = torch.tensor([[0.1, 3.0, 1.0], [0.1, 1.0, 1.0]])
    axes = column_errors({"high": errors, "low": errors / 10}, ["a", "b", "c"], "nats").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "c", "a"]
    assert [bar.get_width() for bar in axes.patches[:3]] == pytest.approx([2.0, 1.0, 0.1])


def test_every_option_of_the_task_is_in_its_config() -> None:
    import inspect

    import yaml

    from vaelab.config.location import config_dir

    node = yaml.safe_load((config_dir() / "task/anomaly.yaml").read_text())
    assert set(inspect.signature(Anomaly).parameters) == set(node) - {"_target_"}
    assert column_names(digits(0).spec)[:2] == ["column 0", "column 1"]


class Sensors(DataModule):
    """Rows of 30 correlated readings; in the rows labelled broken, reading 7 is on its own."""

    def load(self) -> Examples:
        generator = torch.Generator().manual_seed(0)
        state = torch.randn(600, 2, generator=generator)
        values = state @ torch.randn(2, 30, generator=generator) + 0.1 * torch.randn(600, 30, generator=generator)
        broken = torch.arange(600) % 10 == 0
        values[broken, 7] = 3 * torch.randn(60, generator=generator)
        spec = DataSpec("sensors", "table", (30,), "real", None, ("fine", "broken"))
        return Examples(values, broken.long(), spec, {"train": range(600)})


def test_the_broken_column_of_a_table_is_named(tmp_path: Path) -> None:
    """A linear autoencoder of two numbers, at the optimum that principal components give."""
    data = Sensors(corruption=Identity(), normal=["fine"], **SETTINGS | {"batch_size": 32, "val_fraction": 0.2})
    data.setup()
    parts = (
        MLPEncoder((30,), 2, [], activation="relu"),
        MLPDecoder(2, (1, 30), [], activation="relu"),
        Gaussian(data.spec, 1.0),
    )
    model = AE(*parts, 2).eval()
    pca = PCA(2).fit(data.clean("train").numpy())
    weights, mean = torch.from_numpy(pca.components_), torch.from_numpy(pca.mean_)
    with torch.no_grad():
        encoder, decoder = model.encoder.net[-1], model.decoder.net[0]
        encoder.weight.copy_(weights)
        encoder.bias.copy_(-weights @ mean)
        decoder.weight.copy_(weights.T)
        decoder.bias.copy_(mean)
        found = (
            Anomaly("reconstruction", 5, 0.05, None, 100, monitor=None, baselines=True, pictures_every=None)
            .findings(model, data, BaselineCache(tmp_path, data))
            .complete()
        )
    labels = [label.get_text() for label in found.figures["where"].axes[0].get_yticklabels()]
    assert labels[0] == "column 7"
    assert found.metadata["test/auroc"]["score"] == "reconstruction"
    assert found.numbers["test/auroc"] > 0.9
    assert found.numbers["test/false_alarm_rate"] < 0.15
    assert ",broken,1," in str(found.files["scores.csv"])


@pytest.mark.long
def test_lines_of_different_lengths_are_scored_by_their_neighbours(train: Run, tmp_path: Path) -> None:
    """More lines than a batch holds, of which one is longer, so that batches are cut to different lengths."""
    path = tmp_path / "lines.jsonl"
    lines = [{"text": "ab" * (20 if number == 7 else 3), "label": "usual"} for number in range(700)]
    lines += [{"text": "ba" * (1 + number % 20), "label": "odd"} for number in range(20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = train(
        "task=anomaly", "data=text", f"data.path={path}", "data.label=label", "data.normal=[usual]",
        "model=ae", "trainer.max_epochs=1", "task.score=neighbours", "task.baselines=false",
    )  # fmt: skip
    assert 0 <= metrics(run)["test/auroc"] <= 1
    assert (run / "model/scores.safetensors").is_file()
