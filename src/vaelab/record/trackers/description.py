"""The name, group and tags of a run, the same in every tracker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.record.sweep import sweep_of
from vaelab.secrets import redact_override, redact_text


@dataclass(frozen=True)
class Description:
    """The description of a run, without secrets. Settings of a tracker take precedence over it.

    Attributes:
        name: identifies the run: for a job of a sweep the overrides that vary, else its start time.
        group: the sweep or the experiment; None for a run that belongs to neither.
        task: the task, used as the job type.
        tags: the tags of the run.
        notes: a note by the user.
        sweep: the folder of its sweep; None if it belongs to none.
        marks: tags that cannot be overridden, such as `rerun`.
    """

    name: str = "run"
    group: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    sweep: Path | None = None
    marks: tuple[str, ...] = ()


def describe(
    folder: Path, choices: Mapping[str, str], tags: Sequence[Any] | None = None, notes: str | None = None
) -> Description:
    """Return the description of the run in a folder, from its chosen options and its sweep."""
    kind = f"{choices.get('data')}-{choices.get('model')}"
    known = {
        "task": choices.get("task"),
        "tags": tuple(redact_text(str(tag)) for tag in tags or ()),
        "notes": redact_text(notes) if notes else None,
    }
    found = sweep_of(folder)
    if found is None:
        return Description(f"{kind} {folder.name}", choices.get("experiment"), **known)  # type: ignore[arg-type]
    sweep, job = found
    words = [redact_override(word) for word in sweep.varying(job)]
    alike = [other for other in sweep.jobs if other.overrides == job.overrides]
    if not words or len(alike) > 1:
        words.append(f"#{job.number}")
    group = f"sweep {sweep.folder.name}"
    return Description(" ".join([kind, *words]), group, sweep=sweep.folder, **known)  # type: ignore[arg-type]
