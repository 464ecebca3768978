"""What is gone on with, evaluated or begun from is the run that is named, whatever else is typed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from vaelab.config.builder import Builder
from vaelab.corruptions import Identity
from vaelab.errors import ConfigError
from vaelab.record.checkpoints import find_checkpoint, read_start
from vaelab.record.curves import read_curves
from vaelab.run import data_for

Train = Callable[..., Path]
# 1,294 train examples: 4 steps an epoch.
SMALL = (
    "encoder.hidden=[4]",
    "decoder.hidden=[4]",
    "latent_dim=3",
    "data.batch_size=400",
    "task=compression",
    "model=vae",
)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs whose settings are no defaults."""
    from vaelab.cli import train

    logs = tmp_path_factory.mktemp("first")
    words = ("model=annealed_vae", "data.split_seed=3", "trainer.max_epochs=2", "scheduler=cosine", "seed=null")
    train([*SMALL, *words, "logger=none", f"paths.log_dir={logs}"])
    (config,) = logs.rglob("config.yaml")
    return config.parent


@pytest.fixture
def run(first: Path, tmp_path: Path) -> Path:
    """A copy of it, in another place."""
    return Path(shutil.copytree(first, tmp_path / "logs/run"))


@pytest.fixture
def refusal(train: Train, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs what must be refused; returns the one message."""

    def refused(*words: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            train(*words)
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        return line

    return refused


def numbers(folder: Path, *prefixes: str) -> dict[str, float]:
    found = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name.startswith(prefixes or ("",))}


def config(folder: Path) -> Any:
    return yaml.safe_load((folder / "config.yaml").read_text())


def last(folder: Path) -> Any:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def test_a_run_records_the_seed_that_it_drew(first: Path) -> None:
    drawn = config(first)["seed"]
    assert isinstance(drawn, int)
    assert config(first)["data"]["seed"] == drawn
    assert json.loads((first / "environment.json").read_text())["seed"] == drawn


@pytest.mark.parametrize(
    "place", [".", *(pytest.param(name, marks=pytest.mark.long) for name in ("model", "checkpoints"))]
)
def test_nothing_is_typed_again_to_evaluate(run: Path, train: Train, place: str) -> None:
    (run / "checkpoints/last.ckpt").unlink()
    again = train("train=false", f"ckpt_path={run / place}")
    assert numbers(again) == numbers(run, "test/", "baseline/")  # test/loss under the annealed beta among them
    assert config(again)["seed"] == config(run)["seed"]
    assert again.parent.name == "digits-annealed_vae"
    if place == "model":  # what was evaluated can be evaluated again
        once_more = train("train=false", f"ckpt_path={again}", "test=false")
        assert config(once_more)["data"]["split_seed"] == 3


def test_the_last_checkpoint_is_named_where_there_is_no_best(
    run: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "checkpoints/best.ckpt").unlink()
    train("train=false", f"ckpt_path={run}", "test=false")
    assert "no best.ckpt" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("word", ["data.split_seed=5", "data.val_fraction=0.3", "data.normal=[1]"])
def test_another_split_is_not_evaluated(run: Path, refusal: Callable[..., str], word: str) -> None:
    message = refusal("train=false", f"ckpt_path={run}", word)
    assert f"error: {word.partition('=')[0]}" in message
    assert "trained on" in message


def test_another_split_is_known_by_the_checkpoint_alone(run: Path, refusal: Callable[..., str], tmp_path: Path) -> None:
    stray = shutil.copy(run / "checkpoints/best.ckpt", tmp_path / "stray.ckpt")
    message = refusal("train=false", f"ckpt_path={stray}", *SMALL, "model=annealed_vae")
    assert "type data.split_seed=3" in message


@pytest.mark.long
def test_another_split_is_known_by_the_config_of_an_older_run(
    run: Path, refusal: Callable[..., str], train: Train
) -> None:
    """Which has neither the record of its data nor that of its options."""
    for name in ("best", "last"):
        checkpoint = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)
        del checkpoint["trained_on"]
        torch.save(checkpoint, run / f"checkpoints/{name}.ckpt")
    (run / "model/training.json").unlink()
    (run / "choices.yaml").unlink()
    assert "data.split_seed=3" in refusal("train=false", f"ckpt_path={run}", "data.split_seed=0")
    again = train("train=false", f"ckpt_path={run}")
    assert numbers(again, "test/mse") == numbers(run, "test/mse")


def test_weights_are_not_trained_on_in_another_split(run: Path, refusal: Callable[..., str]) -> None:
    message = refusal(f"ckpt_path={run}", *SMALL, "model=annealed_vae")
    assert "type data.split_seed=3" in message


@pytest.mark.long
def test_training_begins_from_weights_with_all_of_its_epochs(run: Path, train: Train) -> None:
    words = (*SMALL, "data.split_seed=3", "trainer.max_epochs=2", "optimizer.lr=0", "test=false", "model=vae")
    new = train(f"ckpt_path={run}", *words)
    weights = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert last(new)["global_step"] == 8
    assert all(torch.equal(value, weights[name]) for name, value in last(new)["state_dict"].items())
    assert [step for step, _ in read_curves(new / "metrics.csv")["train/loss"]] == [3, 7]
    for place in ("model", "checkpoints/last.ckpt"):
        assert last(train(f"ckpt_path={run / place}", *words, "trainer.max_epochs=1"))["global_step"] == 4
    # Another run from these weights still knows what the first one was trained on.
    known = json.loads((new / "model/training.json").read_text())["data"]
    assert [record["settings"]["split_seed"] for record in known["before"]] == [3]


def test_the_words_that_give_the_architecture_are_named(run: Path, refusal: Callable[..., str]) -> None:
    message = refusal(f"ckpt_path={run}", "data.split_seed=3", "encoder=conv", "task=compression", "model=vae")
    assert "Type encoder=mlp decoder=mlp latent_dim=3 " in message
    assert "encoder.hidden='[4]'" in message or "encoder.hidden=[4]" in message


def test_a_typed_learning_rate_takes_effect(run: Path, train: Train) -> None:
    words = ("optimizer.lr=0", "optimizer.betas=[0.5,0.9]", "scheduler=constant")
    train(f"resume={run}", *words, "trainer.max_epochs=3", "test=false")
    before, after = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert before["global_step"] == 8
    assert all(torch.equal(value, before["state_dict"][name]) for name, value in after["state_dict"].items())
    (group,) = last(run)["optimizer_states"][0]["param_groups"]
    assert (group["lr"], group["initial_lr"], tuple(group["betas"])) == (0, 0, (0.5, 0.9))
    assert last(run)["global_step"] == 12


@pytest.mark.long
def test_a_resumed_run_keeps_its_history_and_its_seed(run: Path, train: Train) -> None:
    before = config(run)
    train(f"resume={run}", "trainer.max_epochs=3", "test=false")
    train(f"resume={run}", "trainer.max_epochs=4", "test=false")
    after = config(run)
    assert (after["seed"], after["data"]) == (before["seed"], before["data"])
    environment = json.loads((run / "environment.json").read_text())
    starts = [*(start["command"] for start in environment["history"]), environment["command"]]
    assert len(starts) == 3
    assert ["max_epochs=" + number in start for number, start in zip("234", starts, strict=True)] == [True] * 3
    words = yaml.safe_load((run / "overrides.yaml").read_text())
    assert "trainer.max_epochs=4" in words
    assert "trainer.max_epochs=2" not in words
    assert "model=annealed_vae" in words


def test_a_run_that_is_done_says_so(run: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train(f"resume={run}", "test=false")
    assert "training was already complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("data.batch_size=50", "the run has data.batch_size=400"),
        ("+optimizer.amsgrad=true", "max_exp_avg_sq"),
        ("trainer.max_epochs=1", "already has 2 epochs"),
        ("trainer.max_steps=3", "already has 8 steps"),
    ],
)
def test_what_would_make_it_another_run_is_refused(
    run: Path, refusal: Callable[..., str], word: str, named: str
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert named in refusal(f"resume={run}", word)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.long
def test_patience_and_the_best_checkpoint_go_on(train: Train, tmp_path: Path) -> None:
    stopping = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "trainer.max_epochs=20")
    made = train(*SMALL, *stopping, "optimizer.lr=0", "test=false")
    assert last(made)["global_step"] == 8  # the first epoch is the best, the second is no better
    best = torch.load(made / "checkpoints/best.ckpt", weights_only=True)
    run = Path(shutil.move(made, tmp_path / "logs/elsewhere"))
    words = ("callbacks.early_stopping.patience=3", "+callbacks.best.every_n_epochs=2", "optimizer.lr=0.5")
    train(f"resume={run}", *words)  # from here on it becomes worse
    assert last(run)["global_step"] == 16
    assert torch.load(run / "checkpoints/best.ckpt", weights_only=True)["global_step"] == best["global_step"] == 4
    assert numbers(run, "val/mse")["val/mse"] == pytest.approx(read_curves(run / "metrics.csv")["val/mse"][0][1])


@pytest.mark.long
def test_a_best_checkpoint_by_another_number_is_chosen_anew(
    run: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    train(f"resume={run}", "task.monitor=val/elbo", "trainer.max_epochs=3", "optimizer.lr=0.1")
    assert "chosen again" in capsys.readouterr().err
    assert torch.load(run / "checkpoints/best.ckpt", weights_only=True)["global_step"] == 12
    assert numbers(run)["val/elbo"] == pytest.approx(read_curves(run / "metrics.csv")["val/elbo"][-1][1])


# Data that change

TABLE = ("data=table", "data.batch_size=30", "latent_dim=2", "trainer.max_epochs=1", "encoder.hidden=[4]",
         "decoder.hidden=[4]", "test=false")  # fmt: skip


def write_table(path: Path, rows: int, seed: int = 0) -> None:
    values = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed)).tolist()
    path.write_text("a,b,c\n" + "".join(",".join(f"{value:.6f}" for value in row) + "\n" for row in values))


@pytest.fixture
def on_table(train: Train, tmp_path: Path) -> tuple[Path, Path]:
    """A table, and a run that was trained on it."""
    path = tmp_path / "rows.csv"
    write_table(path, 60)
    return path, train(*TABLE, f"data.path={path}")


def test_rows_that_were_added_are_not_split_anew(on_table: tuple[Path, Path], refusal: Callable[..., str]) -> None:
    path, run = on_table
    write_table(path, 70)
    assert "data.path=" in refusal("train=false", f"ckpt_path={run}")
    assert "restore the old data" in refusal(f"resume={run}", "trainer.max_epochs=2")


def test_rows_that_were_changed_are_noticed(on_table: tuple[Path, Path], refusal: Callable[..., str]) -> None:
    path, run = on_table
    write_table(path, 60, seed=1)
    assert "data.path=" in refusal("train=false", f"ckpt_path={run}")


@pytest.mark.long
def test_a_copy_of_the_data_is_the_same_data(
    on_table: tuple[Path, Path], train: Train, refusal: Callable[..., str], tmp_path: Path
) -> None:
    path, run = on_table
    copy = shutil.move(path, tmp_path / "copy.csv")
    train("train=false", f"ckpt_path={run}", f"data.path={copy}")
    assert "data.split_seed=0" in refusal("train=false", f"ckpt_path={run}", f"data.path={copy}", "data.split_seed=1")
    train(f"resume={run}", f"data.path={copy}", "trainer.max_epochs=2")
    write_table(tmp_path / "other.csv", 60, seed=2)
    assert "restore the old data" in refusal(f"resume={run}", f"data.path={tmp_path / 'other.csv'}")


def test_other_data_are_evaluated_whole(on_table: tuple[Path, Path], tmp_path: Path) -> None:
    path, run = on_table
    start = read_start(find_checkpoint(str(run)))

    def evaluated(**changes: Any) -> tuple[dict[str, int], Any]:
        recorded = config(run) | {"train": False}
        recorded["data"] |= changes
        task: Any = SimpleNamespace(detector_from=None)
        data, known = data_for(start, recorded, Builder(), Identity(), task)
        assert task.detector_from == run / "model"
        assert known.to_json() == start.trained_on  # whatever it is evaluated on
        return {name: len(rows) for name, rows in data.split.items()}, data

    whole, parts = {"train": 0, "val": 0, "test": 90}, {"train": 43, "val": 5, "test": 12}
    write_table(tmp_path / "later.csv", 90, seed=3)
    assert evaluated(path=str(tmp_path / "later.csv"))[0] == whole
    assert evaluated(path=str(shutil.copy(path, tmp_path / "copy.csv")))[0] == parts
    assert evaluated()[0] == parts
    with pytest.raises(ConfigError, match="type data"):
        evaluated(split_seed=1)


def test_other_data_of_the_same_name_are_evaluated_whole(train: Train, tmp_path: Path) -> None:
    for number, folder in enumerate(("then", "now")):
        (tmp_path / folder).mkdir()
        write_table(tmp_path / folder / "rows.csv", 60 + 30 * number, seed=number)
    run = train(*TABLE, "data.path=rows.csv", f"paths.data_dir={tmp_path / 'then'}")
    recorded = config(run) | {"train": False}
    recorded["data"]["data_dir"] = str(tmp_path / "now")
    task: Any = SimpleNamespace(detector_from=None)
    data, _ = data_for(read_start(find_checkpoint(str(run))), recorded, Builder(), Identity(), task)
    assert len(data.split["test"]) == 90
