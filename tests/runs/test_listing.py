"""`vaelab runs`: what is found, told apart, filtered, sorted and shown."""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from run_folders import PATTERN, make_picture, make_run, mark_running
from vaelab.errors import ConfigError
from vaelab.record.state import RunState, RunStatus
from vaelab.runs.command import runs
from vaelab.runs.index import OLDEST, index_file
from vaelab.runs.listed import ListedRun, list_runs

List = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; it and the current folder are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("vaelab.runs.index.SETTLED", 0)
    return tmp_path / "cache"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def names(logs: Path, capsys: pytest.CaptureFixture[str]) -> List:
    """`names(*arguments)`: the folders that are listed, in order."""

    def listed(*arguments: str) -> list[str]:
        runs([str(logs), "--json", *arguments])
        return [run["folder"] for run in json.loads(capsys.readouterr().out)]

    return listed


def found(logs: Path) -> dict[str, ListedRun]:
    return {run.name: run for run in list_runs(str(logs))[0]}


# What became of a run


def test_what_became_of_runs_is_told_apart(logs: Path) -> None:
    make_run(logs / "done", test__nll=80.0)
    make_run(logs / "failed", status=RunStatus.FAILED, why="out of memory")
    make_run(logs / "stopped", status=RunStatus.INTERRUPTED)
    make_run(logs / "killed", status=RunStatus.RUNNING)  # by a process that is gone
    mark_running(make_run(logs / "running", status=None))
    assert {name: str(run.status) for name, run in found(logs).items()} == {
        "done": "finished", "failed": "failed", "stopped": "interrupted", "killed": "interrupted", "running": "running"
    }  # fmt: skip
    assert found(logs)["failed"].why == "out of memory"


def test_runs_that_are_older_than_the_record_are_told_by_what_they_left(logs: Path) -> None:
    make_run(logs / "done", status=None, test__nll=80.0)
    (make_run(logs / "stopped", status=None) / "metrics.json").unlink()
    again = make_run(logs / "trained_again", status=None, test__nll=80.0)
    (again / "model" / "training.json").write_text('{"data": {}}')
    statuses = {name: str(run.status) for name, run in found(logs).items()}
    assert statuses == {"done": "finished", "stopped": "interrupted", "trained_again": "interrupted"}
    assert found(logs)["trained_again"].run.metrics == {}  # they are not those of its config


def test_every_old_run_is_listed() -> None:
    listed = found(PATTERN.parents[1])
    assert len(listed) == 6
    assert {str(run.status) for run in listed.values()} == {"finished"}


BREAK: dict[str, tuple[str, str]] = {
    "half_written": ("metrics.json", '{"test/nll": 8'),
    "not_numbers": ("metrics.json", '{"test/nll": "low"}'),
    "a_list": ("metrics.json", "[1]"),
    "no_yaml": ("config.yaml", "a: [1"),
    "deep": ("environment.json", "[" * 100_000),
    "no_state": ("state.json", '{"status": "finished"}'),
    "huge_number": ("metrics.json", '{"test/nll": 1' + "0" * 400 + "}"),
    "not_text": ("choices.yaml", "\x00\x01"),
}


@pytest.mark.parametrize("name", BREAK)
def test_a_broken_run_is_listed_as_such_and_hides_no_other(logs: Path, name: str) -> None:
    make_run(logs / "good", test__nll=1.0)
    file, content = BREAK[name]
    (make_run(logs / "bad", test__nll=2.0) / file).write_text(content)
    bad = found(logs)["bad"]
    assert bad.status == RunStatus.BROKEN
    assert bad.why.startswith(file)
    assert found(logs)["good"].status == RunStatus.FINISHED


def test_what_is_no_file_is_not_read(logs: Path) -> None:
    os.mkfifo(make_run(logs / "pipe", status=None) / "state.json")  # a read of it would never end
    folder = make_run(logs / "folder", test__nll=1.0)
    (folder / "metrics.json").unlink()
    (folder / "metrics.json").mkdir()
    large = make_run(logs / "large", test__nll=1.0)
    os.truncate(large / "metrics.json", 2**33)
    found_now = found(logs)
    assert [found_now[name].status for name in ("pipe", "folder", "large")] == [RunStatus.BROKEN] * 3


