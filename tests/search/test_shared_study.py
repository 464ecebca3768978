"""The study that workers share: each trial has one worker at a time, and none is lost."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from search_workers import SPACE, node, searched
from vaelab import living_process
from vaelab.errors import ConfigError
from vaelab.search import storage as storages
from vaelab.search import study as shared
from vaelab.search.settings import Objective, Search, wanted
from vaelab.search.space import read_space
from vaelab.search.storage import OutageError, Storage
from vaelab.search.study import SharedStudy

Make = Callable[..., SharedStudy]


@pytest.fixture
def worker(tmp_path: Path) -> Make:
    def make(**settings: Any) -> SharedStudy:
        search = searched(tmp_path, **settings)
        return SharedStudy(search, Storage(search.node.storage, tmp_path, search.study))

    return make


def fates(study: SharedStudy) -> list[str]:
    return [trial.fate for trial in study.trials()]


def test_workers_share_as_many_trials_as_were_asked_for(worker: Make) -> None:
    one, other = worker(), worker()
    claimed = [found.number for study in (one, other, one, other, one) if (found := study.claim()) is not None]
    assert claimed == [0, 1, 2, 3]
    assert fates(one) == ["running"] * 4
    for number, study in enumerate((one, other, one, other)):
        assert study.is_mine(number)
        assert study.end(number, "done", [float(number)])
    assert one.is_over()
    assert other.best() == [3]
    assert not one.run_failed_again()


def test_a_trial_that_is_put_back_keeps_its_number_and_its_parameters(worker: Make) -> None:
    one, other = worker(), worker()
    before = one.claim()
    assert before is not None
    one.report(0, {0: -5.0})
    assert one.end(0, "waiting")
    after = other.claim()
    assert after is not None
    assert (after.number, after.words) == (before.number, before.words)
    assert after.reported == {0: -5.0}
    assert not one.is_mine(0)


def test_the_trial_of_a_killed_worker_goes_to_another(worker: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = worker(trials=1), worker(trials=1)
    before = one.claim()
    assert before is not None
    assert other.claim() is None  # its worker lives
    lives = {"worker": True, "trial": True}
    monkeypatch.setattr(shared, "is_alive", lambda pid, born: lives["worker" if pid != 4321 else "trial"])
    one.started(0, 4321)
    lives["worker"] = False
    assert other.claim() is None  # its process still runs, and writes into the folder
    lives["trial"] = False
    after = other.claim()
    assert after is not None
    assert after.words == before.words
    assert not one.end(0, "done", [1.0])  # it comes too late
    assert fates(other) == ["running"]


def test_a_worker_on_another_machine_counts_as_gone_when_it_is_silent_for_long(
    worker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(shared, "monotonic", lambda: now[0])
    monkeypatch.setattr(shared, "machine", lambda: "elsewhere")
    one = worker(trials=1)
    one.claim()
    monkeypatch.setattr(shared, "machine", lambda: "here")
    other = worker(trials=1)
    assert other.running_elsewhere() == [(0, "elsewhere")]
    for _ in range(5):
        one.beat()
        assert other.claim() is None
        now[0] += shared.SILENT - 1
    now[0] += 2
    assert other.claim() is not None
    assert not one.is_mine(0)


def test_a_worker_that_comes_back_after_long_silence_changes_nothing_any_more(
    worker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = worker(trials=1), worker(trials=1)
    one.claim()
    monkeypatch.setattr(shared, "is_alive", lambda pid, born: False)
    assert other.claim() is not None
    for is_over in (False, True):
        if is_over:
            assert other.end(0, "done", [1.0], seconds=5.0)
        assert not one.started(0, 4321)
        assert not one.report(0, {0: -9.0})
        assert one.beat() == [0]
    assert not one.end(0, "done", [2.0], seconds=99.0)
    (trial,) = worker(trials=1).trials()
    assert (trial.values, trial.reported, trial.seconds) == ([1.0], {}, 5.0)


def test_an_end_whose_answer_was_lost_is_told_once(worker: Make) -> None:
    study = worker(trials=2)
    study.claim()
    assert study.end(0, "done", [1.0])
    assert study.end(0, "done", [1.0])  # again, as after an outage
    assert [trial.values for trial in study.trials()] == [[1.0], []]


def test_a_process_that_cannot_be_seen_is_not_dead_until_it_is_silent_for_long(
    worker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(shared, "monotonic", lambda: now[0])
    monkeypatch.setattr(shared, "is_alive", lambda pid, born: None)
    one, other = worker(trials=1), worker(trials=1)
    one.claim()
    for _ in range(3):
        assert other.claim() is None
        one.beat()
        now[0] += shared.SILENT - 1
    assert other.claim() is None
    now[0] += shared.SILENT + 1
    other.answers_again()  # in an outage nobody could give a sign
    assert other.claim() is None
    now[0] += shared.SILENT + 1
    assert other.claim() is not None


def test_a_trial_whose_machine_was_restarted_is_not_judged_by_numbers_of_processes(
    worker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = worker(trials=1)
    one.claim()
    monkeypatch.setattr(living_process, "boot", lambda: "another")
    monkeypatch.setattr(shared, "is_alive", lambda pid, born: pytest.fail("means another process"))
    other = worker(trials=1)
    assert other.claim() is None
    assert other.running_elsewhere() == [(0, platform.node())]


def test_a_worker_that_was_stopped_within_the_lock_does_not_hang_the_others(
    worker: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "LONGEST_WAIT", 0.2)
    study = worker()
    with Storage(None, tmp_path, "s").lock(), pytest.raises(OutageError, match="was it stopped"):
        study.claim()
    assert study.claim() is not None


def test_a_trial_that_failed_is_told_from_a_bad_one_and_runs_again_when_the_rest_is_over(worker: Make) -> None:
    study = worker(trials=2, sampler="random")
    first = study.claim()
    assert first is not None
    study.end(0, "failed", error="no data")
    assert study.run_failed_again() == []  # the search is not over
    study.claim()
    study.end(1, "done", [-1e9])
    assert (fates(study), study.best()) == (["failed", "done"], [1])
    assert study.run_failed_again() == [0]
    again = study.claim()
    assert again is not None
    assert (again.number, again.words) == (2, first.words)
    assert [trial.replaced for trial in study.trials()] == [True, False, False]
    assert worker(trials=2).trials()[2].number == 2  # no fourth trial


def test_more_trials_can_be_asked_for_later(worker: Make) -> None:
    worker(trials=2)
    assert len(worker(trials=5).trials()) == 5
    assert len(worker(trials=3).trials()) == 5


def test_a_trial_is_ended_early_that_is_worse_than_the_others_at_a_validation(worker: Make) -> None:
    study = worker(trials=4, startup=2)
    for number, level in enumerate((1.0, 2.0)):
        study.claim()
        assert not any(study.report(number, {place: level + place}) for place in range(3))
        study.end(number, "done", [level])
    study.claim()
    assert not study.report(2, {0: 1.8})
    assert study.report(2, {1: 1.8})
    study.end(2, "pruned")
    assert study.trials()[2].reported == {0: 1.8, 1: 1.8}
    study.claim()
    assert not worker(pruner="none").is_over()


def test_a_search_that_is_interrupted_proposes_what_an_uninterrupted_one_does(worker: Make, tmp_path: Path) -> None:
    study = worker(trials=6)
    proposed = []
    for number in range(6):
        trial = study.claim()
        assert trial is not None
        proposed.append(trial.words)
        study.end(number, "done", [float(number)])
    assert len({tuple(words or ()) for words in proposed}) == 6
    (tmp_path / "journal.log").unlink()
    for number in range(6):
        study = worker(trials=6)
        trial = study.claim()
        assert trial is not None
        assert trial.words == proposed[number]
        study.end(number, "done", [float(number)])


def test_several_objectives_have_a_pareto_front(tmp_path: Path) -> None:
    both = (Objective("val/kl", "min"), Objective("val/mse", "min"))
    search = searched(tmp_path, both)
    study = SharedStudy(search, Storage(None, tmp_path, "s"))
    for number, values in enumerate(([1.0, 9.0], [5.0, 5.0], [9.0, 1.0], [6.0, 6.0])):
        study.claim()
        study.end(number, "done", values)
    assert sorted(study.best()) == [0, 1, 2]
    assert len(study.importance()) == 2
    assert not search.prunes


def test_what_is_searched_for_is_a_number_of_validation_with_a_direction() -> None:
    known, watched = {"val/elbo", "val/kl", "val/mse"}, ("val/elbo", "max")
    space = read_space(SPACE)
    assert wanted(node(), watched, known, space) == [Objective("val/elbo", "max")]
    assert wanted(node(metric="val/mse"), watched, known, space) == [Objective("val/mse", "min")]
    assert wanted(node(objectives={"val/kl": "min", "val/mse": None}), watched, known, space) == [
        Objective("val/kl", "min"),
        Objective("val/mse", "min"),
    ]
    for settings, message in (
        ({"metric": "test/mse"}, "must not select by the test split; use val/mse"),
        ({"metric": "val/msee"}, "did you mean val/mse?"),
        ({"metric": "val/kl"}, "sweep.objectives={val/kl: min}"),
        ({"objectives": ["val/kl", "val/mse"]}, "set it with sweep.objectives"),
        ({"space": {"model": ["ae", "vae"]}}, "name the objective with sweep.metric"),
    ):
        with pytest.raises(ConfigError) as refused:
            wanted(node(**settings), watched, known, read_space(settings.get("space", SPACE)))
        assert message in str(refused.value)
    with pytest.raises(ConfigError, match=r"sweep\.metric and"):
        node(metric="val/mse", objectives={"val/kl": "min"})
    with pytest.raises(ConfigError, match=r"sweep\.pruner=median"):
        node(pruner="median", objectives={"val/kl": "min", "val/mse": "min"})
    with pytest.raises(ConfigError, match=r"sweep\.trials=0"):
        node(trials=0)


def test_the_record_of_a_search_gives_it_again_and_no_address_of_a_database(tmp_path: Path) -> None:
    search = searched(tmp_path, storage="postgresql://me:secretpassword1@db/vaelab")
    search.write()
    text = (tmp_path / "search.json").read_text()
    assert "postgresql" not in text
    assert "secretpassword1" not in text
    with pytest.raises(ConfigError, match=r"type sweep\.storage"):
        Search.read(tmp_path, {}, None)
    again = Search.read(tmp_path, {"trials": 9}, "postgresql://db/vaelab")
    assert (again.space, again.objectives, again.node.trials) == (search.space, search.objectives, 9)
    with pytest.raises(ConfigError, match=r"sweep\.sampler"):
        Search.read(tmp_path, {"sampler": "random"}, "postgresql://db/vaelab")


CLAIMING = """
import os, sys
from pathlib import Path
from search_workers import searched
from vaelab.search.storage import Storage
from vaelab.search.study import SharedStudy
folder, address, held = Path(sys.argv[1]), sys.argv[2] or None, Path(sys.argv[1], "held")
study = SharedStudy(searched(folder, trials=24, storage=address), Storage(address, folder, "s"))
print("ready", flush=True)
sys.stdin.readline()
while (trial := study.claim()) is not None:
    print(trial.number, flush=True)
    if trial.number == 5 and not held.exists():
        held.write_text(str(os.getpid()))
        sys.stdin.read()  # until it is killed
    study.end(trial.number, "done", [float(trial.number)])
