"""vaelab as a scikit-learn estimator."""

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import vaelab
from saved_models import people
from vaelab.cli import main
from vaelab.sklearn import Autoencoder

FEW = 20
Array = NDArray[np.float64]


def small(**settings: Any) -> Autoencoder:
    return Autoencoder(**({"latent_dim": 1, "max_steps": FEW, "random_state": 0, "device": "cpu"} | settings))


def numbers(rows: int = 40, columns: int = 3) -> Array:
    return np.random.default_rng(0).normal([5, -100, 0][:columns], [1, 20, 3][:columns], (rows, columns))


def mixed() -> pd.DataFrame:
    """Numbers, whole numbers, categories and dates, some missing; an identifier and a constant too."""
    frame = people()
    frame.loc[5, "city"] = None
    frame["city"] = frame["city"].astype("category")
    return frame.assign(user_id=range(len(frame)), country="NO")


@pytest.fixture(scope="module")
def fitted() -> Autoencoder:
    return small(model="vae").fit(numbers())


@pytest.fixture(scope="module")
def of_people() -> Autoencoder:
    return small(latent_dim=2).fit(mixed())


@pytest.mark.long
@parametrize_with_checks([Autoencoder(latent_dim=1, model="vae", max_steps=FEW, device="cpu")])
def test_scikit_learn_finds_nothing_wrong(estimator: Autoencoder, check: Any) -> None:
    check(estimator)


def test_codes_and_rows_have_the_shapes_of_the_data(fitted: Autoencoder) -> None:
    x = numbers()
    codes = fitted.transform(x)
    assert codes.shape == (40, 1)
    assert codes.dtype == np.float64
    assert fitted.transform(x.astype(np.float32)).dtype == np.float32
    rows = fitted.inverse_transform(codes)
    assert isinstance(rows, np.ndarray)
    assert rows.shape == x.shape
    assert fitted.n_features_in_ == 3
    assert list(fitted.get_feature_names_out()) == ["autoencoder0"]
    assert fitted.set_output(transform="default") is fitted
    assert fitted.run_dir_ is None
    assert fitted.metrics_["val/elbo"] < 0


def test_a_row_has_the_same_code_and_score_in_any_company(fitted: Autoencoder) -> None:
    x = numbers()
    alone = np.concatenate([fitted.transform(row[None]) for row in x])
    np.testing.assert_allclose(alone, fitted.transform(x), rtol=1e-12, atol=1e-12)
    alone = np.concatenate([fitted.score_samples(row[None]) for row in x])
    np.testing.assert_allclose(alone, fitted.score_samples(x), rtol=1e-12)


def test_an_unusual_row_scores_lower(fitted: Autoencoder) -> None:
    usual = numbers()
    unusual = usual + np.array([0, 200, 0])
    assert fitted.score_samples(unusual).max() < np.median(fitted.score_samples(usual))
    assert fitted.score(usual) == pytest.approx(fitted.score_samples(usual).mean())


def test_the_score_of_an_autoencoder_is_minus_the_squared_error_in_deviations() -> None:
    x = numbers()
    estimator = small().fit(x)
    values = torch.cat([batch.x for batch in estimator.model_.part(x).batches(torch.device("cpu"))])
    assert values.std(0).sub(1).abs().max() < 0.3  # those of the training rows
    expected = -(estimator.model_.reconstruct(values) - values).square().sum(1).numpy()
    np.testing.assert_allclose(estimator.score_samples(x), expected, rtol=1e-3)


def test_the_random_state_decides_and_that_of_the_process_stays() -> None:
    x = numbers()

    def states() -> list[Any]:
        return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002

    before = states()
    first, again, other = (small(random_state=seed).fit(x) for seed in (1, 1, 2))
    assert states() == before
    assert (first.transform(x) == again.transform(x)).all()
    assert (first.transform(x) != other.transform(x)).any()
    assert sys.argv[:2] != ["vaelab", "train"]


def test_a_linear_autoencoder_reaches_the_error_of_pca() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 2)) @ generator.normal(size=(2, 6)) + 0.1 * generator.normal(size=(300, 6))
    standard = StandardScaler().fit_transform(x)
    pca = PCA(2).fit(standard)
    least = ((pca.inverse_transform(pca.transform(standard)) - standard) ** 2).sum(1).mean()
    estimator = small(latent_dim=2, max_steps=400, learning_rate=1e-2).fit(x)
    assert -estimator.score(x) < 1.5 * least


