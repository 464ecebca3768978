"""Texts: lines of files, and strings."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vaelab.atomic_write import write_file
from vaelab.core.batch import Batch
from vaelab.core.spec import PADDING
from vaelab.data.text.text import Text
from vaelab.errors import DataError
from vaelab.notes import note
from vaelab.trained.adapter import AT_ONCE, Adapter, Part, batches_of


class Texts(Adapter):
    """See `Adapter`."""

    suffixes = (".txt", ".jsonl", ".csv", ".csv.gz", ".parquet")
    what = "a text"
    holds = "a string, a list of strings, or a path (pathlib.Path) of a text, JSONL, CSV or Parquet file"

    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Read all examples of a file at a time: its lines, its rows, or its windows."""
        for file, stem in files:
            with TemporaryDirectory(prefix="vaelab-") as scratch:
                yield self._of_file(file, stem, Path(scratch))

    def _of_file(self, file: Path, stem: Path, scratch: Path) -> Part:
        data = cast(Text, self.reading.module(file, scratch))
        data.prepare_data()
        data.setup()

        def batches(device: torch.device) -> Iterator[Batch]:
            return data.batches("test", device, AT_ONCE)

        rows = data.split["test"]
        columns = data.origins(rows) or {"line": [row + 1 for row in rows.tolist()]}
        return Part(len(rows), batches, columns, stem, (file, False))

    def take(self, things: Any) -> Part:
        """Prepare strings, or the file that a `Path` names."""
        if isinstance(things, Path):
            if not things.is_file():
                raise DataError(f"{things}: no such file")
            return self._of_file(things, Path(things.stem), self.scratch)
        texts = [things] if isinstance(things, str) else list(things) if isinstance(things, Iterable) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{type(things).__name__} was given; give {self.holds}")
        names = {"text": list(range(len(texts)))}
        return Part(len(texts), batches_of(self._encoded(texts)), names, Path("texts"), (None, isinstance(things, str)))

    def _encoded(self, texts: list[str]) -> Tensor:
        """Encode texts to tokens `(N, T)`, including the end of each line, with -1 after it."""
        steps, end = self.spec.shape[-1], self.spec.end
        rows = [np.asarray(row, np.int64) for row in self._empty.tokens.encode(texts)]
        rows = [row if end is None else np.append(row, end) for row in rows]
        long = sum(len(row) > steps for row in rows)
        if long:
            note(f"{long} of {len(rows)} texts are truncated: the model has sequences of {steps} tokens")
        short = [number for number, row in enumerate(rows) if len(row) < steps]
        if short and not self.spec.has_missing:
            raise DataError(
                f"text {short[0]}: has {len(rows[short[0]])} tokens; the model takes texts of at least {steps} tokens"
            )
        if empty := [number for number, row in enumerate(rows) if not len(row)]:
            raise DataError(f"text {empty[0]}: is empty")
        values = torch.full((len(rows), steps), PADDING)
        for place, row in zip(values, rows, strict=True):
            place[: min(steps, len(row))] = torch.from_numpy(row[:steps])
        return values

    @cached_property
    def _empty(self) -> Text:
        """Return the tokens of the model, without texts."""
        return cast(Text, self.reading.module(Path("no text"), Path("no folder")))

    def decoded(self, values: Tensor) -> list[str]:
        """Decode tokens `(N, T)` to strings."""
        return [self._empty.tokens.decode([t for t in row if t >= 0]) for row in values.tolist()]

    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Return a list of strings; one string if one was given."""
        texts = self.decoded(values)
        return texts[0] if part is not None and part.origin[1] else texts

    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write `<name>.txt` with one text per line, or `<name>.jsonl` if texts have several lines."""
        stem = str(part.stem)
        return self._written(folder, values, stem)

    def write_samples(self, folder: Path, values: Tensor, stem: str = "samples", drawn: bool = True) -> list[Path]:
        """Write `samples.txt`, or `samples.jsonl` if texts have several lines."""
        return self._written(folder, values, stem)

    def _written(self, folder: Path, values: Tensor, stem: str) -> list[Path]:
        texts, field = self.decoded(values), self.reading.settings["field"]
        lines = self.spec.end is not None and not any("\n" in text for text in texts)
        path = folder / f"{stem}.{'txt' if lines else 'jsonl'}"
        rows = texts if lines else [json.dumps({field: text}, ensure_ascii=False) for text in texts]
        write_file(path, "".join(f"{row}\n" for row in rows))
        return [path]
