"""Differences between the records of two runs, the likeliest cause of different results first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from vaelab.compare.rows import PLACES, SILENT, within
from vaelab.config.recorded import config_place
from vaelab.errors import printable
from vaelab.rerun.commits import apart, short
from vaelab.rerun.compared_run import LONGEST, ComparedRun, at
from vaelab.runs.contents import Contents
from vaelab.runs.listed import text

NOTHING = "nothing"
NO_NUMBERS = (*SILENT, "notes")  # keys that do not affect results
_DIGITS = 8  # digits of a digest that are shown
_OF_DATA = {
    "examples": ("examples",), "stored values": ("content",), "train split": ("splits", "train"),
    "validation split": ("splits", "val"), "test split": ("splits", "test"), "which data": ("source",),
    "how they are prepared": ("form",),
}  # fmt: skip
_OF_MACHINE = {
    "processor": ("machine", "cpu"), "instructions": ("machine", "instructions"), "threads": ("threads",),
    "variables for threads": ("machine", "thread_variables"), "device": ("device",), "CUDA": ("machine", "cuda"),
    "cuDNN": ("machine", "cudnn"), "processors": ("machine", "cpus"), "operating system": ("platform",),
}  # fmt: skip
_OF_GPU = ("CUDA", "cuDNN")  # recorded only by runs on a GPU
_FILE = re.compile(r"^diff --git a/.+ b/(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Difference:
    """A difference between the records of two runs.

    Attributes:
        kind: config, code, keys (that only one version has), packages, Python, machine, devices, data, start,
            precision, or course (how the run was executed, such as in several parts).
        what: a key or a short description.
        then: the value in the first run.
        now: the value in the second run.
        more: additional information.
        changes_numbers: False if it does not affect results, such as a tracker.
    """

    kind: str
    what: str
    then: str
    now: str
    more: str = ""
    changes_numbers: bool = True


def differences(then: ComparedRun, now: ComparedRun) -> list[Difference]:
    """Return all differences; those that do not affect results come last."""
    kinds = (_config, _code, _keys, _packages, _python, _machine, _devices, _data, _start, _precision, _course)
    found = list(chain.from_iterable(kind(then, now) for kind in kinds))
    return [*(one for one in found if one.changes_numbers), *(one for one in found if not one.changes_numbers)]


def not_recorded(then: ComparedRun, now: ComparedRun) -> dict[str, list[str]]:
    """Return what only one of two runs recorded; the key, `then` or `now`, is the run that did not record it."""
    of_machine = {what: names for what, names in _OF_MACHINE.items() if what not in _OF_GPU}
    told = {what: (then.told(*names), now.told(*names)) for what, names in of_machine.items()}
    told["number of devices"] = (then.told("machine", "devices"), now.told("machine", "devices"))
    told["first weights"] = (then.told("first_weights"), now.told("first_weights"))
    told |= {what: (then.told(name), now.told(name)) for what, name in (("Python", "python"), ("commit", "git"))}
    told["packages"] = (then.told("packages"), now.told("packages"))
    told["precision"] = (then.told("precision"), now.told("precision"))
    told |= {what: (then.data(*names), now.data(*names)) for what, names in _OF_DATA.items()}
    lacking: dict[str, list[str]] = {"then": [], "now": []}
    for what, (before, after) in told.items():
        if before is None and after is not None:
            lacking["then"].append(what)
        elif after is None and before is not None:
            lacking["now"].append(what)
    return {side: names for side, names in lacking.items() if names}


def _config(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    """Yield differing options, then differing keys; those that were typed for only one of the runs come first."""
    before, after = then.contents, now.contents
    places = {}
    if before.choices and after.choices:  # older runs did not record their options
        groups = dict.fromkeys((*before.choices, *after.choices))
        places = {config_place(group): group for group in groups if _option(before, group) != _option(after, group)}
    for place, group in places.items():
        if _knows(before, group) and _knows(after, group):
            options = _option(before, group), _option(after, group)
            yield Difference("config", printable(group, LONGEST), *options, changes_numbers=not _is_silent(place))
    typed = {word.partition("=")[0].lstrip("+") for word in {*before.overrides} ^ {*after.overrides}}
    for key in sorted(before.config.keys() | after.config.keys(), key=lambda key: (key not in typed, key)):
        one, other = _value(then, key), _value(now, key)
        follows = key == "data.seed" and (one, other) == (_value(then, "seed"), _value(now, "seed"))
        of_an_option = key.removesuffix("._target_") in places or any(
            _is_silent(place) and within(key, [place]) for place in places
        )
        absent = _MISSING in (one, other) and key not in typed and not any(within(key, [place]) for place in places)
        if not (_alike(one, other) or follows or of_an_option or absent or _names_a_place(key)):
            yield Difference(
                "config", printable(key, LONGEST), _shown(one), _shown(other), changes_numbers=not _is_silent(key)
            )


def _keys(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    """Yield keys that only one run has and that were not typed: they belong to another version or another option."""
    known = {one.what for one in _config(then, now)}
    for key in sorted(then.contents.config.keys() ^ now.contents.config.keys()):
        one, other = _value(then, key), _value(now, key)
        if _alike(one, other) or printable(key, LONGEST) in known or _names_a_place(key):
            continue
        above = (place for place in known if within(key, [config_place(place)]))
        if not any(above):
            yield Difference(
                "keys", printable(key, LONGEST), _shown(one), _shown(other), changes_numbers=not _is_silent(key)
            )


_MISSING = object()


def _value(run: ComparedRun, key: str) -> Any:
    """Return a value of the config; a path inside the data folder is relative to that folder."""
    value, data = run.contents.config.get(key, _MISSING), run.contents.config.get("paths.data_dir")
    if isinstance(value, str) and isinstance(data, str) and data and value.startswith(f"{data}/"):
        return f"<data>{value[len(data) :]}"
    return value


def _knows(contents: Contents, group: str) -> bool:
    """Whether the version that wrote a record knows a group. An option such as `none` leaves no key in the config."""
    return group in contents.choices or any(within(key, [config_place(group)]) for key in contents.config)


def _option(contents: Contents, group: str) -> str:
    return printable(contents.choices.get(group, "none"), LONGEST)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other) or {id(one), id(other)} == {id(_MISSING), id(None)}  # null counts as absent


def _is_silent(key: str) -> bool:
    return within(key, NO_NUMBERS)


def _names_a_place(key: str) -> bool:
    return within(key, ["paths", "resume", "trainer.default_root_dir"]) or key.rpartition(".")[2] in PLACES


def _shown(value: Any) -> str:
    return NOTHING if value is _MISSING else printable(text(value), LONGEST)


def _code(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    before, after = then.told("git", "commit"), now.told("git", "commit")
    if before and after and before != after:
        one, other = before.rpartition(" ")[2], after.rpartition(" ")[2]
        yield Difference("code", "git commit", _commits(before), _commits(after), apart(one, other))
    if then.changes != now.changes:
        files = ", ".join(_files_that_differ(then.changes, now.changes))
        yield Difference(
            "code", "uncommitted changes", _changed(then), _changed(now), printable(f"in {files}" if files else "", 400)
        )
    elif before and after and then.told("git", "dirty") != now.told("git", "dirty"):
        yield Difference("code", "uncommitted changes", _changed(then), _changed(now))


def _commits(told: str) -> str:
    return " and ".join(map(short, told.split(" and ")))


def _changed(run: ComparedRun) -> str:
    if count := len(_FILE.findall(run.changes)):
        return f"in {count} file{'' if count == 1 else 's'}"
    return "some" if run.changes or at(run.parts[-1] if run.parts else {}, ("git", "dirty")) else "none"


def _files_that_differ(then: str, now: str) -> list[str]:
    before, after = _by_file(then), _by_file(now)
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def _by_file(changes: str) -> dict[str, str]:
    files = list(_FILE.finditer(changes))
    ends = [found.start() for found in files[1:]] + [len(changes)] * bool(files)
    return {found[1]: changes[found.start() : end] for found, end in zip(files, ends, strict=True)}


def _packages(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    parts = [part for run in (then, now) for part in run.parts if isinstance(part.get("packages"), dict)]
    for name in dict.fromkeys(name for part in parts for name in part["packages"]):
        yield from _told("packages", name, then, now, "packages", name)


def _python(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    yield from _told("Python", "Python", then, now, "python")


def _machine(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    for what, names in _OF_MACHINE.items():
        for found in _told("machine", what, then, now, *names):
            if what != "device" or _without_threads(found.then) != _without_threads(found.now):
                yield found


def _without_threads(device: str) -> str:
    return re.sub(r", \d+ threads", "", device)


def _devices(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    yield from _told("devices", "number of devices", then, now, "machine", "devices")


def _data(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    for what, names in _OF_DATA.items():
        before, after = then.data(*names), now.data(*names)
        if before and after and before != after:
            digest = what != "examples"
            if digest:
                before, after = before[:_DIGITS], after[:_DIGITS]
            yield Difference("data", what, before, after, "fingerprints" if digest else "")


def _start(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    same = same_start(then, now)
    if same is False:
        one, other = (str(run.parts[0]["first_weights"])[:_DIGITS] for run in (then, now))
        yield Difference("start", "first weights", printable(one), printable(other), "fingerprints")


def same_start(then: ComparedRun, now: ComparedRun) -> bool | None:
    """Whether two runs began with the same weights; None if that is not recorded."""
    first = [at(run.parts[0], ["first_weights"]) if run.parts else None for run in (then, now)]
    return None if None in first else first[0] == first[1]


def _precision(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    yield from _told("precision", "precision", then, now, "precision")
    compiled = [run.told("compiled_from") for run in (then, now)]
    recorded = all(any("compiled_from" in part for part in run.parts) for run in (then, now))
    if recorded and compiled[0] != compiled[1]:
        one, other = (f"from step {step}" if step else "not at all" for step in compiled)
        yield Difference("precision", "compiled", one, other, "compile=false never compiles")


def _course(then: ComparedRun, now: ComparedRun) -> Iterator[Difference]:
    one, other = (len(run.parts) for run in (then, now))
    if one != other and min(one, other) > 0:
        yield Difference("course", "parts of the run", str(one), str(other), "a run that was resumed has several")


def _told(kind: str, what: str, then: ComparedRun, now: ComparedRun, *names: str) -> Iterator[Difference]:
    before, after = then.told(*names), now.told(*names)
    if before is not None and after is not None and before != after:
        yield Difference(kind, printable(what, LONGEST), before, after)