@pytest.mark.long
def test_it_stands_in_a_pipeline_under_cross_validation() -> None:
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), small(latent_dim=3, max_steps=100, learning_rate=1e-2), LogisticRegression()
    )
    assert cross_val_score(pipeline, x, y, cv=2).mean() > 0.8


@pytest.mark.long
def test_a_grid_search_finds_a_latent_dim() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 3)) @ generator.normal(size=(3, 5))
    search = GridSearchCV(
        small(max_steps=60, learning_rate=3e-2), {"latent_dim": [1, 3]}, cv=2, error_score="raise"
    ).fit(x)
    assert search.best_params_ == {"latent_dim": 3}
    assert search.best_estimator_.transform(x).shape == (80, 3)


def test_a_table_of_all_kinds_comes_back_as_it_was(of_people: Autoencoder) -> None:
    frame = mixed()
    with config_context(transform_output="pandas"):
        codes = of_people.transform(frame)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]
    assert codes.index.equals(frame.index)
    assert np.isfinite(codes.to_numpy()).all()
    assert np.isfinite(of_people.score_samples(frame)).all()
    rows = of_people.inverse_transform(codes)
    assert list(rows.columns) == list(frame.columns) == list(of_people.feature_names_in_)
    assert (rows.dtypes == frame.dtypes).all()
    assert set(rows["city"].dropna()) <= {"Köln", "Oslo", "Rom"}
    assert (rows["country"] == "NO").all()
    assert rows["age"].notna().all()  # that of row 3 is filled in


def test_arrays_may_have_missing_values() -> None:
    x = numbers()
    x[::7, 1] = np.nan
    estimator = small(model="vae").fit(x)
    assert np.isfinite(estimator.transform(x)).all()
    assert np.isfinite(estimator.score_samples(x)).all()
    assert np.isfinite(estimator.inverse_transform(estimator.transform(x))).all()


