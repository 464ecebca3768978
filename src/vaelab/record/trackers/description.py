"""What a run is called and belongs to, the same in every tracker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.record.sweep import sweep_of
from vaelab.secrets import redact_override, redact_text


@dataclass(frozen=True)
class Description:
    """What a run is called, without secrets. What an option of a tracker says of it wins.

    Attributes:
        name: tells the run from all others: of a job of a sweep what varies, else the time at which it began.
        group: the sweep, or the experiment; None for a run that belongs to neither.
        task: the kind of job.
        tags: words to find it by.
        notes: a sentence of whoever started it.
        sweep: the folder of the sweep, of whose jobs it is one.
        marks: tags that it has whatever an option says, such as `rerun`.
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
    """The description of the run in a folder, from the options that were chosen and the sweep that it is a job of."""
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
