"""Two run folders held against each other: numbers, curves, and what differs between their records."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from run_folders import make_run, mark_running
from vaelab.config.location import config_dir
from vaelab.errors import ConfigError, UserError
from vaelab.record.state import RunStatus
from vaelab.rerun.command import Repetition, rerun
from vaelab.rerun.commits import apart
from vaelab.rerun.compared_run import read_run
from vaelab.rerun.comparison import Comparison, compared
from vaelab.rerun.curves import LOSSES, Courses, courses
from vaelab.rerun.numbers import Match, match, numbers_of_both

MACHINE = {"cpu": "A", "instructions": "AVX2", "cpus": 2, "thread_variables": {}, "devices": 1}
RECORD: dict[str, Any] = {
    "python": "3.11.7", "platform": "Linux", "packages": {"torch": "2.4", "numpy": "2.1"}, "git": None,
    "device": "cpu (x86_64, 2 threads)", "threads": 2, "machine": MACHINE, "precision": "32-true", "seed": 1,
    "first_weights": "a" * 32, "first_loss": 4.0, "compiled_from": None,
}  # fmt: skip
DATA = {"examples": 100, "content": "c" * 32, "splits": {"train": "t" * 32}, "source": "s", "form": "f"}


def never(words: list[str], again: Repetition) -> int:
    raise AssertionError("nothing is trained here")


def run(
    folder: Path, *words: str, data: Any = DATA, losses: Any = (3.0, 2.0), numbers: Any = 80.0, **told: Any
) -> Path:
    """A run folder with a whole record, some of it as told."""
    made = make_run(folder, *words, curves={"train/loss": list(losses)}, test__nll=numbers, val__loss=90.0)
    (made / "environment.json").write_text(json.dumps(RECORD | told))
    (made / "model" / "training.json").write_text(json.dumps({"data": data, "steps": 2}))
    return made


def of(then: Path, now: Path) -> Comparison:
    return compared(read_run(then), read_run(now))


@pytest.fixture
def then(tmp_path: Path) -> Path:
    return run(tmp_path / "then")


# Numbers


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (0.1, 0.1, Match.SAME),
        (0.0, -0.0, Match.SAME),
        (float("nan"), float("nan"), Match.SAME),
        (1.0, 1.0 + 1e-15, Match.ROUNDING),
        (100.0, 100.0009, Match.ROUNDING),
        (100.0, 100.0011, Match.DIFFERENT),
        (0.0, 1e-30, Match.DIFFERENT),
        (1.0, float("nan"), Match.DIFFERENT),
        (1.0, float("inf"), Match.DIFFERENT),
    ],
)
def test_how_two_values_stand_to_each_other(one: float, other: float, expected: Match) -> None:
    assert match(one, other) == match(other, one) == expected


def test_numbers_that_one_run_has_do_not_decide(tmp_path: Path, then: Path) -> None:
    found = of(then, make_run(tmp_path / "now", val__loss=90.0, test__fid=3.0))
    matches = {number.name: number.match for number in found.numbers}
    assert matches == {"val/loss": Match.SAME, "test/nll": Match.ONLY_THEN, "test/fid": Match.ONLY_NOW}
    assert found.verdict == "the same bit for bit: all 1 number; 2 numbers in only one of the runs"
    assert found.exit_code == 0
    assert numbers_of_both({}, {}) == []


def test_times_and_baselines_are_no_part_of_the_verdict(tmp_path: Path) -> None:
    one = make_run(
        tmp_path / "a", test__nll=1.0, test__seconds=3.0, val__samples_per_second=9.0, baseline__pca__fid=1.0
    )
    other = make_run(tmp_path / "b", test__nll=1.0, test__seconds=4.0, val__samples_per_second=7.0)
    assert [number.name for number in of(one, other).numbers] == ["test/nll"]


def test_the_worst_number_gives_the_verdict(tmp_path: Path, then: Path) -> None:
    close = of(then, run(tmp_path / "close", numbers=80.0001))
    assert close.verdict == (
        "equal to rounding (relative difference <= 1e-05): all 2 numbers, 1 of them the same bit for bit"
    )
    assert close.exit_code == 0
    far = of(then, run(tmp_path / "far", numbers=81.0))
    assert (far.verdict, far.exit_code) == ("different: 1 of 2 numbers", 3)


# Curves


def test_the_first_step_at_which_training_differs() -> None:
    step, epoch = LOSSES
    before = {(0, step): 3.0, (50, step): 2.0, (99, step): 1.0, (99, epoch): 1.5}
    course = courses(before, before | {(50, step): 2.0 + 1e-9, (99, epoch): 1.6, (150, step): 1.0})
    assert course == Courses(4, 0, 99, 50, 2.0, 2.0 + 1e-9, 99)
    assert courses(before, {(0, epoch): 3.0}) is None
    assert courses({(0, step): float("nan")}, {(0, step): float("nan")}) == Courses(1, 0, 0)


def test_other_first_weights_other_data_and_a_later_step_are_told_apart(tmp_path: Path, then: Path) -> None:
    weights = of(then, run(tmp_path / "a", losses=(3.5, 2.0), first_weights="b" * 32, first_loss=3.9))
    assert weights.start == "start: different weights; the loss at the first step is 4 then, 3.9 now"
    assert weights.course == (
        "training: the loss first differs at step 0, the first step that both logged: 3 then, 3.5 now"
    )
    data = of(then, run(tmp_path / "b", losses=(3.5, 2.0), first_loss=3.9))
    assert data.start.endswith("3.9 now; so the data, their order or the noise differ, not the initial weights")
    later = of(then, run(tmp_path / "c", losses=(3.0, 2.5)))
    assert later.start == "start: the same weights; equal loss at the first step"
    assert later.course == "training: the loss first differs at step 1: 2 then, 2.5 now"
    rounding = of(then, run(tmp_path / "d", losses=(3.0, 2.0000001)))
    assert rounding.course.endswith("; never by more than rounding")


def test_runs_without_numbers_are_compared_by_their_losses(tmp_path: Path, then: Path) -> None:
    now = make_run(tmp_path / "now", status=RunStatus.FAILED, why="x", curves={"train/loss": [3.0]})
    found = of(then, now)
    assert found.exit_code == 0
    assert found.verdict.startswith("the same bit for bit: 1 logged training loss")
    (now / "metrics.csv").write_text("step,train/loss\n0,2.9\n1,")
    assert of(then, now).exit_code == 3
    (now / "metrics.csv").unlink()
    nothing = of(then, now)
    assert (nothing.match, nothing.exit_code) == (None, 3)
    assert nothing.verdict.startswith("nothing to compare")


# What differs


@pytest.mark.parametrize(
    ("told", "kind", "what", "before", "after"),
    [
        ({"packages": {"torch": "2.5", "numpy": "2.1"}}, "packages", "torch", "2.4", "2.5"),
        ({"python": "3.12.1"}, "Python", "Python", "3.11.7", "3.12.1"),
        ({"machine": MACHINE | {"cpu": "B"}}, "machine", "processor", "A", "B"),
        ({"threads": 4, "device": "cpu (x86_64, 4 threads)"}, "machine", "threads", "2", "4"),
        ({"device": "NVIDIA H200"}, "machine", "device", "cpu (x86_64, 2 threads)", "NVIDIA H200"),
        ({"machine": MACHINE | {"devices": 2}}, "devices", "number of devices", "1", "2"),
        ({"data": DATA | {"examples": 99}}, "data", "examples", "100", "99"),
        ({"data": DATA | {"splits": {"train": "u" * 32}}}, "data", "train split", "t" * 8, "u" * 8),
        ({"first_weights": "b" * 32}, "start", "first weights", "a" * 8, "b" * 8),
        ({"precision": "bf16-mixed"}, "precision", "precision", "32-true", "bf16-mixed"),
        ({"compiled_from": 300}, "precision", "compiled", "not at all", "from step 300"),
    ],
)
def test_what_differs_is_named(
    tmp_path: Path, then: Path, told: Any, kind: str, what: str, before: str, after: str
) -> None:
    found = of(then, run(tmp_path / "now", numbers=81.0, **told))
    assert [(one.kind, one.what, one.then, one.now) for one in found.differences] == [(kind, what, before, after)]
    assert found.why.startswith("the likeliest cause: ")


def test_words_are_the_likeliest_cause_and_a_tracker_is_none(tmp_path: Path, then: Path) -> None:
    words = ("model.beta=4.0", "trainer=gpu", "logger=none", "tags=[x]")
    found = of(then, run(tmp_path / "now", *words, numbers=81.0, python="3.12", packages={"torch": "2.5"}))
    kinds = [one.kind for one in found.differences if one.changes_numbers]
    assert kinds == sorted(kinds, key=["config", "packages", "Python"].index)
    named = {one.what: one for one in found.differences}
    assert named["model.beta"].changes_numbers
    assert (named["trainer"].then, named["trainer"].now) == ("default", "gpu")
    assert not named["tags"].changes_numbers
    assert found.why.startswith("the likeliest cause: config")


def test_a_fault_is_reported_where_nothing_that_is_recorded_differs(tmp_path: Path, then: Path) -> None:
    found = of(then, run(tmp_path / "now", numbers=81.0))
    assert found.differences == []
    assert "please report it" in found.why
    assert of(then, run(tmp_path / "same")).why == ""
    on_gpu = {"machine": MACHINE | {"cuda": "12.4"}, "device": "NVIDIA H200"}
    pair = [run(tmp_path / name, numbers=number, **on_gpu) for name, number in (("a", 80.0), ("b", 81.0))]
    assert "trainer.deterministic=true" in of(*pair).why


def test_an_older_record_is_no_difference_but_not_recorded(tmp_path: Path, then: Path) -> None:
    now = make_run(tmp_path / "now", curves={"train/loss": [3.0, 2.0]}, test__nll=81.0, val__loss=90.0)
    found = of(now, then)
    assert found.differences == []
    assert {"processor", "first weights", "train split", "packages"} <= set(found.not_recorded["then"])
    assert "now" not in found.not_recorded
    assert "the cause may be something that only one of them recorded" in found.why


def test_parts_of_a_resumed_run_are_all_named(tmp_path: Path, then: Path) -> None:
    (then / "environment.json").write_text(
        json.dumps(RECORD | {"history": [RECORD | {"python": "3.11.2"}], "first_weights": "z" * 32})
    )
    found = of(then, run(tmp_path / "now"))
    assert {(one.what, one.then, one.now) for one in found.differences} == {
        ("Python", "3.11.2 and 3.11.7", "3.11.7"), ("parts of the run", "2", "1"),
    }  # fmt: skip
    assert found.same_start is True  # as the first part began


def test_commits_and_uncommitted_changes(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=config_dir(), capture_output=True, text=True).stdout.strip()

    now = git("rev-parse", "HEAD")
    before = git("rev-parse", "HEAD~2")
    if not before or "~" in before:
        pytest.skip("the history of this repository is not here")
    between = int(git("rev-list", "--count", f"{before}..{now}"))
    words = f"{between:,} commit{'' if between == 1 else 's'}"
    assert (apart(before, now), apart(now, before)) == (f"{words} later", f"{words} earlier")
    assert apart("0" * 40, now) == f"{'0' * 12} is not in this repository"
    assert apart("--output=/tmp/x", now) == "the record is not a commit"
    one = run(tmp_path / "a", git={"commit": before, "dirty": False})
    other = run(tmp_path / "b", git={"commit": now, "dirty": True}, numbers=81.0)
    (other / "changes.patch").write_text("diff --git a/src/a.py b/src/a.py\n+1\ndiff --git a/src/b.py b/src/b.py\n+2\n")
    commit, changes = of(one, other).differences
    assert (commit.then, commit.now, commit.more) == (before[:12], now[:12], f"{words} later")
    assert (changes.then, changes.now, changes.more) == ("none", "in 2 files", "in src/a.py, src/b.py")
    (one / "changes.patch").write_text("diff --git a/src/a.py b/src/a.py\n+1\ndiff --git a/src/b.py b/src/b.py\n+3\n")
    assert of(one, other).differences[1].more == "in src/b.py"


# The command


def test_comparing_writes_into_no_folder_but_that_of_a_repetition(
    tmp_path: Path, then: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = run(tmp_path / "now", numbers=81.0)
    assert rerun([str(then), "--compare", str(now)], never) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "different: 1 of 2 numbers"
    assert not (now / "rerun.json").exists()
    again = run(tmp_path / "again", repeats=str(then))
    assert rerun([str(then / "model"), f"--compare={again}"], never) == 0
    kept = json.loads((again / "rerun.json").read_text())
    assert kept["match"] == "the same bit for bit"
    assert [number["name"] for number in kept["numbers"]] == ["val/loss", "test/nll"]


def test_what_a_file_says_is_printed_without_effect(
    tmp_path: Path, then: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = run(tmp_path / "now", "model.beta='[red]x'", numbers=81.0, python="\x1b[2J[bold]")
    metrics = json.loads((now / "metrics.json").read_text())
    (now / "metrics.json").write_text(json.dumps(metrics | {"test/\x1b[31m[red]": 1.0}))
    rerun([str(then), "--compare", str(now)], never)
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out
    assert "\x1b[31m" not in out
    assert "[bold]" in out


BROKEN = {
    "metrics.json": '{"test/nll": 8',
    "environment.json": "[1]",
    "model/training.json": "{",
    "metrics.csv": "step,train/loss\n0,three\n",
    "choices.yaml": "{",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_half_written_file_is_named_and_the_rest_compared(
    tmp_path: Path, then: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    now = run(tmp_path / "now")
    (now / name).write_text(BROKEN[name])
    rerun([str(then), "--compare", str(now)], never)
    out = capsys.readouterr().out
    assert name == "metrics.csv" or f"{now}: {name}" in out
    assert out.splitlines()[-1].startswith("the same bit for bit")


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as refused:
        rerun(list(arguments), never)
    assert refused.value.exit_code == 2
    return str(refused.value)


def test_what_is_no_run_is_refused(tmp_path: Path, then: Path) -> None:
    assert "needs a run folder" in refusal()
    assert f"{tmp_path / 'no'}: no such folder" in refusal(str(tmp_path / "no"))
    (tmp_path / "empty").mkdir()
    assert "is not a run folder" in refusal(str(tmp_path / "empty"))
    assert f"is not a run, but contains runs; name one of them: vaelab rerun {then}" in refusal(str(tmp_path))
    (tmp_path / "sweep").mkdir()
    for number in range(12):
        make_run(tmp_path / "sweep" / str(number))
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    said = refusal(str(tmp_path / "sweep"))
    assert "is the folder of a sweep" in said
    assert f"{tmp_path}/sweep/4 and 7 more" in said
    assert "the run folder comes first: vaelab rerun <run folder> seed=2" in refusal("seed=2")


def test_a_run_that_is_running_or_lacks_its_record_is_refused(tmp_path: Path, then: Path) -> None:
    mark_running(make_run(tmp_path / "now", status=None))
    assert "is still running" in refusal(str(tmp_path / "now"))
    assert "is still running" in refusal(str(then), "--compare", str(tmp_path / "now"))
    (then / "config.yaml").unlink()
    assert "config.yaml is missing, so the run cannot be repeated" in refusal(str(then))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "seed=1"], "--multirun: rerun repeats one run"),
        (["seed=1,2"], "seed=1,2: names several values"),
        (["resume=x"], "starts from the beginning"),
        (["sweep=optuna"], "not a search"),
        (["--compare"], "--compare: needs a run folder"),
        (["--compare", "SELF"], "is the same run"),
        (["--compare", "SELF", "seed=2"], "seed=2: --compare trains nothing"),
    ],
)
def test_words_about_other_runs_are_refused(then: Path, words: list[str], said: str) -> None:
    assert said in refusal(str(then), *(str(then) if word == "SELF" else word for word in words))


def test_a_record_that_is_cut_short_is_named(then: Path) -> None:
    (then / "config.yaml").write_text("model: {beta: 4")

    def composing(words: list[str], again: Repetition) -> int:
        again.compose(words)
        return 0

    with pytest.raises(UserError, match=r"config\.yaml: is broken or cut short"):
        rerun([str(then)], composing)


def test_looking_imports_nothing_heavy(then: Path) -> None:
    code = "import sys; from vaelab.cli import main; sys.argv[0] = 'vaelab'\ntry: main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'lightning', 'numpy', 'wandb') if name in sys.modules])"
    for words in (["--help"], [str(then), "--compare", str(run(then.parent / "now"))]):
        done = subprocess.run([sys.executable, "-c", code, "rerun", *words], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr
