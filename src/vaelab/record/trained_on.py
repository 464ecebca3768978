"""The record of a model's training data, so that no example of its train split is ever used as held-out data."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vaelab.config.recorded import is_plain, written
from vaelab.data.module import DataModule
from vaelab.errors import CheckpointError, ConfigError, DataError
from vaelab.secrets import redact

SOURCE = ("_target_", "path", "name")  # together with `data_dir`, the source of the data
# Settings that determine the rows and their splits; all others determine the preprocessing of an example.
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
# `label_as_column` is set for a new model and stored with it. `labelled` hides labels only in the train split.
NEITHER = ("corruption", "batch_size", "seed", "data_dir", "label_as_column", "labelled")

Use = Literal["training", "resume", "evaluation"]


@dataclass(frozen=True)
class TrainedOn:
    """The data of a run. Digests replace what need not be shared with a model, such as names of folders.

    Attributes:
        source: a digest of the identity of the data.
        folder: a digest of their folder.
        form: a digest of the preprocessing settings.
        settings: settings of the `data` group that determine the splits.
        examples: the number N of examples; 0 if unknown.
        content: a digest of the stored values, independent of the split; empty if unknown.
        splits: a digest of the rows of each split.
        before: the records of the weights that the run started from, the newest first.
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
        """Make the record of loaded data.

        Args:
            data: the data, after `setup`.
            node: the config node that they were built from.
            before: the training data of the weights to start from.
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
        """Make the record of an older run without one: only its config is known."""
        return cls(**_digests(node))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, plain: Any) -> "TrainedOn":
        """The inverse of `to_json`.

        Raises:
            CheckpointError: the data have another form.
        """
        try:
            found = cls(**{**plain, "before": tuple(cls.from_json(part) for part in plain["before"])})
            kinds = [isinstance(part, dict) for part in (found.settings, found.splits)]
            kinds += [isinstance(part, str) for part in (found.source, found.folder, found.form, found.content)]
            if not all(kinds):
                raise TypeError
        except (TypeError, KeyError, RecursionError) as error:
            raise CheckpointError("the record of a checkpoint's training data is broken") from error
        return found

    def is_elsewhere(self, node: dict[str, Any]) -> bool:
        """Whether a config node names other data; their folder does not matter."""
        return self.source != _digests(node)["source"]

    def allows(self, now: "TrainedOn", use: Use) -> str | None:
        """Check that no example of the train split is held out now.

        Args:
            now: the current data and their split.
            use: what they are used for.

        Returns:
            A note for the user if this cannot be checked, for new training from old weights; else None.

        Raises:
            ConfigError, DataError: the same data have another split, or the data changed; the message has a remedy.
        """
        for record in (self, *(self.before if use != "resume" else ())):
            if record.content and record.content == now.content and record.splits != now.splits:
                raise ConfigError(record._other_split(now))
        elsewhere = (self.source, self.folder) != (now.source, now.folder)
        if self.content == now.content or (elsewhere and use != "resume"):
            return None
        if use == "training":
            return (
                "the weights were trained on data with the same name, but another form or split; examples that are "
                "held out now may have been used for training"
            )
        if self._changed(now):
            raise ConfigError(self._other_split(now))
        same_rows = (self.splits, self.examples) == (now.splits, now.examples)
        if (not self.content and not (use == "resume" and self.source != now.source)) or (
            same_rows and self.form != now.form
        ):
            return None
        was = f"{self.examples:,} examples then, {now.examples:,} now" if self.content else "according to its record"
        remedy = "restore the old data" if use == "resume" else "name later data by their own path: data.path=..."
        raise DataError(
            f"data: are not those that the model was trained on ({was}), so its train examples are unknown; {remedy}"
        )

    def _changed(self, now: "TrainedOn") -> list[str]:
        both = self.settings.keys() & now.settings.keys()
        return [key for key in SPLITTING if key in both and self.settings[key] != now.settings[key]]

    def _other_split(self, now: "TrainedOn") -> str:
        changed = [key for key in self._changed(now) if is_plain(self.settings[key])]
        there, here = (_words(changed, record.settings) for record in (self, now))
        how, remedy = (f"with {there}", f"; type {there}") if changed else ("in another way", "")
        return (
            f"{here or 'data'}: the model was trained on these data, split {how}; with this split it would be tested "
            f"on train examples{remedy}"
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
