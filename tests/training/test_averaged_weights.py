"""`callbacks=ema`: training as without, evaluation with averaged weights, checkpoints with both."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, TensorDataset

from vaelab import VAE
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.errors import CheckpointError, ConfigError
from vaelab.likelihoods import Gaussian
from vaelab.record.checkpoints import read_start
from vaelab.record.curves import read_curves
from vaelab.record.training_pictures import TrainingPictures
from vaelab.training.averaged_weights import AveragedWeights, averaging_among, refuse_sharded
from vaelab.training.epoch_loop import EpochLoop
from vaelab.training.module import TrainingModule
from vaelab.training.weight_average import PART

REPOSITORY = Path(__file__).parents[2]
SMALL = ("encoder.hidden=[16]", "decoder.hidden=[16]", "data.batch_size=100", "trainer.max_epochs=3", "compile=false")
SMALL += ("task.baselines=false", "task.nll_samples=2", "task.pictures_every=null")  # 13 steps an epoch
EMA = ("callbacks=ema", "callbacks.ema.decay=0.95", "callbacks.ema.every_n_steps=1")


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)
    return found


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@pytest.fixture
def weights_seen() -> Iterator[list[list[Tensor]]]:
    """All weights before the first optimizer step of a run and after each, whoever takes it."""
    seen: list[list[Tensor]] = []

    def look(optimizer: Optimizer, *_: Any) -> None:
        seen.append([weight.detach().clone() for group in optimizer.param_groups for weight in group["params"]])

    def look_first(optimizer: Optimizer, *others: Any) -> None:
        if not seen:
            look(optimizer, *others)

    hooks = [register_optimizer_step_pre_hook(look_first), register_optimizer_step_post_hook(look)]
    yield seen
    for hook in hooks:
        hook.remove()


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of plain steps taken, block by block."""
    taken: list[int] = []
    room = EpochLoop._room

    def recorded(loop: EpochLoop) -> int:
        taken.append(room(loop))
        return taken[-1]

    monkeypatch.setattr(EpochLoop, "_room", recorded)
    monkeypatch.setattr("vaelab.training.epoch_loop.BLOCK", 1e9)  # blocks grow as fast as they may
    return taken


def by_hand(seen: list[list[Tensor]], steps: int, decay: float, every: int = 1) -> list[Tensor]:
    """The average after so many steps, in double precision."""
    average = [weight.double() for weight in seen[0]]
    for step in range(every, steps + 1, every):
        age = step - every
        kept = min(decay, (1 + age) / (10 + age)) ** every
        average = [kept * old + (1 - kept) * new.double() for old, new in zip(average, seen[step], strict=True)]
    return average


