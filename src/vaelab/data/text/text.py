"""Text: lines, rows or windows of it, as sequences of characters or byte pairs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Unpack

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor

from vaelab.data.examples import Examples
from vaelab.data.module import DataModule, DataSettings
from vaelab.data.scratch import Scratch
from vaelab.data.spec import HIDDEN, PADDING, DataSpec
from vaelab.data.text.files import Texts, read_texts
from vaelab.data.text.tokens import TOKENS_FILE, TokenKind, Tokens
from vaelab.errors import ConfigError, DataError

LINE_FEED = "\u23ce"  # how one within an example is shown
WITHHELD = "\u25a1"
AT_ONCE = 16_384  # texts encoded
MOST_CLASSES = 1000  # distinct labels
NAMELESS = 3  # examples that a source needs for three splits


class Encoded(NamedTuple):
    """The tokens of some texts, one after the other, and how many each has."""

    numbers: NDArray[Any]
    lengths: NDArray[np.int64]

    def padded(self, steps: int) -> NDArray[Any]:
        """`(N, steps)`."""
        values = np.full((len(self.lengths), steps), PADDING, self.numbers.dtype)
        values[np.arange(steps) < self.lengths[:, None]] = self.numbers
        return values


class Text(DataModule):
    """`(T,)` tokens for each example, -1 after its end. Tokens are found in the train split alone.

    Args:
        path: a text, JSONL, CSV or Parquet file, a folder of them (names with train, val or test are splits), or a
            hub id.
        data_dir: where relative paths are looked for too.
        field: of JSONL, or column of a table or hub set, that holds the text.
        label: the one that holds its label; null for none.
        unit: `line`, one line of a file or one row of anything else, without blanks at its end, then a token that
            ends it; or `window`, `max_length` characters of the running text, which nothing ends.
        max_length: T at most, the end of a line included; of a window, its characters.
        longer: what becomes of longer lines: `cut` keeps their beginnings, which then have no end; `drop` leaves out
            lines of `max_length` characters and more.
        limit: examples of each split of the source, drawn by `split_seed`; null for all.
        tokens, vocabulary: see `Tokens.fit`.
        encoding: of text, JSONL and CSV files.
        name: of the data set; the file's if null.
        batch_size, val_fraction, test_fraction, split_seed, seed, normal, corruption: see `DataModule`.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        field: str = "text",
        label: str | None = None,
        unit: Literal["line", "window"] = "line",
        max_length: Annotated[int, Ge(2)] = 128,
        longer: Literal["cut", "drop"] = "cut",
        limit: Annotated[int, Gt(0)] | None = None,
        tokens: TokenKind = "characters",
        vocabulary: Annotated[int, Ge(3)] = 2000,
        encoding: str = "utf-8",
        name: str | None = None,
        normal: list[str | int] | None = None,
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
        self._texts: list[str] = []  # until they are encoded
        self._scratch = Scratch(self.data_dir / ".vaelab")
        self._tokens: Tokens | None = None

    @property
    def tokens(self) -> Tokens:
        """How texts are encoded; after `setup`."""
        if self._tokens is None:
            raise RuntimeError("call setup() before asking for the tokens")
        return self._tokens

    def load(self) -> Examples:
        """Read all texts; they are not encoded yet."""
        source = read_texts(self.path, self.data_dir, self.field, self.label, self.encoding)
        labels: list[str | None] = []
        parts = {}
        for split, texts in source.items():
            pieces = self._pieces(texts)
            first = len(self._texts)
            self._texts += [piece for piece, _ in pieces]
            labels += [label for _, label in pieces]
            parts[split] = range(first, len(self._texts))
        if set(parts) == {"train"} and len(self._texts) < NAMELESS:
            remedy = "data.unit=window cuts running text into examples" if self.unit == "line" else "add text"
            raise DataError(
                f"data.path={self.path}: {len(self._texts)} example(s) in it are too few for a train, a val and a "
                f"test split; {remedy}"
            )
        classes = tuple(sorted({label for label in labels if label is not None}))
        if len(classes) > MOST_CLASSES:
            raise ConfigError(f"data.label={self.label}: has {len(classes)} distinct values; a label is a class")
        numbers = {name: number for number, name in enumerate(classes)}
        label = torch.tensor([-1 if one is None else numbers[one] for one in labels])
        spec = DataSpec(self.name, "tokens", (1,), "categories", classes=classes)
        return Examples(torch.zeros(len(label), 1, dtype=torch.uint8), label, spec, parts)

    def _pieces(self, texts: Texts) -> list[tuple[str, str | None]]:
        """The examples of a split and their labels, without empty ones."""
        if self.unit == "line" and not texts.rows:
            pieces: list[tuple[str, str | None]] = [
                (line.rstrip(), None) for text in texts.documents for line in text.split("\n")
            ]
        elif self.unit == "line":
            pieces = [(text.rstrip(), label) for text, label in zip(texts.documents, texts.labels, strict=True)]
        else:
            joined = ["\n".join(texts.documents)] if texts.rows and self.label is None else texts.documents
            labels = texts.labels if len(joined) == len(texts.labels) else [None]
            starts = [range(0, len(text), self.max_length) for text in joined]
            pieces = [
                (text[start : start + self.max_length], label)
                for text, label, begun in zip(joined, labels, starts, strict=True)
                for start in begun
            ]
        kept = [(text, label) for text, label in pieces if text.strip()]
        if self.unit == "line" and self.longer == "drop":
            kept = [(text, label) for text, label in kept if len(text) < self.max_length]
        if self.limit is None or len(kept) <= self.limit:
            return kept
        drawn = torch.randperm(len(kept), generator=torch.Generator().manual_seed(self.split_seed))[: self.limit]
        return [kept[place] for place in drawn.sort().values.tolist()]

    def fitted(self, examples: Examples, train: Tensor) -> Examples:
        """Find the tokens of train, and encode all."""
        self._tokens = Tokens.fit([self._texts[row] for row in train.tolist()], self.token_kind, self.vocabulary)
        texts, self._texts = self._texts, []
        end = self._tokens.end if self.unit == "line" else None
        encoded = [self._encoded(texts[first : first + AT_ONCE], end) for first in range(0, len(texts), AT_ONCE)]
        steps = max(int(some.lengths.max()) for some in encoded)
        padded, shape = (some.padded(steps) for some in encoded), (len(texts), steps)
        values, file = self._scratch.kept(padded, shape, encoded[0].numbers.dtype, self.storage)
        characters = self._tokens.characters if end is not None else self._tokens.characters[:-1]
        spec = DataSpec(
            self.name,
            "tokens",
            (steps,),
            "categories",
            levels=len(characters),
            classes=examples.spec.classes,
            gaps=any(int(some.lengths.min()) < steps for some in encoded),
            end=end,
            characters=characters,
            vocabulary=self._tokens.digest,
        )
        return Examples(values, examples.label, spec, examples.parts, file)

    def _encoded(self, texts: Sequence[str], end: int | None) -> Encoded:
        rows = self.tokens.encode(texts)
        numbers, lengths = np.concatenate(rows), np.array([len(row) for row in rows])
        if end is not None:
            numbers, lengths = np.insert(numbers, lengths.cumsum(), end), lengths + 1
            steps = np.arange(len(numbers)) - np.repeat(lengths.cumsum() - lengths, lengths)
            numbers, lengths = numbers[steps < self.max_length], lengths.clip(max=self.max_length)
        return Encoded(numbers.astype(np.int16 if self.tokens.end < 2**15 else np.int32), lengths)

    def texts(self, values: Tensor) -> list[str]:
        """Each example as one line; a line feed within it is shown as a return sign, a withheld token as a box."""
        return [WITHHELD.join(self._decoded_parts(row)).replace("\n", LINE_FEED) for row in values.tolist()]

    def written(self, stem: str, values: Tensor) -> dict[str, bytes | str]:
        """Lines as `<stem>.txt`; windows, which hold several, as `<stem>.jsonl`."""
        texts = self._decoded(values)
        if self.unit == "line" and not any("\n" in text for text in texts):
            return {f"{stem}.txt": "".join(f"{text}\n" for text in texts)}
        return {f"{stem}.jsonl": "".join(json.dumps({self.field: t}, ensure_ascii=False) + "\n" for t in texts)}

    def files(self) -> dict[str, bytes | str]:
        """How new texts are to be encoded."""
        return {f"model/{TOKENS_FILE}": self.tokens.to_json() + "\n"}

    def _decoded_parts(self, row: list[int]) -> list[str]:
        """What stands between withheld tokens."""
        gaps = [place for place, token in enumerate(row) if token == HIDDEN]
        edges = zip([-1, *gaps], [*gaps, len(row)], strict=True)
        return [self.tokens.decode(row[before + 1 : after]) for before, after in edges]

    def _decoded(self, values: Tensor) -> list[str]:
        return [self.tokens.decode(row) for row in values.tolist()]
