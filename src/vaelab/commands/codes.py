"""`vaelab encode RUN FILES -o z.parquet` and `vaelab decode [RUN] z.parquet -o DIR`"""

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaelab.commands.options import (
    add_common,
    add_files,
    find,
    loaded,
    output_file,
    output_folder,
    parser,
    progress,
    wrote,
)
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note

if TYPE_CHECKING:
    import pandas as pd

    from vaelab.trained import Trained
    from vaelab.trained.adapter import Part

SUFFIXES = (".parquet", ".csv", ".npy")
LABEL = "label"  # the column of labels, for a model conditioned on labels


def encode(arguments: list[str]) -> None:
    """Encode files, and write their codes.

    Raises:
        UserError: there is no such model or file, or one cannot be used.
    """
    made = parser(
        "encode",
        "Writes the code of every example in the files: one row per example, with its file and position, and the\n"
        "columns z0, z1 and so on. A .npy file holds only the codes. vaelab decode turns codes into examples again.",
        [
            ("logs/embedding/images-vae/<date> photos/ -o codes.parquet", "all images of a folder"),
            ("logs/embedding/table-vae/<date> later.csv -o codes.csv", "the rows of a table"),
        ],
    )
    add_files(made)
    add_common(made, "the file for the codes: .parquet, .csv or .npy")
    options = made.parse_intermixed_args(arguments)
    path = output_file(options, SUFFIXES)
    trained = loaded(options)
    files = find(trained, options.files)
    about = {"run": _place(options.run), "latent_dim": trained.latent_dim}
    with Rows(path, about) as rows, progress("encoding", None) as done:
        for part in trained.adapter.read(files):
            rows.add(named(part, len(files)), coded(trained, part, done))
        if not rows.count:
            raise DataError("no file is usable, so nothing is written")
    wrote(rows.count, "code", path, more=f" ({trained.latent_dim} numbers each)")


def _place(run: str) -> str:
    """Return the absolute path of a run; for a model of the hub, its name."""
    return str(Path(run).absolute()) if Path(run).exists() else run


def coded(trained: "Trained", part: "Part", done: Any) -> "pd.DataFrame":
    """Return the codes of a part as columns z0, z1 and so on."""
    import pandas as pd

    codes = trained.codes(part, done).numpy()
    found = pd.DataFrame(codes, columns=[f"z{number}" for number in range(codes.shape[1])])
    labels = trained.labels_of(part)
    return found if labels is None else found.assign(**{LABEL: labels})


def named(part: "Part", files: int) -> "pd.DataFrame":
    """Return the columns that identify each example: its file, if there are several, and its position in it."""
    import pandas as pd

    columns = dict(part.columns)
    if files > 1 and "file" not in columns:
        columns = {"file": [str(part.stem)] * part.count} | columns
    return pd.DataFrame(columns)


class Rows:
    """Write a file of rows in chunks; the file appears only when it is complete.

    Args:
        path: ends with `.parquet`, `.csv` or `.npy`; a `.npy` file takes only columns of codes.
        about: plain data that is stored as metadata of a Parquet file.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        from vaelab.atomic_write import replacing

        self.path, self._about, self.count = path, about, 0
        self._whole = replacing(path)
        self._writer: Any = None
        self._codes: list[Any] = []

    def __enter__(self) -> "Rows":
        self._partial = self._whole.__enter__()
        return self

    def add(self, names: "pd.DataFrame", values: "pd.DataFrame") -> None:
        """Append rows."""
        import pandas as pd

        self.count += len(values)
        if self.path.suffix.lower() == ".npy":
            self._codes.append(values.drop(columns=LABEL, errors="ignore").to_numpy())
            return
        frame = pd.concat([names, values], axis=1)
        if self.path.suffix.lower() == ".csv":
            frame.to_csv(self._partial, mode="a", index=False, header=self._writer is None, float_format="%.9g")
            self._writer = True
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(frame, preserve_index=False)
        if self._writer is None:
            about = {"vaelab": json.dumps(self._about)}
            self._writer = pq.ParquetWriter(self._partial, table.schema.with_metadata(about))
        self._writer.write_table(table.cast(self._writer.schema))

    def __exit__(self, *error: Any) -> bool | None:
        try:
            self._finish(written=error[0] is None)
        except BaseException as unfinished:
            self._whole.__exit__(type(unfinished), unfinished, unfinished.__traceback__)
            raise
        return self._whole.__exit__(*error)

    def _finish(self, written: bool) -> None:
        if self.path.suffix.lower() == ".npy" and self._codes and written:
            import numpy as np

            content = BytesIO()  # a full disk gives a clearer error if the file is written in one go
            np.save(content, np.concatenate(self._codes))
            self._partial.write_bytes(content.getbuffer())
        elif self.path.suffix.lower() == ".parquet" and self._writer is not None:
            self._writer.close()


def decode(arguments: list[str]) -> None:
    """Decode codes, and write the examples.

    Raises:
        UserError: there is no such model or file, or the codes are not those of the model.
    """
    made = parser(
        "decode",
        "Decodes codes, and writes the examples. Codes are the columns z0, z1 and so on of a Parquet or CSV file, or\n"
        "a .npy file of shape (N, dimensions of the code). vaelab encode writes such files. A Parquet file of vaelab\n"
        "encode names its run, so RUN may be omitted.",
        [
            ("codes.parquet -o again/", "with the model that encoded them"),
            ("logs/embedding/table-vae/<date> codes.csv -o again/", "rows of a table"),
        ],
    )
    made.add_argument("codes", nargs="?", metavar="CODES", help="a .parquet, .csv or .npy file")
    made.add_argument(
        "--label", metavar="NAME", help="label for all examples, if the model takes labels (default: the column label)"
    )
    add_common(made, "the folder for the results")
    options = made.parse_intermixed_args(arguments)
    folder = output_folder(options)
    if options.codes is None:
        options.run, options.codes = run_of(Path(options.run)), options.run
    elif (other := _other_run(Path(options.codes), options.run)) is not None:
        note(f"{options.codes}: was encoded by {other}, but is decoded by {options.run}")
    trained = loaded(options)
    codes, names, labels = read_codes(Path(options.codes), trained.latent_dim)
    import torch

    label = options.label or (labels if trained.model.conditional else None)
    values = trained.decode(torch.from_numpy(codes), label)
    adapter = trained.adapter
    if names is not None and trained.spec.kind == "image":
        from vaelab.trained.images import picture, save_png

        for name, value in zip(names, values, strict=True):
            save_png(picture(value), folder / f"{name}.png")
    else:
        adapter.write_samples(folder, values, "decoded", drawn=False)
    wrote(len(codes), "example", folder)


def _other_run(path: Path, run: str) -> str | None:
    """Return the run that a file of codes names, if it is not `run`."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return None
    try:
        other = run_of(path)
    except (ConfigError, DataError):
        return None
    here, there = (Path(one).resolve() for one in (run, other))
    return None if other == run or here == there or here in (there / "model", there.parent) else other


