"""Reading of series from .npy arrays and tables. The rows of a table are steps, or series, or lists of values."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaelab.config.nearest import did_you_mean
from vaelab.data.folders import files_of
from vaelab.data.images.source import SPLITS
from vaelab.data.tables.cells import parsed
from vaelab.data.tables.delimited import TableReading, first_line, line_of
from vaelab.data.tables.files import SUFFIXES, is_table, read_tables, refuse_all
from vaelab.data.tables.kinds import is_text, quoted, text_of
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note, some, were

Form = Literal["steps", "rows"]
Layout = Literal["channels_first", "channels_last"]
ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class Recording:
    """One series of any length.

    Attributes:
        values: `(C, T)`; missing values are NaN.
        source: the file, and the row if it holds several series; for messages.
        place: the origin as columns of a CSV file: `file`, relative to the path in the settings, and `row`.
        split: `train`, `val` or `test`.
        labels: one for each step, `(T,)`, or one for all steps, `(1,)`; None for a missing label; empty without labels.
        times: an Arrow array `(T,)` with the cells of the time column; None without such a column.
    """

    values: NDArray[Any]
    source: str
    split: str = "train"
    labels: tuple[str | None, ...] = ()
    times: Any = None
    place: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """Options for reading files; see `Series` for those without a comment."""

    form: Form = "steps"
    layout: Layout | None = None
    labels: str | None = None
    label: str | int | None = None
    time: str | int | None = None
    drop: Sequence[str | int] = ()
    header: bool | None = None
    encoding: str = "utf-8"
    long: bool = False  # whether a .npy array (T,), or one of two dimensions, is one long recording
    later: bool = False  # whether to read data for a trained model: label and dropped columns may be absent
    channels: tuple[str, ...] = ()  # the columns to read as channels; empty for all that are not left out
    known: tuple[str, ...] = ()  # the channels of a trained model, used for .npy files, which have no names
    classes: tuple[str, ...] = ()  # the classes of a trained model, used to recognise folders of classes


def read_recordings(place: Path, how: Reading) -> tuple[tuple[str, ...], list[Recording]]:
    """Read all series of a file or folder.

    Returns:
        The names of the channels, and the series in the order train, val, test.

    Raises:
        ConfigError: a setting names a column that does not exist, or a setting is needed.
        DataError: a file cannot be read, is empty, or has other channels than the first. The message names the file.
    """
    if place.suffix.lower() == ".npy":
        return _array(place, how)
    if how.labels is not None:
        raise ConfigError(f"data.labels: goes with a .npy file; the label column of {place.name} is data.label=<name>")
    files = _files(place)
    if _holds_lists(files[0]):
        return _listed(files, place, how)
    if how.form == "rows":
        return ("value",), _sorted(_each(files, lambda file: _rows(file, place, how)))
    places = {file: list(file.relative_to(place).parts[:-1]) if place.is_dir() else [] for file in files}
    splits = dict.fromkeys(files, "train")
    if place.is_dir() and _by_split(place, places):
        splits = {file: SPLITS[parts.pop(0).lower()] for file, parts in places.items()}
    classes = {parts[0] for parts in places.values() if parts}
    labelled = len(classes) > 1
    if how.later:  # later data may lack some classes, and may have folders that are not classes
        labelled = bool(classes & set(how.classes))
    labelled = labelled and how.label is None
    if labelled and (loose := [file.name for file in files if not places[file]]):
        lie = f"{were(len(loose), 'series', 'series')} outside the folders of classes and without a label"
        note(f"{place}: {lie}: {some(loose)}")
    channels: dict[Path, tuple[str, ...]] = {}
    extra: dict[str, Path] = {}

    def read(file: Path) -> list[Recording]:
        names, values, labels, times = _steps(file, how, extra)
        channels[file] = names
        first, wanted = next(iter(channels.items()))
        if sorted(names) != sorted(wanted):
            raise DataError(f"{file}: has the channels {_some(names)}, but {first} has {_some(wanted)}")
        values = values[[names.index(name) for name in wanted]]
        labels = tuple(places[file][:1]) if labelled else labels
        return [Recording(values, str(file), splits[file], labels, times, {"file": _relative(place, file)})]

    found = _each(files, read)
    if extra:
        named = some([f"{name} (in {_relative(place, file)})" for name, file in extra.items()])
        note(f"{place} has columns that the model was not trained on, and which are left out: {named}")
    return next(iter(channels.values())), _sorted(found)


def _each(files: Sequence[Path], read: Callable[[Path], list[Recording]]) -> list[Recording]:
    """Read all files and collect their series.

    Raises:
        DataError: at least one file cannot be used; one message for all of them.
    """
    found: list[Recording] = []
    refused = []
    for file in files:
        try:
            found += read(file)
        except DataError as error:
            refused.append(str(error))
    refuse_all(refused, files)
    return found


def _by_split(place: Path, places: Mapping[Path, Sequence[str]]) -> bool:
    """Whether the top-level folders are splits: the names of all of them must be names of splits.

    Raises:
        DataError: they are, and there are files outside of them.
    """
    first = {parts[0] for parts in places.values() if parts}
    named = sorted(name for name in first if name.lower() in SPLITS)
    if not named:
        return False
    if len(named) < len(first):
        others = some(sorted(first - set(named)))
        note(f"{place}: the folders {', '.join(named)} are taken for classes, not for splits, as {others} names none")
        return False
    if loose := [file.name for file, parts in places.items() if not parts]:
        raise DataError(
            f"{place}: {were(len(loose), 'file')} in no split, beside the folders {', '.join(named)}; move into one of "
            f"them or remove: {some(loose)}"
        )
    return True


def _sorted(recordings: list[Recording]) -> list[Recording]:
    return sorted(recordings, key=lambda recording: ORDER.index(recording.split))


def _files(place: Path) -> list[Path]:
    if place.is_file():
        if not is_table(place):
            raise DataError(f"data.path={place}: should be a .npy, .csv, .tsv or .parquet file, or a folder of tables")
        return [place]
    return files_of(place, SUFFIXES, "a table")


def _relative(place: Path, file: Path) -> str:
    return file.name if file == place else file.relative_to(place).as_posix()


def _split_by_name(place: Path, file: Path) -> str:
    """The split that a word of the file's path names, as in `ECG5000_TRAIN.tsv`; `train` if none does."""
    if place.is_file():
        return "train"
    words = re.split(r"[-._ /]", file.relative_to(place).as_posix().lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "train")


