"""What data a model was trained on, so that no example of its train split is ever taken for held-out data."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vaelab.config.recorded import is_plain, written
from vaelab.data.module import DataModule
from vaelab.errors import CheckpointError, ConfigError, DataError
from vaelab.secrets import redact

SOURCE = ("_target_", "path", "name")  # with `data_dir`, where the data come from
# What decides which rows there are and which split each is in; all else says how an example is prepared.
SPLITTING = (
    "split_seed",
    "val_fraction",
    "test_fraction",
    "normal",
    "limit",
    "unit",
    "window",
    "stride",
    "steps",
    "hop",
)
# `label_as_column` is settled for a new model, and kept beside it afterwards. `labelled` hides labels of train alone.
NEITHER = ("corruption", "batch_size", "seed", "data_dir", "label_as_column", "labelled")

Use = Literal["training", "resume", "evaluation"]


@dataclass(frozen=True)
class TrainedOn:
    """The data of a run. Digests stand for what need not be shared with a model, such as names of folders.

    Attributes:
        source: a digest of which data they are.
        folder: a digest of where these lie.
        form: a digest of how an example is prepared.
        settings: of the `data` group, that decide on the splits.
        examples: N; 0 if it is not known.
        content: a digest of the stored values, independent of the split; empty if it is not known.
        splits: a digest of the rows of each.
        before: of the weights that the run began with, what those were trained on; the newest first.
    """

    source: str
    folder: str
    form: str
    settings: dict[str, Any]
    examples: int = 0
    content: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    before: tuple["TrainedOn", ...] = ()

    @classmethod
    def from_data(cls, data: DataModule, node: dict[str, Any], before: "TrainedOn | None" = None) -> "TrainedOn":
        """Of data that are loaded.

        Args:
            data: after `setup`.
            node: of the config, that they were built from.
            before: what the weights to start from were trained on.
        """
        earlier = () if before is None else (before, *before.before)
        return cls(
            **_digests(node),
            examples=data.examples,
            content=data.content(),
            splits=data.split_digests(),
            before=earlier,
        )

    @classmethod
    def from_settings(cls, node: dict[str, Any]) -> "TrainedOn":
        """Of a run that is older than this record: its config is all that is known."""
        return cls(**_digests(node))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, plain: Any) -> "TrainedOn":
        """The inverse of `to_json`.

        Raises:
            CheckpointError: it is none.
        """
        try:
            found = cls(**{**plain, "before": tuple(cls.from_json(part) for part in plain["before"])})
            kinds = [isinstance(part, dict) for part in (found.settings, found.splits)]
            kinds += [isinstance(part, str) for part in (found.source, found.folder, found.form, found.content)]
            if not all(kinds):
                raise TypeError
        except (TypeError, KeyError, RecursionError) as error:
            raise CheckpointError("what a checkpoint says of the data that it was trained on is broken") from error
        return found

    def is_elsewhere(self, node: dict[str, Any]) -> bool:
        """Whether a config node of data names other data; in which folder they lie does not matter."""
        return self.source != _digests(node)["source"]

    def allows(self, now: "TrainedOn", use: Use) -> str | None:
        """Make sure that no example of the train split is held out now.

        Args:
            now: the data at hand and their split.
            use: what they are for.

        Returns:
            A note for the user where that cannot be told, of new training from old weights.

        Raises:
            ConfigError, DataError: the same data in another split, or data that have changed; says what to type.
        """
        for record in (self, *(self.before if use != "resume" else ())):
            if record.content and record.content == now.content and record.splits != now.splits:
                raise ConfigError(record._other_split(now))
        elsewhere = (self.source, self.folder) != (now.source, now.folder)
        if self.content == now.content or (elsewhere and use != "resume"):
            return None
        if use == "training":
            return (
                "the weights were trained on data of the same name, in another form or split; examples that are held "
                "out now may be among them"
            )
        if self._changed(now):
            raise ConfigError(self._other_split(now))
        same_rows = (self.splits, self.examples) == (now.splits, now.examples)
        if (not self.content and not (use == "resume" and self.source != now.source)) or (
            same_rows and self.form != now.form
        ):
            return None
        was = f"{self.examples:,} examples then, {now.examples:,} now" if self.content else "as far as is known"
        remedy = "put the old data back" if use == "resume" else "later data need a path of their own: data.path=..."
        raise DataError(
            f"data: are not those that the model was trained on ({was}), and nobody can tell which of them it was "
            f"trained on; {remedy}"
        )

    def _changed(self, now: "TrainedOn") -> list[str]:
        both = self.settings.keys() & now.settings.keys()
        return [key for key in SPLITTING if key in both and self.settings[key] != now.settings[key]]

    def _other_split(self, now: "TrainedOn") -> str:
        changed = [key for key in self._changed(now) if is_plain(self.settings[key])]
        there, here = (_words(changed, record.settings) for record in (self, now))
        how, remedy = (f"with {there}", f"; type {there}") if changed else ("in another way", "")
        return (
            f"{here or 'data'}: the model was trained on these data, split {how}; in another split it would be tested "
            f"on examples that it was trained on{remedy}"
        )


def _words(keys: Iterable[str], settings: dict[str, Any]) -> str:
    return " ".join(written(f"data.{key}", settings[key]) for key in keys)


def _digests(node: dict[str, Any]) -> dict[str, Any]:
    node = redact(node)

    def digest(keys: Iterable[str]) -> str:
        text = json.dumps({key: node.get(key) for key in keys}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    form = node.keys() - {*SOURCE, *SPLITTING, *NEITHER}
    settings = {key: node[key] for key in SPLITTING if key in node}
    return {"source": digest(SOURCE), "folder": digest(["data_dir"]), "form": digest(form), "settings": settings}