def run_of(path: Path) -> str:
    """Return the run that encoded a Parquet file of codes.

    Raises:
        ConfigError: the file names no run, or one that does not exist.
        DataError: the file does not exist or is damaged.
    """
    if path.suffix.lower() != ".parquet" or path.is_dir():
        raise ConfigError(
            f"vaelab decode RUN {path}: name the run and the file; only a .parquet file of codes names its run"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {}).get(b"vaelab", b"{}"))
        run = about.get("run") if isinstance(about, dict) else None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(run, str):
        raise ConfigError(f"{path}: does not name the run that encoded it; type vaelab decode RUN {path}")
    if Path(run).is_absolute() and not Path(run).exists():
        raise ConfigError(f"{path}: was encoded by {run}, which no longer exists; type vaelab decode RUN {path}")
    return run


def read_codes(path: Path, size: int) -> tuple[Any, list[str] | None, list[str] | None]:
    """Return `(N, size)` float32 codes, file names if the column `file` is unique per row, and the labels.

    Raises:
        DataError: the file does not exist, is damaged, or holds codes of another size.
    """
    import numpy as np
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: should be a .parquet, .csv or .npy file of codes")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    names = labels = None
    try:
        if suffix == ".npy":
            codes = np.load(path, allow_pickle=False, mmap_mode="r")
            if codes.ndim != 2 or codes.shape[1] != size or codes.dtype.kind not in "fiu":
                raise DataError(
                    f"{path}: holds {codes.dtype} of shape {list(codes.shape)}; codes have shape ['N', {size}]"
                )
        else:
            frame = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path, dtype={LABEL: str})
            columns = [f"z{number}" for number in range(size)]
            if lacking := [column for column in columns if column not in frame]:
                raise DataError(
                    f"{path}: has no column {lacking[0]}; codes of this model are the columns z0 to z{size - 1}"
                )
            if f"z{size}" in frame:
                raise DataError(f"{path}: has a column z{size}; codes of this model are the columns z0 to z{size - 1}")
            codes = frame[columns].to_numpy(np.float32)
            if "file" in frame and frame["file"].nunique() == len(frame):
                names = _stems([str(file) for file in frame["file"]])
            if LABEL in frame:
                labels = [str(label) for label in frame[LABEL].astype(object).where(frame[LABEL].notna(), "")]
    except DataError:
        raise
    except Exception as error:  # a library may raise any error for a damaged file
        raise DataError(
            f"{path}: cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    codes = np.ascontiguousarray(codes, np.float32)
    if not len(codes):
        raise DataError(f"{path}: contains no codes")
    if not np.isfinite(codes).all():
        raise DataError(
            f"{path}: row {int(np.argwhere(~np.isfinite(codes))[0][0])} has a value that is not a finite number"
        )
    return codes, names, labels


def _stems(files: list[str]) -> list[str] | None:
    """Return file names without folders and suffixes; None if two are equal, or one is not a valid name."""
    stems = [Path(file).stem for file in files]
    fits = len(set(stems)) == len(stems) and all(stem not in ("", ".", "..") and "/" not in stem for stem in stems)
    return stems if fits else None