@pytest.mark.parametrize("model", ["ae", "vae"])
def test_three_rows_are_enough(model: str) -> None:
    x = np.array([[0.0, 1.0], [1.0, 5.0], [3.0, 2.0]])
    assert small(model=model).fit_transform(x).shape == (3, 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (numbers(2), "2 sample.*minimum of 3"),
        (np.full((9, 2), np.inf), "infinity"),
        (mixed().iloc[:2], "2 sample.*minimum of 3"),
        (mixed().assign(age=np.inf), "infinity in age"),
        (mixed().assign(age=np.nan), "no row has a value in age"),
        (pd.DataFrame({"a": [1, "x", 2.5, [3]]}), "one type each"),
        (pd.DataFrame(numbers(), columns=["a", "a", "b"]), "X has columns of the same name: a; give each"),
        (pd.DataFrame(numbers(), columns=[7, 7, 8]), "X has columns of the same name: 7; give each"),
        (pd.DataFrame(numbers(), columns=["a", "", "b"]), "X: column 1 is named ''; give it another name"),
        (
            pd.DataFrame(numbers(), columns=pd.MultiIndex.from_product([["a"], [*"xyz"]])),
            "X: columns have 2 names each",
        ),
        (mixed().assign(age=pd.cut(mixed()["age"], 3)), r"X: column age holds interval.*X\['age'\].astype\(str\)"),
        (mixed().assign(since=mixed()["since"].dt.to_period("D")), r"X: column since holds period\[D\]"),
        (mixed().assign(since=mixed()["since"] - mixed()["since"].min()), "duration.*; leave it out of X"),
        (pd.DataFrame(index=range(9)), "0 feature"),
    ],
)
def test_tables_that_are_none_are_refused(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().fit(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overrides": ["model.beat=3"], "model": "vae"}, "unknown key model.beat; did you mean model.beta"),
        ({"model": "vea"}, "did you mean vae"),
        ({"latent_dim": 0}, "latent_dim=0: should be greater than 0"),
        ({"overrides": ["latent_dim=3,4"]}, "several values"),
        ({"overrides": ["data=mnist"]}, "leave out data=mnist: the data are X"),
        ({"overrides": ["data.drop=[x0]"]}, "leave columns out of X"),
        ({"overrides": ["sweep=optuna"]}, "GridSearchCV"),
        ({"overrides": ["-m"]}, "-m is a flag"),
        ({"overrides": "model.beta=3"}, "should be a list of words"),
        ({"overrides": ["launcher=slurm"]}, "launcher=slurm"),
        ({"overrides": None}, "overrides=None: should be a list of words"),
        ({"run_dir": "runs/${seed}"}, r"runs/\$\{seed\}: \$\{...\} is an interpolation"),
        ({"run_dir": 3}, "run_dir=3: should be a path or None"),
        ({"validation_fraction": 1.0}, "validation_fraction=1.0"),
        ({"device": "tpu"}, "auto, cpu, cuda, mps"),
        ({"beta": 2.0}, "unknown key model.beta"),
    ],
)
def test_a_wrong_setting_is_one_message_and_leaves_no_folder(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        small(**({"run_dir": tmp_path / "run"} | settings)).fit(numbers())
    assert "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())


def test_columns_may_be_named_by_numbers_or_like_settings() -> None:
    x = numbers()
    frame = pd.DataFrame(x)
    estimator = small().fit(frame)
    assert list(estimator.model_.reconstruct(frame).columns) == [0, 1, 2]
    assert list(estimator.inverse_transform(estimator.transform(frame)).columns) == [0, 1, 2]
    names = ["${oc.env:HOME}", "a'\\${seed}", "${"]
    frame = pd.DataFrame(x, columns=names).assign(**{names[0]: range(len(x)), names[1]: 3.0})  # kept by their names
    estimator = small().fit(frame)
    assert list(estimator.inverse_transform(estimator.transform(frame)).columns) == names
    assert [column.name for column in estimator.model_.spec.columns] == names


def test_three_rows_with_a_date_are_enough() -> None:
    frame = mixed().drop(columns=["age"]).head(3)
    estimator = small().fit(frame)
    again = estimator.inverse_transform(estimator.transform(frame))
    assert (again.dtypes == frame.dtypes).all()
    assert np.isfinite(estimator.score_samples(frame)).all()


def test_a_number_where_dates_are_expected_is_refused(of_people: Autoencoder) -> None:
    with pytest.raises(ValueError, match=r"column since: 5 in row 0 is a number \(int64\), and a date is expected"):
        of_people.transform(mixed().assign(since=5))


def test_missing_values_are_refused_where_training_had_none(fitted: Autoencoder) -> None:
    with pytest.raises(ValueError, match="trained on data without any missing value"):
        fitted.transform([[np.nan, 0, 0]])


def test_what_was_not_fitted_says_so() -> None:
    with pytest.raises(NotFittedError):
        small().transform(numbers())
    assert not hasattr(small(), "model_")


def test_other_columns_are_refused(of_people: Autoencoder) -> None:
    with pytest.raises(ValueError, match="feature names"):
        of_people.transform(mixed().rename(columns={"age": "years"}))
    with (
        pytest.warns(UserWarning, match="does not have valid feature names"),
        pytest.raises(ValueError, match="not numeric: city, since, country; give a DataFrame"),
    ):
        of_people.transform(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="codes of shape"):
        of_people.inverse_transform(np.zeros((2, 5)))


def test_arrays_and_frames_of_numbers_stand_for_each_other() -> None:
    x = numbers()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    estimator = small().fit(frame)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        codes = estimator.transform(x)
    assert (codes == estimator.transform(frame)).all()
    pd.testing.assert_frame_equal(estimator.inverse_transform(codes).iloc[:0], frame.iloc[:0])


@pytest.mark.long
def test_a_pickle_holds_the_model(of_people: Autoencoder, tmp_path: Path) -> None:
    frame = mixed()
    (tmp_path / "estimator.pickle").write_bytes(pickle.dumps(of_people))
    code = (
        "import pickle, sys, pandas; sys.path.insert(0, sys.argv[2]);"
        "from sklearn_face.test_autoencoder_estimator import mixed;"
        "estimator = pickle.load(open(sys.argv[1], 'rb'));"
        "print(estimator.transform(mixed()).tolist()); print(estimator.model_.sample(2).shape)"
    )
    place = str(Path(__file__).parents[1])
    shown = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "estimator.pickle", place], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    np.testing.assert_allclose(json.loads(shown[0]), of_people.transform(frame), rtol=1e-6)
    assert shown[1] == "(2, 6)"