# Arrays


def _array(path: Path, how: Reading) -> tuple[tuple[str, ...], list[Recording]]:
    array = _load(path, "biuf")
    shape, several = array.shape, len(how.known) > 1
    if how.long and array.ndim in (1, 2):
        values = array.reshape(1, 1, -1) if array.ndim == 1 else _channels_first(array[None], path, how)
    elif array.ndim == 2 and several and len(how.known) in shape:
        values = _channels_first(array[None], path, how)
    elif array.ndim == 2:
        values = array[:, None]
    elif array.ndim == 3:
        values = _channels_first(array, path, how)
    else:
        raise DataError(f"{path}: has the shape {shape}; should be (N, T), (N, C, T) or, with data.window, (T,)")
    if 0 in values.shape:
        raise DataError(f"{path}: holds nothing, its shape is {shape}")
    labels = _labels(Path(how.labels), values) if how.labels is not None else [()] * len(values)
    count = values.shape[1]
    names = how.known or (tuple(f"channel {number}" for number in range(count)) if count > 1 else ("value",))
    if count != len(names):
        raise DataError(
            f"{path}: has {count} channels, its shape is {shape}; the model was trained on {len(names)}: {_some(names)}"
        )
    one = len(values) == 1
    found = [
        Recording(
            series, str(path) if one else f"{path}[{row}]", labels=labels[row], place={"file": path.name, "row": row}
        )
        for row, series in enumerate(values)
    ]
    return names, found


def _load(path: Path, kinds: str) -> NDArray[Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError) as error:
        reason = "the file is empty" if path.stat().st_size == 0 else "cannot be read as a .npy array of plain values"
        raise DataError(f"{path}: {reason}") from error
    if array.dtype.kind not in kinds:
        wanted = "labels as numbers or text" if "U" in kinds else "real numbers"
        raise DataError(f"{path}: holds {array.dtype}; should be {wanted}")
    return array


def _channels_first(array: NDArray[Any], path: Path, how: Reading) -> NDArray[Any]:
    """Bring an array of either layout to `(N, C, T)`.

    If only one of the layouts gives as many channels as the trained model has, that layout is used.
    """
    _, first, last = array.shape
    layout = how.layout
    if (len(how.known) == first) != (len(how.known) == last):
        layout = "channels_first" if len(how.known) == first else "channels_last"
    if layout is None and first > last:
        raise ConfigError(
            f"data.layout: {path} would have {first} channels of {last} steps; say data.layout=channels_last if the "
            "last dimension holds the channels, or data.layout=channels_first if that is right"
        )
    return array.transpose(0, 2, 1) if layout == "channels_last" else array


def _labels(path: Path, values: NDArray[Any]) -> list[tuple[str | None, ...]]:
    array, steps = _load(path, "biufSU"), values.shape[2]
    array = array if array.dtype.kind in "SU" else array.astype(np.float64)
    if array.ndim == 1 and len(values) == 1 and len(array) == steps:
        return [tuple(map(_label_text, array.tolist()))]
    if array.shape in ((len(values),), (len(values), 1)):
        return [(_label_text(label),) for label in array.reshape(-1).tolist()]
    raise DataError(f"data.labels={path}: has the shape {array.shape}; should be ({len(values)},), one for each series")