def test_files_that_are_missing_are_named(logs: Path) -> None:
    (make_run(logs / "a", test__nll=1.0) / "config.yaml").unlink()
    (make_run(logs / "b", test__nll=1.0) / "metrics.json").unlink()
    assert {name: run.why for name, run in found(logs).items()} == {
        "a": "config.yaml is missing", "b": "metrics.json is missing"
    }  # fmt: skip


def test_links_are_followed_once_and_lead_nowhere_twice(logs: Path, tmp_path: Path) -> None:
    make_run(logs / "a" / "run")
    make_run(tmp_path / "scratch" / "far")
    (logs / "a" / "up").symlink_to(logs)
    (logs / "self").symlink_to(logs / "self")
    (logs / "elsewhere").symlink_to(tmp_path / "scratch")
    assert set(found(logs)) == {"a/run", "elsewhere/far"}


def test_a_file_that_cannot_be_looked_at_is_not_missing(logs: Path) -> None:
    config = make_run(logs / "bad", test__nll=1.0) / "config.yaml"
    config.unlink()
    config.symlink_to(config)  # which leads to itself
    assert found(logs)["bad"].why == "config.yaml: Too many levels of symbolic links"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_missing(logs: Path) -> None:
    folder = make_run(logs / "bad", test__nll=1.0)
    (folder / "model").chmod(0)
    try:
        assert found(logs)["bad"].why == "model/training.json: Permission denied"
    finally:
        (folder / "model").chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(logs: Path) -> None:
    make_run(logs / "open")
    closed = make_run(logs / "closed")
    closed.chmod(0)
    try:
        listed, unreadable = list_runs(str(logs))
    finally:
        closed.chmod(0o755)
    assert [run.name for run in listed] == ["open"]
    assert "Permission denied" in unreadable[0]


def test_a_folder_that_refuses_is_named(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(logs / "open")
    make_run(logs / "closed")
    opened = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path)

    monkeypatch.setattr(os, "scandir", refuse)
    runs([str(logs)])
    printed = capsys.readouterr()
    assert "closed: Permission denied" in printed.err
    assert "1 run in" in printed.out


