"""An autoencoder with scikit-learn's methods: fit, transform, inverse_transform, score_samples."""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Self
from weakref import finalize

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from vaelab.config.recorded import parse_word, place, written
from vaelab.data.tables.extremes import ONE_VALUE
from vaelab.data.tables.files import INDEX
from vaelab.data.tables.left_out import find_left_out
from vaelab.data.tables.notation import PLAIN
from vaelab.errors import ConfigError, DataError, UserError
from vaelab.notes import some
from vaelab.quoting import quoted
from vaelab.record.state import FILE as STATE
from vaelab.sklearn.training import train
from vaelab.trained import Trained, load

FEWEST = 3  # rows: one to train, one to validate, and one that `data=table` keeps as test split
TABLE = "table.parquet"  # the rows, in a run folder that is kept
DEVICES = ("auto", "cpu", "cuda", "mps")
_DROP = r"data\.drop=\[(?:'(?:\\'|[^'])*'|[^\]'])*\]"  # names of columns, possibly quoted
NOT_FOR_FIT = {
    "data": "the data are X",
    "data.path": "the data are X",
    "data.drop": "every column of X is modelled; leave columns out of X",
    "data.label": "every column of X is modelled; leave columns out of X",
    "paths.output_dir": "run_dir names the run folder",
    "resume": "a fit starts from the beginning; ckpt_path=<run folder> starts from the weights of a run",
    "train": "a fit trains",
    "sweep": "a fit is one run; sklearn.model_selection.GridSearchCV makes many",
    "hydra.mode": "a fit is one run",
}
"""Keys that `overrides` must not contain, and why."""


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An autoencoder or variational autoencoder for rows of a table, with scikit-learn's methods.

        codes = Autoencoder(latent_dim=2, model="vae").fit_transform(X)  # (n, 2)
        make_pipeline(StandardScaler(), Autoencoder(latent_dim=8), LogisticRegression()).fit(X, y)

    `fit` is the run `vaelab train data=table task=embedding data.scaling=standard test=false compile=false ...` in this
    process. `overrides=["test=true", "data.test_fraction=0.2"]` also evaluates the run, with results in `run_dir`.
    Arrays must be numeric. DataFrames may contain numbers, categories, texts, dates and booleans. Both may have missing
    values (NaN), but a model that was fitted to rows without missing values does not accept them later.

    Args:
        latent_dim: dimensions of the code of one row.
        model: an option of `model=`, such as `ae`, `vae` or `iwae`.
        beta: weight of the KL; None for the model's default. An `ae` has none.
        max_epochs: largest number of passes over the training rows; None for the budget of `data=table`.
        max_steps: largest number of optimizer steps; None as for `max_epochs`.
        batch_size: rows per step; None for that of `data=table`, 128.
        learning_rate: learning rate of the optimizer; None for that of `optimizer=adamw`, 1e-3.
        validation_fraction: share of rows for validation, which select the best weights, above 0 and below 1. It is at
            least one row. One more row is held out, since `data=table` always has a test split.
        random_state: seed of the split, the weights and the batches; None draws one from NumPy's global state.
        device: the device: `auto`, `cpu`, `cuda` or `mps`.
        run_dir: the run folder, which is kept. If it exists already, `<run_dir>-2` and so on is created, since
            cross-validation fits several times. None for a temporary folder.
        overrides: further overrides, such as `["encoder.hidden=[64]", "callbacks=ema"]`. They take precedence over the
            overrides that `fit` makes.
        verbose: whether to show the output of the run. If it is hidden, notes on the data become Python warnings.

    Attributes:
        n_features_in_: number of columns of X.
        feature_names_in_: `(n_features_in_,)` their names, if X is a DataFrame whose names are all strings.
        model_: the trained model, a `vaelab.Trained`.
        metrics_: the metrics of the run by name, such as `val/mse`; in scaled units or nats.
        run_dir_: path of the kept run folder, as text; None if it was temporary.
    """

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        model: str = "ae",
        beta: float | None = None,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        device: str = "auto",
        run_dir: str | Path | None = None,
        overrides: Sequence[str] = (),
        verbose: bool = False,
    ) -> None:
        self.latent_dim = latent_dim
        self.model = model
        self.beta = beta
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device
        self.run_dir = run_dir
        self.overrides = overrides
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Train on the rows of X.

            Autoencoder(latent_dim=2, max_steps=500, random_state=0).fit(X)

        Args:
            X: `(n, features)` numbers, or a DataFrame of n rows; n is at least 3.
            y: is not used.

        Raises:
            ValueError: X is not such a table, or a setting or an entry of `overrides` is not valid.
            RuntimeError: the run failed: the loss became NaN or infinite, or the disk is full.
        """
        frame = self._framed(X, reset=True)
        with _as_scikit_learn_raises(), TemporaryDirectory(prefix="vaelab-") as scratch:
            if not isinstance(self.run_dir, str | Path | None):
                raise ConfigError(f"run_dir={self.run_dir!r}: should be a path or None")
            kept = None if self.run_dir is None else _claimed(_own_place(self.run_dir))
            folder = Path(scratch) / "run" if kept is None else kept
            folder.mkdir(exist_ok=True)
            try:
                table = _arrow(frame)
                words = self._words(table, folder / TABLE)
                pq.write_table(table, folder / TABLE)
                ended = train(words, folder, bool(self.verbose))
            except BaseException:
                if not (folder / STATE).is_file():  # the run did not begin
                    rmtree(folder)
                raise
            self._trusted = ended.trusted
            self._files = {
                file.relative_to(folder / "model").as_posix(): file.read_bytes()
                for file in sorted((folder / "model").rglob("*"))
                if file.is_file()
            }
            self.metrics_ = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            self.run_dir_ = None if kept is None else str(kept)
            self._of = _Given.of(X, frame)
            self._load()
        for text in ended.notes:
            if ONE_VALUE not in text:  # every column of X is modelled, constants too
                warnings.warn(_for_x(text), stacklevel=2)
        return self

    def transform(self, X: Any) -> NDArray[np.floating[Any]]:  # noqa: N803
        """Encode rows: posterior means for a VAE, codes for an autoencoder.

            codes = autoencoder.transform(X_test)

        Args:
            X: `(n, features)`, with the columns of `fit`.

        Returns:
            `(n, latent_dim)`; float32 for an array of float32, else float64. A DataFrame with columns `autoencoder0`,
            `autoencoder1`, ... after `set_output(transform="pandas")`.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X has other columns, or values that the model does not accept.
        """
        check_is_fitted(self)
        frame = self._framed(X)
        with _as_scikit_learn_raises():
            codes = self._exact(frame, lambda trained, values: trained.encode(values))
        return codes.astype(_precision(X), copy=False)

    def inverse_transform(self, Z: Any) -> Any:  # noqa: N803
        """Decode codes to rows: the means of p(x|z), in the units of X.

            rows = autoencoder.inverse_transform(codes)

        Args:
            Z: `(n, latent_dim)` codes.

        Returns:
            `(n, features)`: a DataFrame with the columns and types of `fit` if it was given one, else an array of
            float64. Categories are the likeliest ones.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: Z has another number of columns, or is not finite.
        """
        check_is_fitted(self)
        codes = check_array(Z, dtype=np.float64, force_writeable=True)  # torch warns of others
        with _as_scikit_learn_raises():
            rows = self.model_.decode(codes)
        return self._of.back(rows, getattr(Z, "index", None))

    def score_samples(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return how typical rows are; larger is more typical.

            unusual = X_test[autoencoder.score_samples(X_test) < threshold]

        For a model with a bound on log p(x), such as a VAE, it is the ELBO in nats, with one fixed sample of the code.
        For other models it is minus the squared reconstruction error, summed over columns, in squared standard
        deviations of the training rows; with categories it is log p(x|z) in nats.

        Args:
            X: `(n, features)`, with the columns of `fit`.

        Returns:
            `(n,)` float64.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X has other columns, or values that the model does not accept.
        """
        check_is_fitted(self)
        frame = self._framed(X)
        name = "elbo" if self.model_.model.has_rate else "reconstruction"
        with _as_scikit_learn_raises():
            return -self._exact(frame, lambda trained, values: trained.score(values, name))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Return the mean of `score_samples`; larger is better, as cross-validation expects.

            cross_val_score(Autoencoder(max_steps=500), X)

        Args:
            X: `(n, features)`, with the columns of `fit`.
            y: is not used.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X has other columns, or values that the model does not accept.
        """
        return float(self.score_samples(X).mean())

    @property
    def model_(self) -> Trained:
        """The trained model, with all methods of `vaelab.Trained`, such as `sample`, `reconstruct` and `explain`.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        if "_trained" not in vars(self):  # this object comes from a pickle
            self._load()
        return self._trained

    @property
    def _n_features_out(self) -> int:
        return self.model_.latent_dim

    def __sklearn_is_fitted__(self) -> bool:
        """Whether the estimator is fitted, for `check_is_fitted`."""
        return "_files" in vars(self)

    def __sklearn_tags__(self) -> Tags:
        """Return scikit-learn's tags about accepted inputs."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickles: the model as the bytes of its files, safetensors and JSON."""
        state = dict(super().__getstate__())
        state.pop("_trained", None)
        state.pop("_in_double", None)
        return state

    def _framed(self, X: Any, reset: bool = False) -> pd.DataFrame:  # noqa: N803
        """Convert X to a DataFrame with the column names of the run.

        Raises:
            ValueError: X is not a table, has too few rows or other columns than in `fit`, or a value is infinite.
        """
        if not isinstance(X, pd.DataFrame):
            array = validate_data(
                self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan",
                ensure_min_samples=FEWEST if reset else 1,
            )  # fmt: skip
            if reset:
                return pd.DataFrame(array, columns=[f"x{number}" for number in range(array.shape[1])])
            if others := self._of.others:
                raise ValueError(f"X has columns that are not numeric: {some(others)}; give a DataFrame")
            return pd.DataFrame(array, columns=self._of.names)
        if X.columns.nlevels > 1:
            raise ValueError(f"X: columns have {X.columns.nlevels} names each (a MultiIndex); give each one name")
        if not X.columns.is_unique:
            twice = [*map(str, X.columns[X.columns.duplicated()].unique())]
            raise ValueError(f"X has columns of the same name: {some(twice)}; give each one name of its own")
        validate_data(self, X, reset=reset, skip_check_array=True)
        if X.shape[1] == 0:
            raise ValueError(f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is required.")
        if len(X) < (fewest := FEWEST if reset else 1):
            raise ValueError(
                f"Found array with {len(X)} sample(s) (shape={X.shape}) while a minimum of {fewest} is required."
            )
        if not reset and not self._of.named:
            return X.set_axis(self._of.names, axis=1)
        frame = X.rename(columns=str)
        if nameless := [number for number, name in enumerate(frame) if not name.strip() or name == INDEX]:
            raise ValueError(f"X: column {nameless[0]} is named {frame.columns[nameless[0]]!r}; give it another name")
        infinite = [
            name
            for name in frame
            if pd.api.types.is_float_dtype(frame[name].dtype)
            and np.isinf(frame[name].to_numpy(np.float64, na_value=np.nan)).any()
        ]
        if infinite:
            raise ValueError(f"Input X contains infinity in {some(infinite)}.")
        return frame

    def _words(self, table: pa.Table, file: Path) -> list[str]:
        """The command line of the run.

        Raises:
            ConfigError: a setting is wrong, or a word of `overrides` says what X or `run_dir` say.
        """
        if isinstance(self.overrides, str):
            raise ConfigError(f"overrides={self.overrides!r}: should be a list of words, such as [{self.overrides!r}]")
        if not isinstance(self.overrides, Iterable):
            raise ConfigError(f"overrides={self.overrides!r}: should be a list of words, such as [], which adds none")
        typed = [str(word) for word in self.overrides]
        places = {place(found) for word in typed if (found := parse_word(word)) is not None}
        for word in typed:
            found = parse_word(word)
            if word.startswith("-"):
                raise ConfigError(f"overrides: {word} is a flag; name settings as key=value")
            if found is not None and place(found) in NOT_FOR_FIT:
                raise ConfigError(f"overrides: leave out {word}: {NOT_FOR_FIT[place(found)]}")
            if found is not None and found.is_sweep_override():
                raise ConfigError(f"overrides: {word} names several values, but a fit is one run; name one")
        words = {
            "data": "data=table",
            "task": "task=embedding",
            "logger": "logger=none",
            "model": f"model={self.model}",
            "latent_dim": written("latent_dim", self.latent_dim),
            "seed": written("seed", self._seed()),
            "data.path": f"data.path={quoted(str(file))}",
            "data.split_seed": "data.split_seed=${seed}",
            "data.scaling": "data.scaling=standard",
            "test": "test=false",
            "compile": "compile=false",  # auto goes by the pace, so that the same seed would give other numbers
            "extras.print_config": "extras.print_config=false",
            "trainer.accelerator": f"trainer.accelerator={self._device()}",
        }
        words |= self._fractions(table.num_rows)
        if kept := _telling_nothing(table):
            words["data.keep"] = written("data.keep", [*map(_literal, kept)])
        settings = {
            "model.beta": self.beta,
            "trainer.max_epochs": self.max_epochs,
            "trainer.max_steps": self.max_steps,
            "data.batch_size": self.batch_size,
            "optimizer.lr": self.learning_rate,
        }
        words |= {key: written(key, value) for key, value in settings.items() if value is not None}
        if not self.verbose:
            words["extras.ignore_warnings"] = "extras.ignore_warnings=true"
            words["trainer.enable_progress_bar"] = "trainer.enable_progress_bar=false"
        if self.run_dir is None and "task" not in places:
            words["task.pictures_every"] = "task.pictures_every=null"
        return [*(word for where, word in words.items() if where not in places), *typed]

    def _fractions(self, rows: int) -> dict[str, str]:
        """Of the rows: one is held out as the test split, and the share asked for is validated on."""
        share = self.validation_fraction
        if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not 0 < share < 1:
            raise ConfigError(f"validation_fraction={share!r}: should be above 0 and below 1")
        rest = rows - 1
        validated = min(max(1, round(rest * float(share))), rest - 1)
        return {
            "data.test_fraction": f"data.test_fraction={1 / rows!r}",
            "data.val_fraction": f"data.val_fraction={validated / rest!r}",
        }

    def _seed(self) -> int:
        """The seed of the run; an int is taken as it is."""
        if isinstance(self.random_state, int | np.integer) and not isinstance(self.random_state, bool):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _device(self) -> str:
        """The accelerator: of `auto` the one that this machine has."""
        if self.device not in DEVICES:
            raise ConfigError(f"device={self.device!r}: should be one of {', '.join(DEVICES)}")
        if self.device != "auto":
            return self.device
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def _exact(self, frame: pd.DataFrame, what: Callable[[Trained, Tensor], Tensor]) -> NDArray[np.float64]:
        """Apply a model to rows, in float64 on the CPU.

        In float32, the result for a row depends slightly on the other rows of its batch, because of the order of sums.
        """
        batches = self.model_.part(frame).batches(torch.device("cpu"))
        values = torch.cat([batch.x for batch in batches])
        found: NDArray[np.float64] = what(self._in_double, values).double().cpu().numpy()
        return found

    def _load(self) -> None:
        """Load the model from a folder that exists as long as the model."""
        folder = Path(mkdtemp(prefix="vaelab-"))
        for name, content in self._files.items():
            (folder / "model" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "model" / name).write_bytes(content)
        with torch.random.fork_rng(devices=[]):  # a model is built with random weights before its weights are loaded
            trained = load(folder, self._trusted, self._device())
        finalize(trained, rmtree, folder, ignore_errors=True)
        self._trained = self._in_double = trained
        if trained.model.device.type == "cpu":
            self._in_double = Trained(deepcopy(trained.model).double(), trained.folder, self._trusted)


@dataclass(frozen=True)
class _Given:
    """The form of the input of `fit`, so that `inverse_transform` returns the same form.

    Attributes:
        names: the names of its columns in the run.
        columns, types: the columns and types of the DataFrame; None for an array.
    """

    names: list[str]
    columns: pd.Index | None
    types: list[Any] | None

    @classmethod
    def of(cls, given: Any, frame: pd.DataFrame) -> Self:
        if not isinstance(given, pd.DataFrame):
            return cls([*frame.columns], None, None)
        return cls([*frame.columns], given.columns, [*given.dtypes])

    @property
    def others(self) -> list[str]:
        """Return the columns that are not numeric."""
        types = self.types or []
        return [name for name, of in zip(self.names, types, strict=False) if not pd.api.types.is_numeric_dtype(of)]

    @property
    def named(self) -> bool:
        """Whether the columns have names."""
        return self.columns is not None

    def back(self, rows: pd.DataFrame, index: pd.Index | None) -> Any:
        """Convert rows of the model to an array, or to a DataFrame with the original types."""
        rows = rows[self.names]
        if self.columns is None or self.types is None:
            return rows.to_numpy(np.float64)
        for name, of in zip(self.names, self.types, strict=True):
            if isinstance(of, pd.CategoricalDtype) and not rows[name].isin(of.categories).all():
                continue  # "(other)", which stands for rare categories, is none of them
            if rows[name].dtype != of:
                with suppress(ValueError, TypeError):  # whole numbers of which some are missing
                    rows = rows.assign(**{name: rows[name].astype(of)})
        rows = rows.set_axis(self.columns, axis=1)
        return rows if index is None else rows.set_axis(index, axis=0)


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """Convert rows to an Arrow table.

    Raises:
        DataError: a column has values of several types, or no values.
    """
    for name in frame:
        of = frame[name].dtype
        values = of.categories.dtype if isinstance(of, pd.CategoricalDtype) else of
        if isinstance(values, pd.IntervalDtype | pd.PeriodDtype):
            raise DataError(f"X: column {name} holds {values}; give texts, such as X[{name!r}].astype(str)")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"X: {str(error).splitlines()[0]}; give columns of one type each") from error
    if empty := [name for name in frame if frame[name].isna().all()]:
        raise DataError(f"X: no row has a value in {some(empty)}; leave such columns out")
    return table


def _telling_nothing(table: pa.Table) -> list[str]:
    """Return columns that `data=table` would leave out: constants and identifiers."""
    return [column.name for column in find_left_out(table, (), [table.num_rows], PLAIN)]


def _literal(text: str) -> str:
    """Escape a text for a config, in which `${...}` would be an interpolation."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _for_x(message: str) -> str:
    """Adapt a message of a run to the caller, who leaves columns out of X instead of using `data.drop`."""
    message = re.sub(_DROP + " leaves (it|them) out", r"leave \1 out of X", message)
    message = re.sub(_DROP, "leave the column out of X", message)
    return re.sub(r"add (it|them) to data\.drop", r"leave \1 out of X", message)


def _own_place(run_dir: str | Path) -> Path:
    """The whole path of a run folder.

    Raises:
        ConfigError: a config would interpret a part of it as an interpolation.
    """
    found = Path(run_dir).expanduser().absolute()
    if "${" in str(found):
        raise ConfigError(f"run_dir={found}: ${{...}} is an interpolation in a config; name a folder without ${{")
    return found


def _claimed(place: Path) -> Path:
    """Create a folder that no other run has: the path, or the path with a number appended."""
    number = 1
    while True:
        folder = place if number == 1 else place.with_name(f"{place.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _precision(given: Any) -> type[np.floating[Any]]:
    return np.float32 if getattr(given, "dtype", None) == np.float32 else np.float64


@contextmanager
def _as_scikit_learn_raises() -> Iterator[None]:
    """Raise ValueError for errors in data or settings, and RuntimeError for failures of a run."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise ValueError(_for_x(str(error))) from error
    except UserError as error:
        raise RuntimeError(_for_x(str(error))) from error