def _label_text(label: Any) -> str | None:
    """The text of a label: whole numbers without decimals; None for NaN, None and the empty text."""
    if isinstance(label, bytes):
        label = label.decode("utf-8", errors="replace")
    if isinstance(label, float):
        return None if label != label else str(int(label)) if label.is_integer() else str(label)
    return str(label) if label is not None and label != "" else None


# Tables


def _table(file: Path, how: Reading) -> pa.Table:
    table = read_tables([file], TableReading(how.encoding, _has_header(file, how)))
    names = table.column_names
    for key, columns in (("label", [how.label]), ("time", [how.time]), ("drop", how.drop)):
        for column in columns if key == "time" or not how.later else ():
            if column is not None and str(column) not in names:
                if how.later:
                    raise DataError(
                        f"{file}: has no column {column}, which says when (data.time={column}, as in training); its "
                        f"columns are {_some(names)}; data.time=null reads it without times"
                    )
                raise ConfigError(f"data.{key}: {file} has no column {column}; {did_you_mean(str(column), names)}")
    return table


def _has_header(file: Path, how: Reading) -> bool:
    """Whether the first line holds names: unless all its cells are numbers that do not count the columns.

    Raises:
        ConfigError: the line has one or two cells, such as `0,1`, that may be a count of the columns or values.
    """
    if file.suffix.lower() == ".parquet":
        return True
    if how.header is not None:
        return how.header
    cells = first_line(file, how.encoding)
    try:
        numbers = [float(cell) for cell in cells if cell]
    except ValueError:
        return True
    if not numbers or len(numbers) < len(cells):
        return not numbers
    count = len(numbers)
    counts = numbers in ([float(n) for n in range(count)], [float(n) for n in range(1, count + 1)])
    if counts and count <= 2:
        raise ConfigError(
            f"data.header: the first line of {file}, {','.join(cells)}, may hold names or values; say data.header=true "
            "or data.header=false"
        )
    return counts


def _steps(
    file: Path, how: Reading, extra: dict[str, Path]
) -> tuple[tuple[str, ...], NDArray[np.float64], tuple[str | None, ...], Any]:
    """Read a table whose rows are steps.

    Returns:
        The names of the channels, values `(C, T)`, and the labels and times of the steps. Columns that are neither
        read nor left out by a setting are added to `extra`.
    """
    table = _table(file, how)
    labels = _texts(table, how.label)
    times = None
    if how.time is not None:
        times = table[str(how.time)].combine_chunks()
        _refuse_disorder(table[str(how.time)], file, str(how.time))
    names, rows = _numbers(table, file, how, how.channels)
    left = set(table.column_names) - {*names, *_left_out(how)}
    extra |= {name: file for name in table.column_names if name in left and name not in extra}
    return names, rows.T, labels, times


def _rows(file: Path, place: Path, how: Reading) -> list[Recording]:
    """Read a table whose rows are series of one channel."""
    split, name = _split_by_name(place, file), _relative(place, file)
    table = _table(file, how)
    labels = _texts(table, how.label)
    _, rows = _numbers(table, file, how)
    return [
        Recording(
            row[None], f"{file} row {number}", split, labels[number : number + 1], place={"file": name, "row": number}
        )
        for number, row in enumerate(rows)
    ]


def _holds_lists(file: Path) -> bool:
    """Whether a Parquet file has a column whose cells are lists; its rows are then series."""
    if file.suffix.lower() != ".parquet":
        return False
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):  # reported when the file is read
        return False
    return any(_is_list(of) for of in schema.types)


def _is_list(of: pa.DataType) -> bool:
    return bool(pa.types.is_list(of) or pa.types.is_large_list(of) or pa.types.is_fixed_size_list(of))


def _listed(files: Sequence[Path], place: Path, how: Reading) -> tuple[tuple[str, ...], list[Recording]]:
    """Read tables whose cells are lists: a row is a series, and each column is a channel."""
    channels: list[tuple[str, ...]] = []

    def read(file: Path) -> list[Recording]:
        table = _table(file, how)
        left_out = _left_out(how)
        given = [name for name in table.column_names if name not in left_out]
        if lacking := [name for name in how.channels if name not in given]:
            raise DataError(f"{file}: lacks channels that the model was trained on: {some(lacking)}")
        names = how.channels or tuple(given)
        if not names:
            raise DataError(f"{file}: no column is left to model")
        channels.append(names)
        if sorted(names) != sorted(channels[0]):
            raise DataError(f"{file}: has the channels {_some(names)}, but {files[0]} has {_some(channels[0])}")
        columns = [_lists(table[name], file, name) for name in channels[0]]
        labels = _texts(table, how.label)
        split, name = _split_by_name(place, file), _relative(place, file)
        return [
            Recording(_together(row, file, number), f"{file} row {number}", split, labels[number : number + 1],
                      place={"file": name, "row": number})
            for number, row in enumerate(zip(*columns, strict=True))
        ]  # fmt: skip

    found = _each(files, read)
    return channels[0], _sorted(found)


