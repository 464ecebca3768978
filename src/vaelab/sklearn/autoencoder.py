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

FEWEST = 3  # rows: one to train, one to validate, and one that `data=table` holds out
TABLE = "table.parquet"  # the rows, in a run folder that is kept
DEVICES = ("auto", "cpu", "cuda", "mps")
_DROP = r"data\.drop=\[(?:'(?:\\'|[^'])*'|[^\]'])*\]"  # names of columns, some of them in quotes
NOT_FOR_FIT = {
    "data": "the data are X",
    "data.path": "the data are X",
    "data.drop": "every column of X is modelled; leave columns out of X",
    "data.label": "every column of X is modelled; leave columns out of X",
    "paths.output_dir": "run_dir names the run folder",
    "resume": "a fit begins anew; ckpt_path=<run folder> starts from the weights of a run",
    "train": "a fit trains",
    "sweep": "a fit is one run; sklearn.model_selection.GridSearchCV makes many",
    "hydra.mode": "a fit is one run",
}
"""Places that no word of `overrides` may name, and why."""


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An autoencoder or a variational autoencoder of the rows of a table, with scikit-learn's methods.

        codes = Autoencoder(latent_dim=2, model="vae").fit_transform(X)  # (n, 2)
        make_pipeline(StandardScaler(), Autoencoder(latent_dim=8), LogisticRegression()).fit(X, y)

    `fit` is the run `vaelab train data=table task=embedding data.scaling=standard test=false compile=false ...` in this
    process. `overrides=["test=true", "data.test_fraction=0.2"]` adds the evaluation of a run to what `run_dir` keeps.
    Arrays hold numbers alone. DataFrames may hold numbers, categories, texts, dates and booleans. Values may be missing
    (NaN) in both. A model that was fitted to rows without missing values takes none later.

    Args:
        latent_dim: numbers in the code of one row.
        model: an option of `model=`, such as `ae`, `vae` or `iwae`.
        beta: weight of the KL; None is the model's own. An `ae` has none.
        max_epochs: passes over the training rows at most; None lets the budget of `data=table` decide.
        max_steps: optimizer steps at most; None as for `max_epochs`.
        batch_size: rows in a step; None is that of `data=table`, 128.
        learning_rate: of the optimizer; None is that of `optimizer=adamw`, 1e-3.
        validation_fraction: share of the rows that choose the best weights and are not trained on, above 0 and below 1.
            At least one row is. One more row is held out of both, since `data=table` always has a test split.
        random_state: seed of the split, the weights and the batches; None draws one from NumPy's global state.
        device: that computes: `auto`, `cpu`, `cuda` or `mps`.
        run_dir: the run folder, which is kept. Where it exists already, `<run_dir>-2` and so on is made, since
            cross-validation fits several times. None: the folder is temporary.
        overrides: more words of vaelab, such as `["encoder.hidden=[64]", "callbacks=ema"]`. They win over the words
            that `fit` makes.
        verbose: whether to show what the run prints. Where it is hidden, notes on the data are Python warnings.

    Attributes:
        n_features_in_: columns of X.
        feature_names_in_: `(n_features_in_,)` their names, where X is a DataFrame whose names are all strings.
        model_: the trained model, a `vaelab.Trained`.
        metrics_: the numbers of the run by name, such as `val/mse`; scaled units, nats.
        run_dir_: path of the run folder that was kept, as text; None where none was.
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
            ValueError: X is no such table, or a setting or a word of `overrides` is wrong.
            RuntimeError: the run failed: the loss is no longer a number, or the disk is full.
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
                if not (folder / STATE).is_file():  # nothing ran
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
        """The codes of rows: the posterior means of a VAE, the codes of an autoencoder.

            codes = autoencoder.transform(X_test)

        Args:
            X: `(n, features)`, with the columns of `fit`.

        Returns:
            `(n, latent_dim)`; float32 for an array of float32, else float64. A DataFrame with columns `autoencoder0`,
            `autoencoder1`, ... after `set_output(transform="pandas")`.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X has other columns, or values that the model does not take.
        """
        check_is_fitted(self)
        frame = self._framed(X)
        with _as_scikit_learn_raises():
            codes = self._exact(frame, lambda trained, values: trained.encode(values))
        return codes.astype(_precision(X), copy=False)

    def inverse_transform(self, Z: Any) -> Any:  # noqa: N803
        """The rows of codes: the means of p(x|z), in the units of X.

            rows = autoencoder.inverse_transform(codes)

        Args:
            Z: `(n, latent_dim)` codes.

        Returns:
            `(n, features)`: a DataFrame with the columns and types of `fit` if that was given one, else an array of
            float64. Categories are the likeliest.

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
        """How usual rows are: the larger, the more.

            unusual = X_test[autoencoder.score_samples(X_test) < threshold]

        Of a model with a bound on log p(x), such as a VAE, it is the ELBO in nats, with one fixed draw of the code. Of
        other models it is minus the squared error of the reconstruction, summed over columns, in squared standard
        deviations of the training rows; with categories it is log p(x|z) in nats.

        Args:
            X: `(n, features)`, with the columns of `fit`.

        Returns:
            `(n,)` float64.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X has other columns, or values that the model does not take.
        """
        check_is_fitted(self)
        frame = self._framed(X)
        name = "elbo" if self.model_.model.has_rate else "reconstruction"
        with _as_scikit_learn_raises():
            return -self._exact(frame, lambda trained, values: trained.score(values, name))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """The mean of `score_samples`, which cross-validation makes as large as it can.

            cross_val_score(Autoencoder(max_steps=500), X)

        Args:
            X: `(n, features)`, with the columns of `fit`.
            y: is not used.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X has other columns, or values that the model does not take.
        """
        return float(self.score_samples(X).mean())

    @property
    def model_(self) -> Trained:
        """The trained model, for all that `vaelab.Trained` does: `sample`, `reconstruct`, `explain`.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        if "_trained" not in vars(self):  # it comes from a pickle
            self._load()
        return self._trained

    @property
    def _n_features_out(self) -> int:
        return self.model_.latent_dim

    def __sklearn_is_fitted__(self) -> bool:
        """For `check_is_fitted`."""
        return "_files" in vars(self)

    def __sklearn_tags__(self) -> Tags:
        """For scikit-learn: which arrays and DataFrames are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """For pickles: the model as the bytes of its files, safetensors and JSON."""
        state = dict(super().__getstate__())
        state.pop("_trained", None)
        state.pop("_in_double", None)
        return state

    def _framed(self, X: Any, reset: bool = False) -> pd.DataFrame:  # noqa: N803
        """X with the names that columns have in the run.

        Raises:
            ValueError: X is no table, has too few rows or other columns than in `fit`, or a value is infinite.
        """
        if not isinstance(X, pd.DataFrame):
            array = validate_data(
                self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan",
                ensure_min_samples=FEWEST if reset else 1,
            )  # fmt: skip
            if reset:
                return pd.DataFrame(array, columns=[f"x{number}" for number in range(array.shape[1])])
            if others := self._of.others:
                raise ValueError(f"X has no place for columns that are no numbers: {some(others)}; give a DataFrame")
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
                raise ConfigError(f"overrides: {word} names several values, and a fit is one run; name one")
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
        """What a model makes of rows, in double precision on the processor.

        In single precision the result for a row depends a little on the rows beside it, by how sums are blocked.
        """
        batches = self.model_.part(frame).batches(torch.device("cpu"))
        values = torch.cat([batch.x for batch in batches])
        found: NDArray[np.float64] = what(self._in_double, values).double().cpu().numpy()
        return found

    def _load(self) -> None:
        """Bring the model back, from a folder that lives as long as it does."""
        folder = Path(mkdtemp(prefix="vaelab-"))
        for name, content in self._files.items():
            (folder / "model" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "model" / name).write_bytes(content)
        with torch.random.fork_rng(devices=[]):  # a model is built with random weights before it gets its own
            trained = load(folder, self._trusted, self._device())
        finalize(trained, rmtree, folder, ignore_errors=True)
        self._trained = self._in_double = trained
        if trained.model.device.type == "cpu":
            self._in_double = Trained(deepcopy(trained.model).double(), trained.folder, self._trusted)


@dataclass(frozen=True)
class _Given:
    """What `fit` was given, so that `inverse_transform` gives the same kind back.

    Attributes:
        names: of its columns in the run.
        columns, types: of the DataFrame; None of an array.
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
        """Columns of another type than numbers."""
        types = self.types or []
        return [name for name, of in zip(self.names, types, strict=False) if not pd.api.types.is_numeric_dtype(of)]

    @property
    def named(self) -> bool:
        """Whether the columns have names of their own."""
        return self.columns is not None

    def back(self, rows: pd.DataFrame, index: pd.Index | None) -> Any:
        """Rows that the model gives, as an array or as a DataFrame of the types that were given."""
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
    """Rows as a Parquet file holds them.

    Raises:
        DataError: a column holds values of several types, or none at all.
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
    """Columns that `data=table` leaves out unless it is told to keep them: constants and identifiers."""
    return [column.name for column in find_left_out(table, (), [table.num_rows], PLAIN)]


def _literal(text: str) -> str:
    """A text that is to stay as it is in a config, which takes `${...}` for the name of another setting."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _for_x(message: str) -> str:
    """What is said of a run, for who gives X: its columns are left out there, and not by `data.drop`."""
    message = re.sub(_DROP + " leaves (it|them) out", r"leave \1 out of X", message)
    message = re.sub(_DROP, "leave the column out of X", message)
    return re.sub(r"add (it|them) to data\.drop", r"leave \1 out of X", message)


def _own_place(run_dir: str | Path) -> Path:
    """The whole path of a run folder.

    Raises:
        ConfigError: a config would take a part of it for the name of a setting.
    """
    found = Path(run_dir).expanduser().absolute()
    if "${" in str(found):
        raise ConfigError(f"run_dir={found}: a config takes ${{...}} for a setting; name a folder without ${{")
    return found


def _claimed(place: Path) -> Path:
    """Make a folder that no other run has: the place, or the place with a number behind it."""
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
    """Raise ValueError for what is wrong with data or settings, and RuntimeError for what went wrong in a run."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise ValueError(_for_x(str(error))) from error
    except UserError as error:
        raise RuntimeError(_for_x(str(error))) from error
