"""Recorded numbers: every experiment has one, the page is that of the file, and a repetition is judged."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vaelab.cli import main
from vaelab.config.location import config_dir
from vaelab.errors import ConfigError
from vaelab.record.state import RunStatus
from vaelab.reproduce import command
from vaelab.reproduce.judged import Verdict, judge
from vaelab.reproduce.page import results_page
from vaelab.reproduce.recorded import Number, Result, recorded, result_of, without_result
from vaelab.runs.listed import list_runs

PAGE = Path(__file__).parents[2] / "docs/results.md"
SMALL = """\
small:
  about: A small VAE.
  words: encoder.hidden=[8] trainer.max_epochs=1 logger=none
  minutes: 0.1
  numbers: [{metric: test/nll, value: VALUE, within: 5}]
other:
  about: Another one.
  words: latent_dim=4
  minutes: 0.1
  numbers: [{metric: test/nll, value: VALUE, within: 5}]
several:
  about: Two of them.
  words: -m encoder.hidden=[8] trainer.max_epochs=1 logger=none task.nll_samples=2 seed=1,2 latent_dim=2,3
  minutes: 0.1
  numbers: [{metric: test/elbo, of: {latent_dim: 2}, value: -200, within: 1000}]
"""


def number(value: float, seen: float, metric: str = "test/nll") -> Verdict:
    runs: Any = [SimpleNamespace(run=SimpleNamespace(metrics={metric: seen}), status=RunStatus.FINISHED)]
    (one,) = judge(Result("x", "", (), 1, (Number(metric, value, 0.5, {}),)), runs)
    return one.verdict


def test_a_number_holds_within_its_interval_and_a_better_one_is_no_failure() -> None:
    assert number(80.0, 80.4) == number(80.0, 79.6) == Verdict.HOLDS
    assert number(80.0, 79.4) == Verdict.BETTER
    assert number(80.0, 80.6) == Verdict.MISSED
    assert number(80.0, 80.6, "test/psnr") == Verdict.BETTER
    assert number(80.0, 80.6, "test/kl") == number(80.0, 79.4, "test/kl") == Verdict.MISSED  # neither is better
    (one,) = judge(Result("x", "", (), 1, (Number("test/nll", 1.0, 0.5, {}),)), [])
    assert one.verdict == Verdict.MISSING
    assert not one.verdict.good


def test_every_experiment_has_a_number_and_every_result_an_experiment() -> None:
    experiments = {file.stem for file in (config_dir() / "experiment").glob("*.yaml")}
    results = recorded()
    assert without_result(experiments, results) == []
    assert {result.experiment for result in results.values()} <= experiments
    assert all(result.minutes <= 60 or result.note for result in results.values())


def test_the_page_is_the_one_that_is_written() -> None:
    assert PAGE.read_text() == results_page(recorded().values()), "vaelab reproduce --page writes it anew"


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean mnist_vae\?"):
        result_of("mnist_va", recorded())


@pytest.fixture
def reproduce(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """`reproduce(*words)` in a folder of its own with small results; returns the exit code."""

    def run(*words: str, value: float = 80.0) -> Any:
        file = tmp_path / "results.yaml"
        file.write_text(SMALL.replace("VALUE", str(value)))
        monkeypatch.setattr(command, "recorded", lambda: recorded(file))
        monkeypatch.setattr("sys.argv", ["vaelab", "reproduce", *words])
        try:
            main()
        except SystemExit as stop:
            return stop.code
        return 0

    monkeypatch.chdir(tmp_path)
    return run


def test_an_experiment_is_trained_again_and_judged(
    reproduce: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce("small", "latent_dim=3", value=1.0) == 3
    assert "missed" in capsys.readouterr().out
    (run,) = (tmp_path / "logs/reproduce/small").iterdir()
    assert "latent_dim: 3" in (run / "config.yaml").read_text()
    assert reproduce("small", "--from", str(run), value=1e9) == 0
    assert "small: 1 of 1 numbers hold" in capsys.readouterr().out
    assert reproduce("other", "--from", str(run)) == 2
    assert "is not a run of other, which has latent_dim=4" in capsys.readouterr().err
    assert reproduce("small", "--cfg", "job") == 0


@pytest.mark.long
def test_numbers_of_a_sweep_are_means_over_the_runs_that_they_belong_to(
    reproduce: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce("several") == 0
    (shown,) = [line for line in capsys.readouterr().out.splitlines() if "test/elbo latent_dim=2" in line]
    runs = list_runs(str(tmp_path / "logs"))[0]
    values = [run.run.metrics["test/elbo"] for run in runs if run.run.config["latent_dim"] == 2]
    assert len(values) == 2
    assert f"{sum(values) / 2:.6g}" in shown


@pytest.mark.parametrize(("words", "said"), [
    ((), "needs the name of a result"),
    (("smal",), "did you mean small?"),
    (("small", "--list"), "--list and --page train nothing"),
    (("small", "seed=1", "--from", "x"), "--from trains nothing"),
    (("small", "--from", "x"), "x: no such folder"),
    (("small", "latent_dimm=3"), "did you mean latent_dim?"),
    (("small", "hydra.run.dir=x"), "the run goes to logs/reproduce/small"),
    (("small", "encoder.hidden=[9]"), "small uses encoder.hidden=[8]; leave it out"),
    (("--page", "small"), "should be a file that ends with .md"),
])  # fmt: skip
def test_a_wrong_command_line_is_one_message(
    reproduce: Callable[..., Any], words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(*words) == 2
    assert said in capsys.readouterr().err
