"""Text: lines, rows or windows of it, as sequences of characters or byte pairs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, compress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from annotated_types import Ge, Gt
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from vaelab.core.spec import MASKED, PADDING, DataSpec
from vaelab.data.examples import Examples
from vaelab.data.module import DataModule, DataSettings
from vaelab.data.scratch import Scratch
from vaelab.data.text.files import Texts, read_texts
from vaelab.data.text.pieces import SCHEMA, Piece, Unit, cut, from_arrow, to_arrow
from vaelab.data.text.tokens import TOKENS_FILE, TokenKind, Tokens
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note

LINE_FEED = "\u23ce"  # how one within an example is shown
WITHHELD = "\u25a1"
MOST_CLASSES = 1000  # distinct labels
NAMELESS = 3  # examples that a source needs for three splits


class Encoded(NamedTuple):
    """The tokens of some texts, one after the other, and how many each has."""

    numbers: NDArray[Any]
    lengths: NDArray[np.int64]

    def to_arrow(self) -> Any:
        """A list for each text."""
        ends = np.concatenate([[0], self.lengths.cumsum()])
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(self.numbers))

    @classmethod
    def from_arrow(cls, lists: Any) -> "Encoded":
        """The inverse of `to_arrow`."""
        return cls(lists.flatten().to_numpy(), pc.list_value_length(lists).to_numpy())

    def padded(self, steps: int) -> NDArray[Any]:
        """`(N, steps)`."""
        values = np.full((len(self.lengths), steps), PADDING, self.numbers.dtype)
        values[np.arange(steps) < self.lengths[:, None]] = self.numbers
        return values


class Text(DataModule):
    """`(T,)` tokens for each example, -1 after its end. The vocabulary is fitted only to the train split.

    Texts that do not fit in memory, and their tokens, are memory-mapped from files.

    Args:
        path: a text, JSONL, CSV or Parquet file, a folder of them (names with train, val or test are splits), or a
            hub id.
        data_dir: a folder in which relative paths are searched too.
        field: the field of JSONL, or the column of a table or hub set, that contains the text.
        label: the field or column that contains its label; null for none.
        unit: `line`, one line of a file or one row of another source, without trailing blanks, followed by an end
            token; or `window`, `max_length` characters of running text, without an end token.
        max_length: the largest T, including the end of a line; for windows, their number of characters.
        longer: the treatment of longer lines: `cut` keeps their beginnings, without an end token; `drop` leaves out
            lines of `max_length` characters and more.
        limit: the largest number of examples of each split of the source, drawn with `split_seed`; null for all.
        tokens, vocabulary: see `Tokens.fit`.
        encoding: the encoding of text, JSONL and CSV files.
        name: the name of the data set; that of the file if null.
        batch_size, val_fraction, test_fraction, split_seed, seed, normal, corruption: see `DataModule`.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        field: str,
        label: str | None,
        unit: Unit,
        max_length: Annotated[int, Ge(2)],
        longer: Literal["cut", "drop"],
        limit: Annotated[int, Gt(0)] | None,
        tokens: TokenKind,
        vocabulary: Annotated[int, Ge(3)],
        encoding: str,
        name: str | None,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize=None, normal=normal, **settings)
        if not path:
            raise ConfigError("data.path needs a text or JSONL file, a folder of them or a hub id (owner/name)")
        self.path, self.data_dir = path, Path(data_dir)
        self.name: str = name or Path(path).stem
        self.field, self.label, self.encoding = field, label, encoding
        self.unit, self.max_length, self.longer, self.limit = unit, max_length, longer, limit
        self.token_kind: TokenKind = tokens
        self.vocabulary = vocabulary
        self._pieces: pa.Table | None = None  # until they are encoded
        self._counts: dict[str, int] = {}  # of the examples of each split of the source, before some are drawn
        self._too_long = 0  # texts with more tokens than the model's sequences
        self._large = False  # whether they are more than memory should hold
        self._scratch = Scratch(self.data_dir / ".vaelab")
        self._tokens: Tokens | None = None

    def prepare_as(self, folder: Path) -> None:
        """With the tokens of a trained model, in sequences as long as its were."""
        super().prepare_as(folder)
        file = folder / TOKENS_FILE
        if not file.is_file():
            note(f"{file} does not exist, so the tokens are fitted to this train split, and may differ")
            return
        try:
            self._tokens = Tokens.from_json(file.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing more special
            raise DataError(f"{file}: is broken ({error})") from error

    @property
    def tokens(self) -> Tokens:
        """How texts are encoded; after `setup`."""
        if self._tokens is None:
            raise RuntimeError("call setup() before asking for the tokens")
        return self._tokens

    def load(self) -> Examples:
        """Read all texts; they are not encoded yet."""
        source = self._read()
        self._large = any(texts.large for texts in source.values())
        names: dict[str | None, int] = {None: -1}  # of labels, numbered as they come
        tables = {}
        for split, texts in source.items():
            pieces = self._kept(SCHEMA, to_arrow(self._cut(texts), names))
            rows = self._drawn_of(split, pieces.num_rows)
            tables[split] = pieces if rows is None else pieces.take(rows.numpy())
        self._pieces = pa.concat_tables(tables.values())
        splits, first = {}, 0
        for split, table in tables.items():
            splits[split] = range(first, first + table.num_rows)
            first += table.num_rows
        if not first:
            raise DataError(f"data.path={self.path}: no line in it is shorter than data.max_length={self.max_length}")
        if set(splits) == {"train"} and first < NAMELESS and not self.all_as_test:
            remedy = "data.unit=window cuts running text into examples" if self.unit == "line" else "add text"
            raise DataError(
                f"data.path={self.path}: its {first} example(s) are too few for train, val and test splits; {remedy}"
            )
        label, classes = self._classes(names)
        spec = DataSpec(self.name, "tokens", (1,), "categories", classes=classes)
        return Examples(torch.zeros(len(label), 1, dtype=torch.uint8), label, spec, splits)

    def _read(self) -> dict[str, Texts]:
        scratch = self._scratch
        found = read_texts(
            self.path, self.data_dir, self.field, self.label, self.encoding, scratch, self.storage, self.all_as_test
        )
        return found

    def _classes(self, names: dict[str | None, int]) -> tuple[Tensor, tuple[str, ...]]:
        """Labels by the places of their names in the alphabet, of those that examples have."""
        assert self._pieces is not None
        numbers = torch.tensor(self._pieces["label"].to_numpy())
        there = set(numbers.unique().tolist())
        classes = tuple(sorted(name for name, number in names.items() if name is not None and number in there))
        if len(classes) > MOST_CLASSES:
            raise ConfigError(f"data.label={self.label}: has {len(classes)} distinct values; a label is a class")
        places = torch.full((len(names),), -1)  # the last for those without a label
        for place, name in enumerate(classes):
            places[names[name]] = place
        return places[numbers], classes

    def _kept(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        return self._scratch.table(schema, batches) if self._large else pa.Table.from_batches(batches, schema)

    def _cut(self, texts: Texts) -> Iterator[Piece]:
        pieces = cut(texts, self.unit, self.max_length)
        if self.unit == "line" and self.longer == "drop":
            return (piece for piece in pieces if len(piece[0]) < self.max_length)
        return pieces

    def _drawn_of(self, split: str, count: int) -> Tensor | None:
        """Which of the `count` examples of a split are kept where there is a `limit`; None for all."""
        self._counts[split] = count
        if self.limit is None or count <= self.limit or self.all_as_test:
            return None
        return (
            torch.randperm(count, generator=torch.Generator().manual_seed(self.split_seed))[: self.limit].sort().values
        )

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """See `DataModule.origins`: `file`; `line`, from 1, or `row`; of windows `first_character`.

        The files are read once more, which keeps millions of places out of memory.
        """
        with suppress(DataError):
            return self._found_again(dict.fromkeys(rows.tolist()), rows)
        return {}

    def _found_again(self, wanted: dict[int, Any], rows: Tensor) -> dict[str, list[Any]]:
        first = 0
        for split, texts in self._read().items():
            kept = self._drawn_of(split, self._counts.get(split, 0))
            places = {int(row): first + place for place, row in enumerate(kept)} if kept is not None else None
            for row, piece in enumerate(self._cut(texts)):
                example = first + row if places is None else places.get(row, -1)
                if example in wanted:
                    wanted[example] = _place(piece, texts)
            first += self._counts.get(split, 0) if kept is None else len(kept)
        found = [wanted[row] or {} for row in rows.tolist()]
        names = [name for name in ("file", "line", "row", "first_character") if any(name in place for place in found)]
        return {name: [place.get(name) for place in found] for name in names}

    def fitted(self, examples: Examples, train: Tensor) -> Examples:
        """Find the tokens of train, and encode all."""
        pieces, self._pieces = self._pieces, None
        assert pieces is not None
        chosen = np.zeros(pieces.num_rows, bool)
        chosen[train.numpy()] = True
        if self._tokens is None:
            if self.all_as_test:
                raise DataError(f"{self.path}: the run has no {TOKENS_FILE}, which defines its tokens")
            in_train = compress(chain.from_iterable(from_arrow(pieces)), chosen)
            self._tokens = Tokens.fit(in_train, self.token_kind, self.vocabulary)
        end = self._tokens.end if self.unit == "line" else None
        kind = np.int16 if self._tokens.end < 2**15 else np.int32
        schema = pa.schema([("tokens", pa.large_list(pa.from_numpy_dtype(kind)))])
        encoded = self._kept(
            schema,
            (
                pa.record_batch([self._encoded(texts, end, kind).to_arrow()], schema=schema)
                for texts in from_arrow(pieces)
            ),
        )
        del pieces
        lengths = pc.min_max(pc.list_value_length(encoded["tokens"])).as_py()
        steps = self._trained.shape[-1] if self._trained else lengths["max"]
        gaps = self._has_missing(lengths["min"] < steps)
        if self._too_long:
            note(
                f"{self._too_long} of {encoded.num_rows} texts are truncated: the model has sequences of {steps} tokens"
            )
        shape = (encoded.num_rows, steps)
        padded = (Encoded.from_arrow(batch.column(0)).padded(steps) for batch in encoded.to_batches())
        values, file = self._scratch.kept(padded, shape, kind, self.storage)
        del encoded
        pa.default_memory_pool().release_unused()
        characters = self._tokens.characters if end is not None else self._tokens.characters[:-1]
        spec = DataSpec(
            self.name,
            "tokens",
            (steps,),
            "categories",
            levels=len(characters),
            classes=examples.spec.classes,
            has_missing=gaps,
            end=end,
            characters=characters,
            vocabulary=self._tokens.digest,
        )
        return Examples(values, examples.label, spec, examples.splits, file)

    def _encoded(self, texts: Sequence[str], end: int | None, kind: DTypeLike) -> Encoded:
        rows = self.tokens.encode(texts)
        numbers, lengths = np.concatenate(rows), np.array([len(row) for row in rows])
        if end is not None:
            numbers, lengths = np.insert(numbers, lengths.cumsum(), end), lengths + 1
        limits = [self.max_length] if end is not None else []
        if self._trained is not None:
            longest = self._trained.shape[-1]
            asked = [] if self.all_as_test else limits  # new texts have no limit but that of the model
            self._too_long += int(np.count_nonzero(lengths.clip(max=min([*asked, lengths.max()])) > longest))
            limits.append(longest)
        if limits:
            steps = np.arange(len(numbers)) - np.repeat(lengths.cumsum() - lengths, lengths)
            numbers, lengths = numbers[steps < min(limits)], lengths.clip(max=min(limits))
        return Encoded(numbers.astype(kind), lengths)

    def _has_missing(self, shorter: bool) -> bool:
        """Whether sequences may be shorter than the longest: as the model was trained with, if there is one."""
        if self._trained is None or self._trained.has_missing == shorter:
            return shorter
        if shorter:
            raise DataError(
                f"{self.path}: has texts of fewer than {self._trained.shape[-1]} tokens, and the model was trained on "
                "texts of one length"
            )
        return True

    def texts(self, values: Tensor) -> list[str]:
        """Each example as one line; a line feed within it is shown as a return sign, a masked token as a box."""
        return [WITHHELD.join(self._decoded_parts(row)).replace("\n", LINE_FEED) for row in values.tolist()]

    def written(self, stem: str, values: Tensor, generated: bool = True) -> dict[str, bytes | str]:
        """Lines as `<stem>.txt`; windows, which hold several, as `<stem>.jsonl`."""
        texts = self._decoded(values)
        if self.unit == "line" and not any("\n" in text for text in texts):
            return {f"{stem}.txt": "".join(f"{text}\n" for text in texts)}
        return {f"{stem}.jsonl": "".join(json.dumps({self.field: t}, ensure_ascii=False) + "\n" for t in texts)}

    def reading(self) -> dict[str, Any] | None:
        """See `DataModule.reading`; tokens are in `tokenizer.json`."""
        cut = {"unit": self.unit, "max_length": self.max_length, "longer": self.longer}
        return {"reader": "text", "field": self.field, "label": self.label, "encoding": self.encoding} | cut

    def files(self) -> dict[str, bytes | str]:
        """How new texts are to be encoded."""
        return {f"model/{TOKENS_FILE}": self.tokens.to_json() + "\n"}

    def _decoded_parts(self, row: list[int]) -> list[str]:
        """What stands between masked tokens."""
        gaps = [place for place, token in enumerate(row) if token == MASKED]
        edges = zip([-1, *gaps], [*gaps, len(row)], strict=True)
        return [self.tokens.decode(row[before + 1 : after]) for before, after in edges]

    def _decoded(self, values: Tensor) -> list[str]:
        return [self.tokens.decode(row) for row in values.tolist()]


def _place(piece: Piece, texts: Texts) -> dict[str, Any]:
    """Where a piece stands, by the names of columns."""
    found: dict[str, Any] = {}
    if piece.source is not None:
        if texts.names:
            found["file"] = texts.names[piece.source]
        if piece.number is not None:
            found[texts.numbered[piece.source]] = piece.number
    return found if piece.first is None else found | {"first_character": piece.first}