"""


def claimed_by_four_of_which_one_is_killed(folder: Path, address: str) -> list[list[int]]:
    """The trials that each of four processes took; the one that took trial 5 first is killed while it holds it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    processes = [
        subprocess.Popen([sys.executable, "-c", CLAIMING, str(folder), address], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    until = time.monotonic() + 60
    while not (folder / "held").is_file() or not (folder / "held").read_text():
        assert time.monotonic() < until
        time.sleep(0.01)
    killed = int((folder / "held").read_text())
    next(process for process in processes if process.pid == killed).kill()
    return [[int(line) for line in process.communicate(timeout=60)[0].split()] for process in processes]


def check_that_four_share(folder: Path, address: str) -> None:
    taken = [number for numbers in claimed_by_four_of_which_one_is_killed(folder, address) for number in numbers]
    assert sorted(set(taken)) == list(range(24))
    assert {number for number in taken if taken.count(number) > 1} <= {5}  # the killed one, and who took it over
    storage = Storage(address or None, folder, "s")
    last = SharedStudy(searched(folder, trials=24, storage=address or None), storage)
    if (left := last.claim()) is not None:  # the others had ended before the kill
        assert left.number == 5
        last.end(5, "done", [5.0])
    assert last.is_over()
    assert [trial.values for trial in last.trials()] == [[float(number)] for number in range(24)]
    storage.close()


@pytest.mark.long
def test_of_four_processes_none_takes_the_trial_of_another_and_that_of_a_killed_one_is_not_lost(tmp_path: Path) -> None:
    check_that_four_share(tmp_path, "")


@pytest.mark.long
def test_the_same_with_postgresql(tmp_path: Path, postgresql: str) -> None:
    check_that_four_share(tmp_path, postgresql)
    text = "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert "postgresql" not in text
