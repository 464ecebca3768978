"""What the end of a sweep says of its jobs: who is the best, by what, and among whom."""

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from vaelab.record.sweep import Status, Sweep
from vaelab.sweep_page.end import end_sweep, write
from vaelab.sweep_page.jobs import outcomes_of
from vaelab.sweep_page.outcomes import Entry, Key, Measure, Outcomes, Ranking
from vaelab.sweep_page.terminal import show

Made = Callable[..., Sweep]


def rows(sweep: Sweep) -> list[dict[str, str]]:
    with (sweep.folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_validation_number_decides_and_never_a_test_number(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made(
        ("latent_dim=2", {"val/elbo": -90.0, "test/mse": 0.5, "test/elbo": -99.0}),
        ("latent_dim=8", {"val/elbo": -95.0, "test/mse": 0.1, "test/elbo": -80.0}),
    )
    end_sweep(sweep)
    printed = capsys.readouterr().out
    assert "best by val/elbo, job 0:\n" in printed
    assert " latent_dim=2\n" in printed
    assert [(row["job"], row["best"]) for row in rows(sweep)] == [("0", "yes"), ("1", "")]


def test_one_lucky_seed_does_not_win(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made(
        ("latent_dim=2 seed=1", {"val/elbo": -70.0}),
        ("latent_dim=2 seed=2", {"val/elbo": -100.0}),
        ("latent_dim=8 seed=1", {"val/elbo": -81.0}),
        ("latent_dim=8 seed=2", {"val/elbo": -79.0}),
    )
    (ranking,) = outcomes_of(sweep)[0].rankings
    assert [entry.number for entry in ranking.entries] == [3, 2, 0, 1]
    assert ranking.best == (3,)
    end_sweep(sweep)
    printed = capsys.readouterr().out
    assert "-80 ± 1.4" in printed
    assert "best by the mean of val/elbo, job 3" in printed


def test_what_watches_another_number_is_not_compared(made: Made) -> None:
    sweep = made(
        ("model=ae", {"val/reconstruction": -50.0}),
        ("model=vae model.beta=1", {"val/reconstruction": -60.0, "val/elbo": -80.0}),
        ("model=vae model.beta=4", {"val/reconstruction": -70.0, "val/elbo": -85.0}),
    )
    outcomes, _ = outcomes_of(sweep)
    found = [(ranking.title, [entry.number for entry in ranking.entries]) for ranking in outcomes.rankings]
    assert found == [("val/elbo", [1, 2]), ("val/reconstruction", [0])]
    assert outcomes.best == {0, 1}
    assert [key.name for key in outcomes.keys] == ["model", "model.beta"]
    assert "model.beta" not in outcomes.entries[0].settings


@pytest.mark.parametrize("group", ["data", "task", "likelihood"])
def test_other_data_tasks_and_likelihoods_are_not_compared(made: Made, group: str) -> None:
    sweep = made(*((f"{group}={name} latent_dim={size}", {"val/elbo": -size}) for name in "ab" for size in (2, 4)))
    outcomes, _ = outcomes_of(sweep)
    assert [ranking.what for ranking in outcomes.rankings] == [f"{group}=a", f"{group}=b"]
    assert outcomes.best == {0, 2}


def test_settings_of_the_training_are_compared(made: Made) -> None:
    sweep = made(*((f"data.batch_size={size} seed={size}", {"val/elbo": -size}) for size in (32, 64)))
    assert len(outcomes_of(sweep)[0].rankings) == 1


def test_a_test_number_that_a_file_calls_watched_decides_nothing(made: Made) -> None:
    sweep = made(*((f"latent_dim={size}", {"test/elbo": -size}) for size in (2, 4)), watched=("test/elbo", "max"))
    outcomes, _ = outcomes_of(sweep)
    assert outcomes.measures == []
    assert outcomes.best == set()


def test_a_run_older_than_the_record_of_it_has_what_its_config_names(made: Made) -> None:
    jobs = [(f"task.monitor=val/mse latent_dim={size}", {"val/mse": size / 10}) for size in (2, 4)]
    (ranking,) = outcomes_of(made(*jobs, watched=None))[0].rankings
    assert (ranking.title, ranking.best) == ("val/mse", (0,))


def test_numbers_that_are_none_and_files_that_are_broken_end_no_sweep(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = made(*((f"latent_dim={size}", {"val/elbo": -float(size)}) for size in (1, 2, 3, 4)))
    (sweep.folder / "0/metrics.json").write_text('{"val/elbo": NaN, "test/mse": Infinity}')
    (sweep.folder / "1/metrics.json").write_text('{"val/el')
    (sweep.folder / "2/metrics.json").unlink()
    end_sweep(sweep)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "best by val/elbo, job 3:" in printed.out
    assert printed.out.count("its numbers cannot be read") == 2
    assert [row["val/elbo"] for row in rows(sweep)] == ["", "", "", "-4.0"]


def test_no_number_at_all_and_one_job(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    end_sweep(made(("latent_dim=2", {}), ("latent_dim=4", {})))
    assert "no job has a finite val/elbo, so none is the best" in capsys.readouterr().out


def test_one_job_is_the_best(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made(("latent_dim=2", {"val/elbo": -1.0}))
    end_sweep(sweep)
    assert "best by val/elbo, job 0:" in capsys.readouterr().out
    assert not list(sweep.folder.glob("*.png"))  # nothing to draw


def test_all_that_failed_and_the_best_ten_are_shown(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    done = [(f"latent_dim={size}", {"val/elbo": -float(size)}) for size in range(2, 32)]
    failed = [(f"latent_dim={size}", None) for size in range(40, 55)]
    end_sweep(made(*done, *failed))
    printed = capsys.readouterr().out
    assert "the best 10 of 30 jobs" in printed
    assert all(f"latent_dim={size}" in printed for size in range(40, 55))
    assert " 11 " in printed
    assert " 12 " not in printed.partition("failed ")[0]


def test_what_was_not_begun_is_counted_where_it_is_much(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made(*((f"latent_dim={size}", None) for size in range(2, 32)))
    for job in sweep.jobs[1:]:
        job.status = Status.NOT_STARTED
    end_sweep(sweep)
    printed = capsys.readouterr().out
    assert "sweep: 1 failed, 29 not started" in printed
    assert "and 19 more that are unfinished" in printed


def test_the_command_line_is_what_ran(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    sweep = made(
        ("experiment=mine tags=[a] latent_dim=2", {"val/elbo": -1.0}),
        ("experiment=mine latent_dim=4", {"val/elbo": -2.0}),
    )
    sweep.jobs[0].overrides = shlex.split("experiment=mine 'tags=[a]' latent_dim=2 +api_key=abcdefabcdefabcdefab")
    sweep.command = "python train.py --config-dir mine -m latent_dim=2,4"
    (sweep.folder / "0/overrides.yaml").write_text(json.dumps(["experiment=mine", "latent_dim=2", "tags=[c d]"]))
    entry = outcomes_of(sweep)[0].entries[0]
    told = ["python", "train.py", "--config-dir=mine", "experiment=mine", "latent_dim=2", "tags=[c d]"]
    assert shlex.split(entry.command) == [*told, "hydra.mode=RUN"]  # of which the tags were typed when it went on
    (sweep.folder / "0/metrics.json").unlink()
    entry = outcomes_of(sweep)[0].entries[0]
    assert "abcdef" not in entry.command


def test_usual_words_are_not_typed(made: Made) -> None:
    from vaelab.config.usual import usual_for

    words = ["data=images", "task=denoising", "seed=1"]
    usual = usual_for(words)
    assert usual is not None
    sweep = made((" ".join(words), {"val/mse": 1.0}), watched=("val/mse", "min"))
    (sweep.folder / "0/overrides.yaml").write_text(json.dumps([*usual.words, *words]))
    assert outcomes_of(sweep)[0].entries[0].command.endswith(" ".join(words))


def test_figures_of_an_earlier_end_do_not_stay(made: Made) -> None:
    sweep = made(*((f"latent_dim={size}", {"val/elbo": -float(size)}) for size in (2, 4, 8)))
    end_sweep(sweep)
    assert [path.name for path in sweep.folder.glob("*.png")] == ["sweep_by_key.png"]
    for job in sweep.jobs[1:]:
        (sweep.path(job) / "metrics.json").write_text("{}")
    end_sweep(sweep)
    assert not list(sweep.folder.glob("*.png"))


def test_several_keys_have_axes_and_shares(made: Made) -> None:
    grid = [(a, b) for a in (2, 4, 8) for b in ("mlp", "conv")]
    sweep = made(*((f"latent_dim={a} encoder={b}", {"val/elbo": -a - len(b) + a / 7 * len(b)}) for a, b in grid))
    end_sweep(sweep)
    assert {path.stem for path in sweep.folder.glob("*.png")} == {"sweep_parallel", "sweep_importance"}


def test_compression_has_its_curve(made: Made) -> None:
    numbers = [{"val/mse": 0.1 / size} | {f"test/{name}_{bits}bit": value for bits in (2, 4) for name, value in
                (("mse", 0.2 / bits / size), ("bits_coded", 1.0 * bits * size))} for size in (2, 4)]  # fmt: skip
    jobs = [(f"task=compression latent_dim={size}", found) for size, found in zip((2, 4), numbers, strict=True)]
    sweep = made(*jobs, watched=("val/mse", "min"))
    end_sweep(sweep)
    assert (sweep.folder / "rate_distortion.png").is_file()
    assert "Reconstruction error over the bits" in (sweep.folder / "sweep.html").read_text()


def test_a_page_that_cannot_be_written_is_one_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = made(("latent_dim=2", {"val/elbo": -1.0}), ("latent_dim=3", {"val/elbo": -2.0}))
    (sweep.folder / "sweep.html").mkdir()
    end_sweep(sweep)
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "sweep.html: cannot be written" in printed.err
    assert "best by val/elbo, job 0:" in printed.out
    assert "sweep folder:" in printed.out


def test_a_search_of_which_nothing_is_done_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = Entry(0, Status.NOT_STARTED, "not done", {}, {}, "0")
    keys, ranking = (Key("latent_dim", (), 2, 64, True),), Ranking((Measure("val/elbo", "max"),), ())
    outcomes = Outcomes("trial", tmp_path, "", "1 not done", (waiting,), keys, frozenset(), (ranking,))
    show(outcomes, "search.csv")
    assert write(outcomes, "search.csv") == ["search.csv", "sweep.html"]
    assert "search: 1 not done" in capsys.readouterr().out
    assert "not done" in (tmp_path / "sweep.html").read_text()


def test_a_fault_of_the_page_is_said_and_the_rest_is_printed(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made(("latent_dim=2", {"val/elbo": -1.0}), ("latent_dim=3", None))
    monkeypatch.setattr("vaelab.sweep_page.end.outcomes_of", lambda sweep: 1 / 0)
    end_sweep(sweep)
    printed = capsys.readouterr()
    assert printed.err == "the page cannot be written (ZeroDivisionError: division by zero)\n"
    assert "sweep: 1 done, 1 failed\n" in printed.out
    assert f"resume={sweep.folder}" in printed.out