def close(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("words", "steps", "every"),
    [
        ([], 39, 1),
        (["callbacks.ema.every_n_steps=4"], 39, 4),
        (["trainer.accumulate_grad_batches=3"], 15, 1),
        (["trainer.val_check_interval=5", "callbacks.last.every_n_train_steps=4"], 39, 1),
        (["trainer.max_steps=17", "trainer.precision=64-true"], 17, 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_average_of_a_run_counts_each_step_also_within_blocks(
    train: Any, blocks: list[int], weights_seen: list[list[Tensor]], words: list[str], steps: int, every: int
) -> None:
    run = train(*SMALL, *EMA, *words, "test=false")
    assert max(blocks) > 1
    assert len(weights_seen) == steps + 1
    kept = checkpoint(run)
    assert kept["global_step"] == steps
    names = [name for name in kept["state_dict"] if name in kept[PART]["weights"]]
    assert close([kept[PART]["weights"][name] for name in names], by_hand(weights_seen, steps, 0.95, every))
    assert close([kept["state_dict"][name] for name in names], weights_seen[-1])
    assert not close([kept["state_dict"][name] for name in names], by_hand(weights_seen, steps, 0.95, every))


@pytest.mark.long
def test_validation_has_the_average_of_its_step_and_training_the_weights(
    train: Any, monkeypatch: pytest.MonkeyPatch, weights_seen: list[list[Tensor]]
) -> None:
    looks: dict[str, list[tuple[int, list[Tensor]]]] = {"val": [], "train": [], "pictures": []}

    def weights(module: TrainingModule) -> tuple[int, list[Tensor]]:
        return module.step, [weight.detach().clone() for weight in module.model.parameters()]

    usual = {"val": TrainingModule.validation_step, "train": TrainingModule.training_step}

    def validation_step(module: TrainingModule, *batch: Any) -> Any:
        looks["val"].append(weights(module))
        return usual["val"](module, *batch)

    def training_step(module: TrainingModule, *batch: Any) -> Any:
        looks["train"].append(weights(module))
        return usual["train"](module, *batch)

    monkeypatch.setattr(TrainingModule, "validation_step", validation_step)
    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    run = train(*SMALL, *EMA, "trainer.val_check_interval=5", "test=false", "trainer.num_sanity_val_steps=1")
    assert [step for step, _ in looks["val"]] == [0, 5, 10, 18, 23, 31, 36]
    for step, found in looks["val"]:
        assert close(found, by_hand(weights_seen, step, 0.95)), step
        assert step == 0 or not close(found, weights_seen[step]), step
        assert step == 0 or not close(found, weights_seen[0]), step  # as of an average that nobody updates
    for step, found in looks["train"]:
        assert all(torch.equal(a, b) for a, b in zip(found, weights_seen[step], strict=True)), step
    plain = train(*SMALL, "trainer.val_check_interval=5", "test=false")
    with_average, without = read_curves(run / "metrics.csv"), read_curves(plain / "metrics.csv")
    assert {name for name in without if with_average[name] != without[name]} == {
        name for name in without if name.startswith("val/")
    }
    same(checkpoint(run)["state_dict"], checkpoint(plain)["state_dict"])


def test_pictures_are_of_the_average(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    usual = TrainingPictures._take

    def take(pictures: TrainingPictures, trainer: L.Trainer, module: Any, epoch: int) -> None:
        progress, task = pictures._task.progress, pictures._task

        def look(model: Any, data: Any) -> Any:
            own = module.average.state(module.step)["weights"]
            found.append(all(torch.equal(model.state_dict()[name], value) for name, value in own.items()))
            return progress(model, data)

        monkeypatch.setattr(task, "progress", look)
        before = {name: value.clone() for name, value in module.model.state_dict().items()}
        usual(pictures, trainer, module, epoch)
        same(module.model.state_dict(), before)

    monkeypatch.setattr(TrainingPictures, "_take", take)
    train(*SMALL, *EMA, "trainer.max_epochs=1", "task.pictures_every=1", "test=false")
    assert found == [True]


@pytest.mark.long
@pytest.mark.parametrize(
    "stop",
    [
        pytest.param("trainer.max_steps=17", id="within an epoch"),
        pytest.param("trainer.max_epochs=1", id="at its end", marks=pytest.mark.long),
    ],
)
def test_a_run_that_stopped_goes_on_bit_for_bit(train: Any, stop: str) -> None:
    words = (*SMALL, *EMA, "callbacks.ema.every_n_steps=3", "trainer.log_every_n_steps=5")
    whole = train(*words)
    stopped = train(*words, stop)
    train(f"resume={stopped}", "trainer.max_steps=-1", "trainer.max_epochs=3")
    for name in ("last", "best"):
        ours, theirs = checkpoint(stopped, name), checkpoint(whole, name)
        assert ours["global_step"] == theirs["global_step"]
        same(ours["state_dict"], theirs["state_dict"])
        same(ours[PART].pop("weights"), theirs[PART].pop("weights"))
        assert ours[PART] == theirs[PART] == {"step": 39, "decay": 0.95, "start_step": 0, "every_n_steps": 3}
    assert (stopped / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    curves, expected = read_curves(stopped / "metrics.csv"), read_curves(whole / "metrics.csv")
    for name, points in expected.items():
        if name.startswith("val/") or name.endswith("_step"):  # an epoch that is cut short logs its means as well
            assert curves[name] == [(step, pytest.approx(value, rel=1e-9)) for step, value in points], name


@pytest.mark.long
def test_what_a_run_leaves_is_the_average_of_its_best_checkpoint(train: Any) -> None:
    run = train(*SMALL, *EMA)
    best = checkpoint(run, "best")
    model = load_file(run / "model/model.safetensors")
    same(model, best["state_dict"] | best[PART]["weights"])
    assert not torch.equal(model["decoder.net.0.weight"], best["state_dict"]["decoder.net.0.weight"])
    about = {"decay": 0.95, "start_step": 0, "every_n_steps": 1}
    assert json.loads((run / "model/training.json").read_text())[PART] == about
    assert "All metrics except those of train are of averaged weights, decay 0.95." in (run / "report.html").read_text()
    own = json.loads((run / "metrics.json").read_text())
    for start in (run, run / "model", run / "checkpoints/best.ckpt"):
        again = train("train=false", f"ckpt_path={start}", *SMALL)
        numbers = json.loads((again / "metrics.json").read_text())
        assert {name for name in numbers if name.startswith("test/")} <= own.keys()
        assert {name: own[name] for name in numbers} == numbers
        assert json.loads((again / "model/training.json").read_text())[PART] == about
        assert "averaged weights, decay 0.95" in (again / "report.html").read_text()
        same(load_file(again / "model/model.safetensors"), model)


@pytest.mark.long
def test_the_weights_in_hand_are_averaged_where_no_checkpoint_is_kept(train: Any) -> None:
    kept, none = (train(*SMALL, *EMA, *words) for words in ([], ["callbacks.best=null"]))
    last = checkpoint(none)
    same(load_file(none / "model/model.safetensors"), last["state_dict"] | last[PART]["weights"])
    same(checkpoint(kept)[PART]["weights"], last[PART]["weights"])
    train(f"resume={none}")  # no step is left
    same(load_file(none / "model/model.safetensors"), last["state_dict"] | last[PART]["weights"])


def test_a_new_run_begins_from_the_average_and_says_so(train: Any, capsys: Any) -> None:
    run = train(*SMALL, *EMA, "trainer.max_epochs=1", "test=false")
    last = checkpoint(run)
    capsys.readouterr()
    words = [word for word in SMALL if not word.startswith("trainer.max_epochs")]
    more = train(
        f"ckpt_path={run}/checkpoints/last.ckpt", *words, "optimizer.lr=0", "trainer.max_epochs=1", "test=false"
    )
    assert "training begins from the averaged weights of" in capsys.readouterr().err
    same(checkpoint(more)["state_dict"], last["state_dict"] | last[PART]["weights"])
    assert PART not in checkpoint(more)
    assert PART not in json.loads((more / "model/training.json").read_text())


@pytest.mark.parametrize(
    ("words", "change", "said"),
    [
        (EMA, ["callbacks=default"], ["weights that are averaged (decay 0.95)", "no callback averages them"]),
        ([], ["callbacks=ema"], ["no averaged weights", "callbacks average them (decay 0.999, every 4 steps)"]),
        (EMA, ["callbacks.ema.decay=0.9"], ["(decay 0.95)", "callbacks average them (decay 0.9)"]),
        (EMA, ["callbacks.ema=null"], ["no callback averages them"]),
    ],
)
def test_another_average_does_not_go_on_with_a_run(
    train: Any, capsys: Any, words: list[str], change: list[str], said: list[str]
) -> None:
    run = train(*SMALL, *words, "trainer.max_epochs=1", "test=false")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        train(f"resume={run}", "trainer.max_epochs=2", *change)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for part in (*said, "starts a new run from its weights"):
        assert part in message
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("callbacks.ema.decay=1.5", "callbacks.ema.decay=1.5"),
        ("callbacks.ema.decay=1", "callbacks.ema.decay=1"),
        ("callbacks.ema.every_n_steps=0", "callbacks.ema.every_n_steps=0"),
        ("callbacks.ema.start_step=-1", "callbacks.ema.start_step=-1"),
        ("callbacks.ema.start_step=39", "start_step=39 of averaged weights: training has only 39 steps"),
        ("+callbacks.more=${callbacks.ema}", "there are two averages"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(train: Any, capsys: Any, word: str, said: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*SMALL, *EMA, word)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_sharded_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.strategy=fsdp: weights are averaged"):
        refuse_sharded(SimpleNamespace(strategy=FSDPStrategy()))  # type: ignore[arg-type]
    assert averaging_among([]) is None


# Checkpoints that come from a stranger


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from vaelab.cli import train

    logs = tmp_path_factory.mktemp("logs")
    train([*SMALL, *EMA, "trainer.max_epochs=1", "test=false", "logger=none", f"paths.log_dir={logs}"])
    (path,) = logs.rglob("last.ckpt")
    return {"path": path, "checkpoint": torch.load(path, weights_only=True)}


FIRST = "decoder.net.0.weight"


def changed(made: dict[str, Any], path: Path, name: str, value: Any) -> Path:
    """A copy in which a setting of the average, or the average of a weight, is another; None: it is not there."""
    part = dict(made["checkpoint"][PART])
    part["weights"] = dict(part["weights"])
    place = part if name in part else part["weights"]
    if value is None:
        del place[name]
    else:
        place[name] = value
    torch.save(made["checkpoint"] | {PART: part}, path)
    return path


@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("weights", [], "averaged_weights.weights: Input should be a valid dictionary"),
        ("weights", None, "averaged_weights.weights: Field required"),
        (FIRST, torch.zeros(3), f"averaged_weights.weights.{FIRST}: its shape or type differs"),
        (FIRST, 1.0, f"averaged_weights.weights.{FIRST}"),
        ("elsewhere", torch.zeros(3), "averaged_weights.weights.elsewhere: the model has no such weight"),
        ("step", 1000, "averaged_weights.step: it is after the last step"),
        ("step", "many", "averaged_weights.step"),
        ("decay", 2.0, "averaged_weights.decay: Value error, should be between 0 and 1"),
        ("decay", None, "averaged_weights.decay: Field required"),
        ("every_n_steps", 0, "averaged_weights.every_n_steps"),
    ],
)
def test_a_broken_average_is_one_message(
    made: dict[str, Any], tmp_path: Path, name: str, value: Any, said: str, resumes: bool
) -> None:
    path = changed(made, tmp_path / "last.ckpt", name, value)
    with pytest.raises(CheckpointError) as raised:
        read_start(path, resumes=resumes)
    assert f"{path}: is broken ({said}" in str(raised.value)
    assert "use another checkpoint of the run" in str(raised.value)


@pytest.mark.parametrize("resumes", [True, False])
def test_an_average_of_other_numbers_is_refused(made: dict[str, Any], tmp_path: Path, resumes: bool) -> None:
    like = made["checkpoint"][PART]["weights"][FIRST]
    for value, said in (
        (torch.full_like(like, float("nan")), "it is not a number"),
        (torch.full_like(like, float("inf")), "it is not a number"),
        (like.long(), "its shape or type differs"),
        (torch.zeros(1).expand(like.shape), "it has more numbers than the file"),
    ):
        path = changed(made, tmp_path / "last.ckpt", FIRST, value)
        with pytest.raises(CheckpointError, match=said):
            read_start(path, resumes=resumes)


def test_an_average_of_a_part_of_the_weights_is_refused(made: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    from vaelab.cli import train

    path = changed(made, tmp_path / "last.ckpt", FIRST, None)
    with pytest.raises(SystemExit):
        train([*SMALL, "train=false", f"ckpt_path={path}", "logger=none", f"paths.log_dir={tmp_path}/logs"])
    message = capsys.readouterr().err
    assert f"there is no average of weight {FIRST}" in message
    assert message.count("\n") == 1


# Plain Lightning


class Stripes(L.LightningDataModule):
    """Images of one bright row."""

    def train_dataloader(self) -> DataLoader[Any]:
        rows = torch.nn.functional.one_hot(torch.arange(64) % 4, 4).float().view(-1, 1, 4, 1).expand(-1, 1, 4, 4)
        return DataLoader(TensorDataset(rows * 0.9), batch_size=16)

    val_dataloader = test_dataloader = train_dataloader


def test_it_works_with_a_plain_trainer(tmp_path: Path) -> None:
    spec = DataSpec("stripes", "image", (1, 4, 4), "unit", 256)
    likelihood = Gaussian(spec, 0.1)

    def parts() -> dict[str, Any]:
        torch.manual_seed(0)
        encoder, decoder = MLPEncoder(spec.shape, 4, [8], "relu"), MLPDecoder(2, likelihood.raw_shape, [8], "relu")
        return {"encoder": encoder, "decoder": decoder, "likelihood": likelihood, "latent": 2}

    module = VAE(**parts(), optimizer=partial(torch.optim.SGD, lr=1e-3))
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet["enable_checkpointing"] = False
    trainer = L.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", max_epochs=3, callbacks=[AveragedWeights(0.9, 0, 1)], **quiet
    )
    trainer.fit(module, datamodule=Stripes())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    kept = torch.load(tmp_path / "end.ckpt", weights_only=True)
    averaged = kept["state_dict"] | kept[PART]["weights"]
    assert not torch.equal(averaged[FIRST], kept["state_dict"][FIRST])
    same(module.model.state_dict(), averaged)
    again = VAE.load_from_checkpoint(tmp_path / "end.ckpt", **parts())
    same(again.model.state_dict(), averaged)
    (ours,) = trainer.test(module, datamodule=Stripes(), verbose=False)
    (theirs,) = L.Trainer(default_root_dir=tmp_path, accelerator="cpu", **quiet).test(again, Stripes(), verbose=False)
    assert ours == theirs
    other = L.Trainer(default_root_dir=tmp_path, accelerator="cpu", max_epochs=4, **quiet)
    with pytest.raises(CheckpointError, match="an average of its weights, and this training averages none"):
        other.fit(VAE(**parts()), datamodule=Stripes(), ckpt_path=tmp_path / "end.ckpt")


# Several phases, several devices


PATCH = ("adversary=patch", "adversary.widths=[4,8]", "encoder=conv", "encoder.widths=[8,8]", "decoder.widths=[8,8]")
PATCH += ("likelihood=squared_error", "latent_dim=4", *SMALL[2:])


@pytest.mark.long
def test_an_adversary_is_not_averaged_and_a_run_with_one_goes_on(train: Any) -> None:
    words = (*PATCH, *EMA, "trainer.max_epochs=2", "adversary.start=3")
    whole = train(*words)
    stopped = train(*words, "trainer.max_steps=17")
    train(f"resume={stopped}", "trainer.max_steps=-1")
    ours, theirs = checkpoint(stopped), checkpoint(whole)
    assert theirs[PART]["step"] == theirs["global_step"] == 26
    same(ours["state_dict"], theirs["state_dict"])
    same(ours[PART]["weights"], theirs[PART]["weights"])
    assert not any(name.startswith("adversary.") for name in theirs[PART]["weights"])
    model = load_file(whole / "model/model.safetensors")
    best = checkpoint(whole, "best")
    same(model, {name: value for name, value in (best["state_dict"] | best[PART]["weights"]).items() if name in model})
    again = train("train=false", f"ckpt_path={whole}", *words)
    numbers, own = (json.loads((run / "metrics.json").read_text()) for run in (again, whole))
    assert {name: own[name] for name in numbers} == pytest.approx(numbers, rel=1e-5)  # convolutions lie otherwise there


def launch(folder: Path, *overrides: str) -> Path:
    folder.mkdir()
    command = [sys.executable, str(REPOSITORY / "train.py"), "logger=none", *overrides]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = {path.parent for path in folder.rglob("config.yaml")}
    return run


@pytest.mark.long
def test_two_processes_have_the_average_of_one(tmp_path: Path) -> None:
    # Batches of 101 examples split unevenly, and so does the last, short one.
    words = (*SMALL, *EMA, "data.batch_size=101", "trainer.precision=32-true")
    one = launch(tmp_path / "one", *words, "trainer=cpu")
    two = launch(tmp_path / "two", *words, "trainer=ddp_sim")
    ours, theirs = checkpoint(one), checkpoint(two)
    for name, value in ours[PART]["weights"].items():
        torch.testing.assert_close(theirs[PART]["weights"][name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert not torch.allclose(ours[PART]["weights"][FIRST], ours["state_dict"][FIRST], rtol=1e-3, atol=1e-5)
    numbers, others = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    assert numbers.keys() == others.keys()
    for name, value in numbers.items():
        assert abs(value - others[name]) <= 5e-5 * max(1.0, abs(value)), name


@pytest.mark.long
def test_a_compiled_objective_is_averaged_as_well(train: Any, weights_seen: list[list[Tensor]]) -> None:
    run = train(*SMALL, *EMA, "compile=true", "trainer.max_epochs=2", "test=false")
    kept = checkpoint(run)
    names = [name for name in kept["state_dict"] if name in kept[PART]["weights"]]
    assert close([kept[PART]["weights"][name] for name in names], by_hand(weights_seen, 26, 0.95))