def test_names_in_any_language_are_shown(logs: Path, names: List, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(logs / "größe 日本語 🎲", "notes=été", test__nll=1.0)
    os.mkdir(os.fsencode(logs) + b"/\xff")
    make_run(Path(os.fsdecode(os.fsencode(logs) + b"/\xff")) / "run", test__nll=2.0)
    assert len(names()) == 2
    runs([str(logs)])
    assert "größe 日本語 🎲" in capsys.readouterr().out
    runs([str(logs), "--csv"])
    assert "größe 日本語 🎲" in capsys.readouterr().out


def test_nothing_in_a_folder_is_obeyed_by_a_terminal(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(logs / "a\x1b[2J", 'notes="\\e[2J"', status=RunStatus.FAILED, why="\x1b[2J")
    runs([str(logs)])
    assert "\x1b" not in capsys.readouterr().out


# Which are wanted


@pytest.fixture
def several(logs: Path) -> Path:
    """Six runs; a number is missing in one, and a key in another."""
    make_run(logs / "a", "data=mnist", "latent_dim=2", day=1, test__nll=90.0, test__psnr=12.0)
    make_run(logs / "b", "data=mnist", "latent_dim=10", day=2, test__nll=80.0, test__psnr=14.0)
    make_run(logs / "c", "data=digits", "latent_dim=9", "tags=[old,mine]", day=3, test__nll=85.0, test__psnr=9.0)
    make_run(logs / "d", "data=digits", "model.beta=4", "model.extra=x", day=4, test__psnr=15.0)
    make_run(logs / "e", "data=digits", status=RunStatus.FAILED, why="disk is full", day=5)
    make_run(logs / "f", "model=ae", "data.normal=[0,1]", "train=false", day=6, test__nll=100.0)
    return logs


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (["data=mnist"], "ab"),
        (["data==mnist"], "ab"),
        (["data!=mnist"], "cdef"),
        (["data = mnist"], "ab"),
        (["latent_dim>8", "data=mnist"], "b"),
        (["latent_dim>=9"], "bcdef"),
        (["latent_dim<9.5"], "ac"),
        (["latent_dim<=9"], "ac"),
        (["model.beta=4.0"], "d"),
        (["model.extra=x"], "d"),
        (["model.extra!=x"], ""),  # those that do not have the key do not match
        (["test/nll<90"], "bc"),
        (["nll<90"], "bc"),
        (["nll>0"], "abcf"),
        (["status=failed"], "e"),
        (["why~DISK"], "e"),
        (["tags~mine"], "c"),
        (["tags=[old, mine]"], "c"),
        (["data.normal=[0,1]"], "f"),
        (["train=false"], "f"),
        (["data.normal=null"], "abcde"),
        (["model=ae"], "f"),
        (["model~a"], "abcdef"),
        (["started>=2026-01-06"], "ef"),
        (["when<2026-01-04"], "ab"),
        (["started=2026-01-04"], "c"),
        (["started!=2026-01-04"], "abdef"),
        (["started>2026-01-04"], "def"),  # after that day
        (["started<=2026-01-04"], "abc"),  # that day too
        (["started>=2026-01-04 12:00", "started<2026-01-04T12:01"], "c"),
        (["started>2026-01-04 12:00"], "def"),
        (["started~2026-01-04 12"], "c"),
        (["folder~a"], "a"),
        (["model._target_~vae"], "abcdef"),
    ],
)
def test_conditions(several: Path, names: List, conditions: list[str], wanted: str) -> None:
    options = [word for condition in conditions for word in ("--where", condition)]
    assert sorted(names(*options)) == list(wanted)


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        ([], "fedcba"),  # the latest first
        (["--reverse"], "abcdef"),
        (["--sort", "test/nll"], "bcafed"),  # less is better; those without the number come last
        (["--sort", "nll", "--reverse"], "facbed"),
        (["--sort", "psnr"], "dbacfe"),  # more is better
        (["--sort", "latent_dim"], "acbfed"),
        (["--sort", "data,nll"], "cfedba"),
        (["--sort", "started"], "fedcba"),
        (["--sort", "nll", "--limit", "2"], "bc"),
        (["--where", "data=mnist", "--sort", "nll", "--limit", "1"], "b"),
    ],
)
def test_the_best_comes_first(several: Path, names: List, arguments: list[str], order: str) -> None:
    assert names(*arguments) == list(order)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "latent_dm=2"], "--where latent_dm: .*did you mean latent_dim?"),
        (["--where", "beta=2"], "did you mean model.beta?"),
        (["--sort", "test/nl"], "did you mean test/nll?"),
        (["--columns", "folder,lattent_dim"], "--columns lattent_dim: .*did you mean latent_dim?"),
        (["--sort", "fid"], "none of these runs has this metric"),
        (["--where", "latent_dim"], "is not a condition; .*in quotes|with quotes"),
        (["--where", "latent_dim>many"], "many is not a number"),
        (["--where", "started>yesterday"], "yesterday is not a date, which is written 2026-01-31"),
        (["--where", "started=2026-02-30"], "2026-02-30"),
    ],
)
def test_what_no_run_knows_is_an_error_with_the_nearest_name(several: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        runs([str(several), *arguments])


def test_folders_without_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        runs([str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match="no such folder"):
        runs([])  # logs
    with pytest.raises(ConfigError, match="holds no run"):
        runs([str(tmp_path)])
    (tmp_path / "x" / ".hydra").mkdir(parents=True)
    for name in ("config.yaml", "overrides.yaml", "hydra.yaml"):
        (tmp_path / "x" / ".hydra" / name).write_text("a: 1\n")
    with pytest.raises(ConfigError, match="holds no run"):
        runs([str(tmp_path)])


@pytest.fixture
def zones(logs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three runs that machines in several zones have started, on a machine in Tokyo: nine hours before UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    for name, began in (("first", "2026-01-30T23:30:00+09:00"), ("second", "2026-01-30T15:30:00+00:00"),
                        ("third", "2026-01-30T12:00:00-05:00"), ("odd", "0001-01-01T00:00:00")):  # fmt: skip
        state = make_run(logs / name) / "state.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"started": began, "ended": began}))
    yield logs
    monkeypatch.undo()
    time.tzset()


def test_moments_are_compared_and_not_their_texts(zones: Path, names: List, capsys: pytest.CaptureFixture[str]) -> None:
    assert names("--where", "started>=2026-01-31", "--where", "started<2026-02-01") == ["third", "second"]
    assert names("--where", "started<2026-01-31T00:00:00+09:00") == ["first"]
    assert names("--where", "started<2026-01-30T15:00Z") == ["first"]
    assert names("--where", "started<2026-02-01", "--sort", "started", "--reverse") == ["first", "second", "third"]
    runs([str(zones), "--where", "started=2026-01-31"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2:4] for line in lines[2:4]] == [["2026-01-31", "02:00"], ["2026-01-31", "00:30"]]


# What is shown


def test_the_table_shows_what_tells_runs_apart(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs([str(several), "--where", "data=mnist"])
    head, names, *lines = capsys.readouterr().out.splitlines()
    assert head == f"2 runs in {several}: 2 finished; all with task=generation data=mnist model=vae"
    assert names.split() == ["folder", "status", "when", "differs", "in", "test/psnr", "test/nll"]
    assert lines[0].split() == ["b", "finished", "2026-01-03", "12:00", "latent_dim=10", "14", "80"]


def test_a_number_that_is_asked_for_is_shown(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs([str(several), "--columns", "model.beta,nll", "--sort", "nll"])
    _, head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["folder", "status", "model.beta", "test/nll"]
    assert first.split() == ["b", "finished", "1", "80"]


def test_only_the_first_of_many_fill_the_terminal(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        make_run(logs / str(number))
    runs([str(logs)])
    assert "the first 50 of 60 runs; --limit 0 shows all" in capsys.readouterr().out
    runs([str(logs), "--limit", "0"])
    assert len(capsys.readouterr().out.splitlines()) == 62


def test_csv_has_every_digit(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(several / "g", "data=mnist", day=7, test__nll=1 / 3)
    runs([str(several), "--csv", "--where", "nll<1"])
    (row,) = csv.DictReader(StringIO(capsys.readouterr().out))
    assert (row["folder"], float(row["test/nll"]), row["data"]) == ("g", 1 / 3, "mnist")


def test_json_has_all_that_is_known(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs([str(several), "--json", "--where", "status=failed"])
    (run,) = json.loads(capsys.readouterr().out)
    assert run["why"] == "disk is full"
    assert run["seconds"] == 90
    assert run["config"]["latent_dim"] == 16
    assert run["choices"]["data"] == "digits"
    runs([str(several), "--json", "--where", "status=failed", "--columns", "latent_dim"])
    assert json.loads(capsys.readouterr().out) == [{"folder": "e", "status": "failed", "latent_dim": 16}]


def last_command(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return shlex.split(capsys.readouterr().out.splitlines()[-1])


def test_one_run_ends_with_the_command_that_does_it_again(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs([str(several), "--where", "data=mnist", "--sort", "test/nll", "--limit", "1"])
    shown = capsys.readouterr().out
    best = next(run for run in found(several).values() if "latent_dim=10" in run.contents.overrides)
    assert f"repeat it and compare the results:\n  vaelab rerun {best.path}\n" in shown
    assert shlex.split(shown.splitlines()[-1]) == ["vaelab", "train", "data=mnist", "latent_dim=10"]
    Path("train.py").touch()
    runs([str(several), "--where", "folder=b"])
    assert last_command(capsys) == ["python", "train.py", "data=mnist", "latent_dim=10"]


def test_a_seed_that_was_drawn_is_typed_again(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(logs / "a", "seed=null")
    (folder / "environment.json").write_text(json.dumps({"command": "python train.py seed=null", "seed": 77}))
    runs([str(logs)])
    assert last_command(capsys) == ["vaelab", "train", "seed=77"]


def test_a_run_that_went_on_is_done_again_from_its_beginning(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(logs / "a", "latent_dim=4", "trainer.max_epochs=9")
    first = {"command": "vaelab train --config-dir=mine latent_dim=4", "seed": 1}
    about = {"command": f"vaelab train resume={folder} trainer.max_epochs=9", "seed": 1, "history": [first]}
    (folder / "environment.json").write_text(json.dumps(about))
    runs([str(logs)])
    shown = capsys.readouterr().out
    assert f"  vaelab rerun {folder}\n" in shown
    assert shlex.split(shown.splitlines()[-1]) == ["vaelab", "train", "latent_dim=4", "trainer.max_epochs=9"]
    assert "without the words that select code (--config-dir, hydra, trusted)" in shown


def test_what_a_run_repeats_is_a_column_and_a_condition(logs: Path, names: List) -> None:
    make_run(logs / "a")
    again = make_run(logs / "b")
    (again / "environment.json").write_text(json.dumps({"repeats": "logs/a"}))
    odd = make_run(logs / "c")
    (odd / "environment.json").write_text(json.dumps({"repeats": ["logs/a"]}))
    assert names("--where", "repeats~logs/a") == ["b"]


@pytest.mark.parametrize("command", ["rm -rf ~", "python train.py; rm -rf ~ #", "vaelab train $(rm -rf ~)", "'"])
def test_a_strangers_command_is_never_more_than_words_of_this_program(
    logs: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder = make_run(logs / "a", "latent_dim=4")
    (folder / "environment.json").write_text(json.dumps({"command": command, "seed": 1}))
    runs([str(logs)])
    line = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(line)
    assert words[:2] == ["vaelab", "train"]
    assert shlex.join(words) == line.strip()


def test_no_word_of_a_stranger_that_chooses_code_is_typed_again(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options of a folder of his own may name any class or function to Hydra itself."""
    codes = ["--config-dir=theirs", "-cd theirs", "--config-path theirs", "hydra.searchpath=[theirs]",
             "trusted=[theirs]", "+hydra.callbacks.x._target_=theirs.x", "encoder._target_=theirs.x"]  # fmt: skip
    folder = make_run(logs / "a", "latent_dim=4")
    command = f"vaelab train {' '.join(codes)} latent_dim=4"
    (folder / "environment.json").write_text(json.dumps({"command": command, "seed": 1}))
    runs([str(logs)])
    shown = capsys.readouterr().out
    assert "theirs" not in shown
    assert shlex.split(shown.splitlines()[-1]) == ["vaelab", "train", "latent_dim=4"]


def test_an_interrupted_run_says_how_to_go_on(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(logs / "a", status=RunStatus.INTERRUPTED, why="told to stop, exit code 130")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    runs([str(logs)])
    printed = capsys.readouterr().out
    assert "interrupted: told to stop" in printed
    assert f"vaelab train resume={folder}" in printed


# The index


def test_a_run_that_has_changed_is_read_again(logs: Path, names: List, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(logs / ".cache"))
    folder = make_run(logs / "a", test__nll=80.0)
    assert names("--where", "nll=80") == ["a"]
    (folder / "metrics.json").write_text('{"test/nll": 82.0}')  # in the same tick of the clock, perhaps
    assert names("--where", "nll=82") == ["a"]
    (folder / "metrics.json").write_text('{"test/nll": 80.0}')
    age(logs)
    assert names("--where", "nll=80") == ["a"]
    times = (folder / "metrics.json").stat()
    (folder / "metrics.json").write_text('{"test/nll": 81.0}')  # of the same size, and with the same time
    os.utime(folder / "metrics.json", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert names("--where", "nll=81") == ["a"]


def test_runs_that_are_gone_or_new_are_noticed(logs: Path, names: List) -> None:
    make_run(logs / "a")
    make_run(logs / "b")
    assert sorted(names()) == ["a", "b"]
    (logs / "a").rename(logs / "c")
    assert sorted(names()) == ["b", "c"]


def test_the_status_is_never_taken_from_the_index(logs: Path) -> None:
    state = make_run(logs / "a", status=None)
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    running = RunState.of_this_process()
    RunState(running.status, child.pid, running.host, None, running.started).write(state)
    assert found(logs)["a"].status == RunStatus.RUNNING
    child.communicate(b"\n")
    assert found(logs)["a"].status == RunStatus.INTERRUPTED


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"form": 1}', '{"form":1,"version":"0","runs":{}}', "[" * 100_000, "WRONG", "FALSE"]
)
def test_a_wrong_index_is_built_again(
    logs: Path, names: List, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(logs / "a", test__nll=80.0)
    assert names() == ["a"]
    path = index_file(str(logs))
    assert path is not None
    kept = json.loads(path.read_text())
    if content == "WRONG":
        kept["runs"]["a"]["says"]["metrics"] = {"test/nll": "low"}
        content = json.dumps(kept)
    elif content == "FALSE":
        kept["runs"]["a"]["files"]["metrics.json"][0] += 1
        kept["runs"]["a"]["says"]["metrics"] = {"test/nll": 1.0}
        content = json.dumps(kept)
    path.write_text(content)
    assert names("--where", "nll=80") == ["a"]
    assert json.loads(path.read_text())["runs"]["a"]["says"]["metrics"] == {"test/nll": 80.0}
    assert capsys.readouterr().err == ""


def test_what_is_kept_is_bounded(logs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        make_picture(make_run(logs / name))
    runs([str(logs), "--page"])
    index, pictures = index_file(str(logs)), next((cache / "vaelab").glob("pictures-*"))
    assert index is not None
    shutil.rmtree(logs / "a")
    make_picture(logs / "b", shade=9)
    runs([str(logs), "--page", "--where", "folder=b"])
    assert sorted(json.loads(index.read_text())["runs"]) == ["b", "c"]
    assert sorted(json.loads(pictures.read_text())["pictures"]) == ["b", "c"]
    others = [index.with_name(f"runs-{number}.json") for number in range(3)]
    for number, other in enumerate(others):
        other.write_text("{}")
        os.utime(other, (time.time() - number * OLDEST,) * 2)
    make_run(logs / "d")
    found(logs)
    assert [other.exists() for other in others] == [True, False, False]
    assert pictures.exists()
    monkeypatch.setattr("vaelab.runs.index.MOST_FILES", 1)
    make_run(logs / "e")
    found(logs)
    assert list(index.parent.glob("runs-*")) == [index]


def test_without_a_place_for_the_index_runs_are_listed(
    logs: Path, names: List, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(logs / "a")
    cache.write_text("a file where the cache should be")
    assert names() == ["a"]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert names() == ["a"]


def test_nothing_is_written_into_the_folder_of_the_runs(logs: Path, names: List) -> None:
    make_run(logs / "a")
    before = sorted(logs.rglob("*"))
    names()
    assert sorted(logs.rglob("*")) == before


def test_two_listings_at_once_do_no_harm(logs: Path, cache: Path) -> None:
    for number in range(20):
        make_run(logs / str(number), test__nll=float(number))
    age(logs)
    command = [sys.executable, "-m", "vaelab", "runs", str(logs), "--csv"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in both]
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 21
    assert len(found(logs)) == 20
    assert [path.suffix for path in (cache / "vaelab").iterdir()] == [".json"]


def age(logs: Path) -> None:
    """Wait until no file of a run is so young that it is not kept."""
    newest = max(path.stat().st_ctime for path in logs.rglob("*"))
    time.sleep(max(0.0, newest + 2.05 - time.time()))


def test_a_thousand_runs_are_listed_soon_and_without_torch(logs: Path) -> None:
    make_run(logs / "0", "latent_dim=4", **{f"test__{name}": 1.0 for name in ("nll", "mse", "fid", "bpd", "elbo")})
    files = {path.relative_to(logs / "0"): path.read_bytes() for path in (logs / "0").rglob("*") if path.is_file()}
    for number in range(1, 1000):
        for name, content in files.items():
            path = logs / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    age(logs)
    code = (
        "import sys, time; began = time.process_time(); from vaelab.cli import main; main();"
        "print(time.process_time() - began, 'torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)"
    )
    for _ in range(2):  # without an index, and with one
        done = subprocess.run([sys.executable, "-c", code, "runs", str(logs)], capture_output=True, text=True)
        seconds, torch, numpy = done.stderr.split()
        assert (torch, numpy) == ("False", "False")
        assert "1,000 runs" in done.stdout
        assert float(seconds) < 4  # 2 on a machine that does nothing else


def test_a_reader_that_has_seen_enough_is_no_error(logs: Path) -> None:
    for number in range(300):
        make_run(logs / f"{number:0100d}", status=None)
    line = f"{shlex.quote(sys.executable)} -m vaelab runs {shlex.quote(str(logs))} --limit 0 | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert "300 runs" in done.stdout
    assert done.stderr == ""