def _lists(column: Any, file: Path, name: str) -> list[NDArray[np.float64]]:
    """The values of each cell, `(T,)`; `T` may differ between cells.

    Raises:
        DataError: the column does not hold lists of numbers, or a cell has no value.
    """
    of = column.type
    if not _is_list(of):
        raise DataError(f"{file}: column {name} holds {of} beside columns of lists, which are series; {_remedy(name)}")
    of = of.value_type
    if not (pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of) or pa.types.is_boolean(of)):
        raise DataError(f"{file}: column {name} holds lists of {of}; should be numbers, a column for each channel")
    cells = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False)
    if len(empty := np.flatnonzero(lengths == 0)):
        raise DataError(f"{file}: column {name}: row {empty[0]} holds no value; leave the row out")
    flat = pc.cast(pc.list_flatten(cells), pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.split(flat, np.cumsum(lengths)[:-1])


def _together(row: Sequence[NDArray[np.float64]], file: Path, number: int) -> NDArray[np.float64]:
    """Stack the channels `(T,)` of one series to `(C, T)`.

    Raises:
        DataError: the channels differ in length.
    """
    if len(lengths := {len(values) for values in row}) > 1:
        long = " and ".join(map(str, sorted(lengths)))
        raise DataError(f"{file}: row {number} has channels of {long} steps; should be as long as each other")
    return np.stack(row)


def _texts(table: pa.Table, name: str | int | None) -> tuple[str | None, ...]:
    if name is None or str(name) not in table.column_names:
        return ()
    column = table[str(name)].combine_chunks()
    values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return tuple(_label_text(value) for value in values.to_pylist())


def _left_out(how: Reading) -> set[str]:
    return {str(name) for name in (how.label, how.time, *how.drop) if name is not None}


def _numbers(
    table: pa.Table, file: Path, how: Reading, wanted: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names and values `(rows, columns)` of the columns in `wanted`.

    If `wanted` is empty, all columns are read except the label, the time and the dropped ones.

    Raises:
        DataError: a wanted column is absent, no column is left, or a column does not hold numbers.
    """
    if lacking := [name for name in wanted if name not in table.column_names]:
        raise DataError(f"{file}: lacks channels that the model was trained on: {some(lacking)}")
    left_out = _left_out(how)
    names = wanted or tuple(name for name in table.column_names if name not in left_out)
    if not names:
        raise DataError(f"{file}: no column is left to model")
    rows = np.empty((table.num_rows, len(names)))
    for place, name in enumerate(names):
        of, column = table[name].type, table[name]
        numeric = pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of)
        if is_text(of):
            column = _read_texts(name, column, file, how)
        elif not (numeric or pa.types.is_boolean(of) or pa.types.is_null(of)):
            raise DataError(f"{file}: column {name} holds {of}, which is no number; {_remedy(name)}")
        rows[:, place] = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return names, rows


def _read_texts(name: str, column: Any, file: Path, how: Reading) -> Any:
    """Read a text column as numbers; texts that stand for a missing value become null.

    Raises:
        DataError: a cell is not a number. The message shows the first one, unless most cells are not numbers.
    """
    values, odd = parsed(text_of(column.combine_chunks()), dates=False)
    if odd.mean() > 0.5:
        raise DataError(f"{file}: column {name} holds {column.type}, which is no number; {_remedy(name)}")
    if odd.any():
        row = int(odd.argmax())
        line = ""
        if file.suffix.lower() != ".parquet":
            line = f" (line {line_of(file, how.encoding, row, _has_header(file, how))})"
        raise DataError(
            f"{file}: column {name}: {were(int(odd.sum()), 'cell')} no number, first {column[row].as_py()!r} in row "
            f"{row}{line}; correct or empty what is missing, or {_remedy(name)}"
        )
    return values


def _remedy(name: str) -> str:
    return f"leave it out with data.drop={quoted([name])}, or name it as data.time={name} or data.label={name}"


def _refuse_disorder(column: Any, file: Path, name: str) -> None:
    """Check that times do not decrease; times that are texts are not checked.

    Raises:
        DataError: a time is before the one of the row above.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return
    times = column.combine_chunks().drop_null()
    if len(times) > 1 and (back := pc.index(pc.less(times[1:], times[:-1]), True).as_py()) >= 0:
        raise DataError(f"{file}: data.time={name} goes back at row {back + 1}; rows should be in the order of time")


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
