"""`sweep=optuna`: a search of hyperparameters, each trial a process of its own."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest
import yaml

import vaelab
from postgresql import Server, is_installed, serving
from vaelab.config.location import config_dir
from vaelab.notes import counted
from vaelab.record.sweep import Sweep, sweep_of

pytest.importorskip("optuna")

from vaelab.launch.process import launched
from vaelab.search.results import Results

REPOSITORY = Path(__file__).parents[2]
SOURCE = Path(vaelab.__file__).parent
SMALL = ["data=digits", "logger=none", "encoder=mlp_small", "trainer.max_epochs=1", "trainer.limit_train_batches=4"]
SPACE = ["sweep=optuna", "sweep.space.latent_dim=[2,4]", "sweep.startup=2"]
OPTIONS = sorted(path.stem for path in (config_dir() / "sweep").glob("*.yaml"))
Command = Callable[..., None]
Begun = Callable[..., "subprocess.Popen[str]"]
LONGEST = 400  # seconds for anything, on a machine that does much else


def program(*words: object, log_dir: Path | None = None) -> list[str]:
    logs = [] if log_dir is None else [f"paths.log_dir={log_dir}"]
    return [sys.executable, str(REPOSITORY / "train.py"), *map(str, words), *logs]


@pytest.fixture
def begun() -> Iterator[Begun]:
    """Begins a search in a process of its own. What still runs when the test ends or fails is ended."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*words: object, log_dir: Path, **environment: str) -> "subprocess.Popen[str]":
        processes.append(
            subprocess.Popen(
                program(*words, log_dir=log_dir), cwd=REPOSITORY, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env=os.environ | environment,
            )
        )  # fmt: skip
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.terminate()  # its trials too
    for process in processes:
        try:
            process.communicate(timeout=LONGEST)
        except (subprocess.TimeoutExpired, ValueError):  # it hangs, or its output was read
            process.kill()
            process.wait()


def finished(*words: object, log_dir: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        program(*words, log_dir=log_dir), cwd=REPOSITORY, text=True, capture_output=True, timeout=LONGEST, check=False
    )


def search_folder(log_dir: Path) -> Path:
    (record,) = log_dir.rglob("search.json")
    return record.parent


def until(condition: Callable[[], Any], seconds: float = LONGEST) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def statuses(folder: Path) -> list[str]:
    return [str(job.status) for job in Sweep.read(folder).jobs]


def begins(folder: Path) -> int:
    """Trials that have begun to train."""
    return sum((trial / "metrics.csv").is_file() for trial in folder.iterdir())


def one_run_for_each_trial(folder: Path, trials: int) -> None:
    assert statuses(folder) == ["done"] * trials
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "output")
    begun_anew = [name for name in names if "-failed-" in name]  # interrupted before they had a checkpoint
    assert [name for name in names if name not in begun_anew] == [str(number) for number in range(trials)]
    for number in range(trials):
        assert json.loads((folder / str(number) / "state.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "sweep=optuna"], "sweep=optuna with --multirun"),
        (["sweep=optuna", "latent_dim=2,4"], "sweep.space.latent_dim=[2,4]"),
        (["sweep=optunna"], "did you mean optuna?"),
        (["sweep=optuna", "sweep.trails=3"], "trials"),
        (["sweep=optuna", "sweep.trials=0"], "sweep.trials=0"),
        (["sweep=optuna", "sweep.space.latent_dimm=[2]"], "latent_dim"),
        (["sweep=optuna", "sweep.space.model=[vae,nothing]"], "model has:"),
        (["sweep=optuna", "sweep.space.latent_dim=[2,0]"], "sweep.space.latent_dim: latent_dim=0: "),
        (["sweep=optuna", "sweep.metric=test/elbo"], "must not select by the test split; use val/elbo"),
        (["sweep=optuna", "sweep.metric=val/msee"], "did you mean val/mse?"),
        (["sweep=optuna", "experiment=rate_distortion"], "defines a sweep"),
        (["sweep=optuna", "train=false"], "train=false: a search trains"),
        (["sweep=optuna", "sweep.storage=mysql://me@host/db"], "postgresql://"),
    ],
)
def test_what_cannot_be_searched_is_one_message_and_leaves_no_folder(
    words: list[str], message: str, refusal: Callable[..., Any]
) -> None:
    refused = refusal(*words, "logger=none")
    assert message in refused.message
    assert (refused.code, refused.left) == (2, [])