def test_a_clone_has_the_settings_and_no_model(fitted: Autoencoder) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.score(numbers())


def test_the_model_outlives_the_estimator() -> None:
    model = small(model="vae").fit(numbers()).model_
    assert isinstance(model, vaelab.trained.Trained)
    assert model.reconstruct(numbers()).shape == (40, 3)


def test_overrides_reach_the_run_and_win(tmp_path: Path) -> None:
    words = ["encoder.hidden=[7]", "data.scaling=robust", "tags=[mine]", "trainer.max_steps=3"]
    estimator = small(overrides=words, run_dir=tmp_path / "run").fit(numbers())
    shapes = [tuple(weight.shape) for weight in estimator.model_.model.state_dict().values()]
    assert any(7 in shape for shape in shapes)
    typed = (tmp_path / "run/overrides.yaml").read_text()
    assert all(word in typed for word in ("data.scaling=robust", "tags=[mine]"))
    assert "data.scaling=standard" not in typed
    assert json.loads(estimator._files["training.json"])["steps"] == 3


@pytest.mark.long
def test_a_kept_run_folder_is_an_ordinary_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = numbers()
    estimator = small(run_dir=tmp_path / "run").fit(x)
    again = clone(estimator).fit(x)
    assert estimator.run_dir_ == str(tmp_path / "run")
    assert again.run_dir_ == str(tmp_path / "run-2")
    assert (tmp_path / "run/report.html").is_file()
    assert capsys.readouterr() == ("", "")
    np.testing.assert_allclose(vaelab.load(tmp_path / "run").encode(x), estimator.transform(x), rtol=1e-4, atol=1e-6)

    def vaelab_says(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["vaelab", *words])
        main()
        return "".join(capsys.readouterr())

    assert "vaelab train data=table" in vaelab_says("info", str(tmp_path / "run"))
    assert "run-2" in vaelab_says("runs", str(tmp_path))
    vaelab_says("encode", str(tmp_path / "run"), str(tmp_path / "run/table.parquet"), "-o", str(tmp_path / "z.parquet"))
    assert len(pd.read_parquet(tmp_path / "z.parquet")) == len(x)
    vaelab_says("rerun", str(tmp_path / "run"), f"paths.log_dir={tmp_path / 'logs'}")
    assert next((tmp_path / "logs").rglob("metrics.json")).read_text() == (tmp_path / "run/metrics.json").read_text()


def test_a_note_of_the_run_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="the code is as large as the data"):
        small().fit(numbers(columns=1))
    names = pd.Series([f"name {number % 150}" for number in range(400)], dtype="category")
    frame = pd.DataFrame({"name": names, "a": numbers(400)[:, 0]})
    with pytest.warns(UserWarning, match="column name: holds 150 distinct texts, whose 100 commonest are categories"):
        estimator = small().fit(frame)
    assert estimator.inverse_transform(estimator.transform(frame)).shape == frame.shape


def test_verbose_shows_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    small(verbose=True).fit(numbers())
    assert "parameters" in "".join(capsys.readouterr())


def test_vaelab_alone_imports_no_scikit_learn() -> None:
    code = "import sys, vaelab; print([n for n in sys.modules if n.startswith(('sklearn', 'vaelab.sklearn', 'torch'))])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.long
def test_the_example_of_the_documentation_runs() -> None:
    blocks = (Path(__file__).parents[2] / "docs/use.md").read_text().split("```python\n")
    code = next(block for block in blocks if block.startswith("from sklearn.datasets")).partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["codes"].shape == (178, 2)
    assert list(names["rows"].columns) == list(names["X"].columns)
    assert names["accuracy"] > 0.9
    assert names["search"].best_params_ == {"latent_dim": 4}


def test_settings_may_be_numbers_of_numpy() -> None:
    settings: dict[str, Any] = {
        "latent_dim": np.int64(2), "learning_rate": np.float64(1e-3), "batch_size": np.int32(16),
        "max_steps": np.int64(5),
    }  # fmt: skip
    assert small(**settings).fit(numbers()).transform(numbers()).shape == (40, 2)