def test_a_search_without_optuna_names_the_extra(refusal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'vaelab[search]'" in refusal("sweep=optuna").message


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_how_it_is_used(option: str) -> None:
    text = (config_dir() / "sweep" / f"{option}.yaml").read_text()
    assert f"python train.py sweep={option} " in text.splitlines()[0]


@pytest.mark.long
@pytest.mark.parametrize("option", OPTIONS)
def test_every_value_at_the_ends_of_a_space_that_is_ready_can_be_run_with(option: str) -> None:
    from vaelab.search.checked import check_space
    from vaelab.search.space import flat, read_space

    folder = config_dir() / "sweep"
    path = folder / f"{option}.yaml"
    typed = re.findall(r"[\w./]+=[\w\[\]]+", path.read_text().splitlines()[0])
    parts = [entry.partition("@")[0] for entry in yaml.safe_load(path.read_text()).get("defaults", [])]
    files = [*(folder / f"{part}.yaml" for part in parts if part != "_self_"), path]
    nodes = [yaml.safe_load(file.read_text()) for file in files]
    space = read_space({key: entry for node in nodes for key, entry in flat(node.get("space", {})).items()})
    check_space([word for word in typed if not word.startswith("sweep=")], space, [config_dir()])


@pytest.mark.long
def test_a_search_ends_with_a_table_the_best_command_line_and_a_page(
    in_process: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        in_process(*SMALL, *SPACE, "sweep.trials=2", "sweep.workers=2", "tags=[mine]")
    assert ended.value.code == 0
    printed = capfd.readouterr().out
    folder = search_folder(tmp_path / "logs")
    assert folder.parent == tmp_path / "logs/generation/search"
    assert "search: 2 done" in printed
    one_run_for_each_trial(folder, 2)
    with (folder / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = [json.loads((folder / str(number) / "metrics.json").read_text()) for number in range(2)]
    assert [float(row["val/elbo"]) for row in rows] == [found["val/elbo"] for found in numbers]
    assert not any(name.startswith("test/") for found in numbers for name in found)
    (best,) = [row for row in rows if row["best"]]
    assert float(best["val/elbo"]) == max(found["val/elbo"] for found in numbers)
    assert best["command"] in printed
    assert best["command"].startswith("python train.py data=digits logger=none encoder=mlp_small")
    assert "sweep" not in best["command"]
    assert f"latent_dim={best['latent_dim']}" in best["command"]
    page = (folder / "sweep.html").read_text()
    assert escape(best["command"]) in page
    assert "data:image/png" in page
    found = sweep_of(folder / "1")
    assert found is not None
    assert found[1].number == 1
    assert "sweep=optuna" in json.loads((folder / "1/environment.json").read_text())["sweep"]["command"]
    about = json.loads((folder / "1/environment.json").read_text())["command"]
    assert "sweep" not in about
    assert "hydra" not in about


@pytest.mark.chaos
def test_a_search_that_is_interrupted_twice_ends_complete(begun: Begun, tmp_path: Path) -> None:
    words = [*SMALL, *SPACE, "sweep.trials=4", "sweep.pruner=none", "trainer.max_epochs=30"]
    search = begun(*words, log_dir=tmp_path)
    until(lambda: list(tmp_path.rglob("search.json")))
    folder = search_folder(tmp_path)
    until(lambda: begins(folder) >= 1)
    search.send_signal(signal.SIGINT)
    said, _ = search.communicate(timeout=LONGEST)
    assert search.returncode == 130, said
    assert f"resume={folder}" in said
    assert (folder / "search.csv").is_file()
    assert not (folder / "sweep.html").exists()  # which takes seconds
    assert set(statuses(folder)) <= {"interrupted", "not started", "done"}
    first = (folder / "0/overrides.yaml").read_text()

    search = begun(f"resume={folder}", log_dir=tmp_path)
    until(lambda: begins(folder) >= 2)
    search.send_signal(signal.SIGTERM)
    said, _ = search.communicate(timeout=LONGEST)
    assert search.returncode == 143, said

    ended = finished(f"resume={folder}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_trial(folder, 4)
    assert "search: 4 done" in ended.stdout
    assert all(word in first for word in ("latent_dim=", "optimizer.lr="))
    assert finished(f"resume={folder}").returncode == 0  # nothing is left to do


def four_workers_of_which_one_is_killed(begun: Begun, log_dir: Path, *more: str) -> Path:
    """A search of six trials by four processes; one of them is killed in the middle of its trial."""
    words = [*SMALL, *SPACE, "sweep.trials=6", "sweep.pruner=none", "trainer.max_epochs=40", *more]
    workers = [begun(*words, log_dir=log_dir)]
    until(lambda: list(log_dir.rglob("search.json")))
    folder = search_folder(log_dir)
    workers += [begun(f"resume={folder}", *more, log_dir=log_dir) for _ in range(3)]
    until(lambda: begins(folder) >= 3)
    workers[0].kill()
    workers[0].communicate()
    for worker in workers[1:]:
        said, _ = worker.communicate(timeout=LONGEST)
        assert worker.returncode == 0, said
    one_run_for_each_trial(folder, 6)
    return folder


@pytest.mark.chaos
def test_four_workers_of_which_one_is_killed_lose_no_trial_and_run_none_twice(begun: Begun, tmp_path: Path) -> None:
    four_workers_of_which_one_is_killed(begun, tmp_path)


@pytest.mark.long
def test_the_same_with_postgresql_whose_password_is_written_nowhere(
    begun: Begun, tmp_path: Path, postgresql: str
) -> None:
    folder = four_workers_of_which_one_is_killed(begun, tmp_path, f"sweep.storage={postgresql}")
    password = postgresql.partition("@")[0].rpartition(":")[2]
    for path in folder.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_trials_that_fail_are_told_from_bad_ones_and_run_again(begun: Begun, tmp_path: Path) -> None:
    table = ["data=table", f"data.path={tmp_path / 'rows.csv'}", "trainer.max_epochs=1", "logger=none"]
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{n % 7}.5,{n % 3}.25\n" for n in range(80)))
    search = begun(*table, *SPACE, "sweep.trials=3", log_dir=tmp_path / "logs")
    until(lambda: list((tmp_path / "logs").rglob("search.json")))
    (tmp_path / "rows.csv").rename(tmp_path / "away.csv")
    said, _ = search.communicate(timeout=LONGEST)
    assert search.returncode == 1, said
    folder = search_folder(tmp_path / "logs")
    assert "failed" in statuses(folder)
    assert "rows.csv" in said
    (tmp_path / "away.csv").rename(tmp_path / "rows.csv")
    ended = finished(f"resume={folder}", f"data.path={tmp_path / 'rows.csv'}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "run again" in ended.stdout


@pytest.mark.long
def test_several_objectives_end_with_a_pareto_front(tmp_path: Path) -> None:
    words = [
        *SMALL,
        "sweep=optuna_rate_distortion",
        "sweep.trials=4",
        "sweep.workers=2",
        "model=vae",
        "task=compression",
    ]
    ended = finished(*words, "likelihood=squared_error", log_dir=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = search_folder(tmp_path)
    with (folder / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    front = {row["trial"] for row in rows if row["best"]}
    points = {row["trial"]: (float(row["val/kl"]), float(row["val/mse"])) for row in rows}
    beaten = {
        one for one, (rate, error) in points.items()
        if any(r <= rate and e <= error and (r, e) != (rate, error) for r, e in points.values())
    }  # fmt: skip
    assert front == set(points) - beaten
    assert (folder / "search_front.png").is_file()
    assert "Pareto front, trial" in ended.stdout


@pytest.mark.long
def test_a_trial_over_two_devices_is_one_launched_process(tmp_path: Path) -> None:
    devices = ["trainer=ddp_sim", "trainer.devices=2"]
    ended = finished(*SMALL, *SPACE, *devices, "sweep.trials=1", log_dir=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_trial(search_folder(tmp_path), 1)


@pytest.mark.chaos
def test_a_trial_ends_with_the_worker_that_was_killed(begun: Begun, tmp_path: Path) -> None:
    search = begun(*SMALL, *SPACE, "sweep.trials=1", "trainer.max_epochs=2000", log_dir=tmp_path)
    until(lambda: list(tmp_path.rglob("search.json")))
    folder = search_folder(tmp_path)
    until(lambda: begins(folder) >= 1)
    pid = json.loads((folder / "0/state.json").read_text())["pid"]
    search.kill()
    search.communicate()
    until(lambda: json.loads((folder / "0/state.json").read_text())["status"] == "interrupted")
    until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
    assert (folder / "0/checkpoints/last.ckpt").is_file()


@pytest.mark.long
def test_a_hopeless_trial_is_pruned_and_its_folder_and_the_page_say_so(tmp_path: Path) -> None:
    space = ["sweep.space.latent_dim=null", "sweep.space.optimizer.lr=[0.003,1.0e-9]"]
    words = [*SMALL, "trainer.max_epochs=60", "sweep=optuna", *space, "sweep.sampler=random", "sweep.startup=1"]
    ended = finished(*words, "sweep.trials=5", log_dir=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = search_folder(tmp_path)
    with (folder / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["optimizer.lr"] for row in rows if row["best"]] == ["0.003"]
    pruned = [row for row in rows if row["outcome"] == "pruned"]
    assert pruned
    assert {row["optimizer.lr"] for row in pruned} == {"1e-09"}
    for row in pruned:
        state = json.loads((folder / row["trial"] / "state.json").read_text())
        why = f"pruned after {counted(int(row['validations']), 'validation')}"
        assert (state["status"], state["why"]) == ("interrupted", why)
        assert int(row["validations"]) < 60
        assert why in (folder / "sweep.html").read_text()
    assert statuses(folder).count("pruned") == len(pruned)
    again = finished(f"resume={folder}")  # a pruned trial is over
    assert again.returncode == 0, again.stdout + again.stderr
    assert "trial " not in again.stdout.partition("search: ")[0]


@pytest.fixture
def server() -> Iterator[Server]:
    """A database of the test's own, which it may stop."""
    pytest.importorskip("psycopg")
    if not is_installed():
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, serving(Path(folder)) as running:
        yield running


@pytest.mark.chaos
def test_a_search_goes_on_through_a_restart_of_its_database(begun: Begun, server: Server, tmp_path: Path) -> None:
    words = [*SMALL, *SPACE, "sweep.trials=3", "sweep.workers=2", "sweep.pruner=none", "trainer.max_epochs=40"]
    search = begun(*words, log_dir=tmp_path, VAELAB_SEARCH_STORAGE=server.address)
    until(lambda: list(tmp_path.rglob("metrics.csv")))
    server.stop()
    time.sleep(10)
    server.start()
    said, _ = search.communicate(timeout=LONGEST)
    assert search.returncode == 0, said
    assert said.count("does not answer") == said.count("answers again") == 1
    assert "Traceback" not in said
    one_run_for_each_trial(search_folder(tmp_path), 3)


@pytest.mark.chaos
def test_ctrl_c_while_the_database_is_away_loses_no_trial(begun: Begun, server: Server, tmp_path: Path) -> None:
    words = [*SMALL, *SPACE, "sweep.trials=2", "sweep.workers=2", "sweep.pruner=none", "trainer.max_epochs=60"]
    search = begun(*words, log_dir=tmp_path, VAELAB_SEARCH_STORAGE=server.address)
    until(lambda: len(list(tmp_path.rglob("metrics.csv"))) == 2)
    folder = search_folder(tmp_path)
    server.stop()
    search.send_signal(signal.SIGINT)
    said, _ = search.communicate(timeout=LONGEST)
    assert search.returncode == 130, said
    assert said.splitlines()[-1] == f"error: interrupted; resume it with resume={folder}"
    server.start()
    ended = begun(f"resume={folder}", log_dir=tmp_path, VAELAB_SEARCH_STORAGE=server.address)
    said, _ = ended.communicate(timeout=LONGEST)
    assert ended.returncode == 0, said
    one_run_for_each_trial(folder, 2)


@pytest.mark.long
def test_ctrl_c_while_the_results_are_written_says_how_to_go_on(
    in_process: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(results: Results) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Results, "write", interrupted)
    with pytest.raises(SystemExit) as ended:
        in_process(*SMALL, *SPACE, "sweep.trials=1")
    assert ended.value.code == 0  # all trials are done
    folder = search_folder(tmp_path / "logs")
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == f"interrupted while the page was written; resume={folder} makes it"
    assert statuses(folder) == ["done"]


@pytest.mark.parametrize(
    ("typed", "started"),
    [
        (["train.py"], ["train.py"]),
        ([str(SOURCE / "__main__.py"), "train"], ["-m", "vaelab", "train"]),
        (["gone/bin/vaelab", "train"], ["-m", "vaelab", "train"]),
    ],
)
def test_trials_are_launched_as_the_search_was(
    typed: list[str], started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert launched(typed) == started


@pytest.mark.long
def test_a_search_that_is_started_as_a_module_runs_its_trials_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaelab", "train", *SMALL, *SPACE, "sweep.trials=1", f"paths.log_dir={tmp_path}"]
    ended = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=LONGEST, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = search_folder(tmp_path)
    one_run_for_each_trial(folder, 1)
    about = json.loads((folder / "0/environment.json").read_text())
    assert about["command"].startswith("python -m vaelab train data=digits")
