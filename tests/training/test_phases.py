"""Training in several phases: each moves its own weights by its own optimizer, and the first alone counts steps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.config.builder import Builder
from vaelab.core import Batch, DataSpec
from vaelab.corruptions import Identity
from vaelab.data.images.digits import Digits
from vaelab.errors import ConfigError
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, Phase, Terms
from vaelab.record.curves import read_curves
from vaelab.training.module import TrainingModule
from vaelab.training.optimization import Optimization
from vaelab.training.phases import refuse_misfit, take_clipping

REPOSITORY = Path(__file__).parents[2]
SPEC = DataSpec("digits", "image", (1, 8, 8), "unit", 17, tuple("0123456789"))
BEGINS = 3
PATCH = ("adversary=patch", "adversary.widths=[4,8]", "encoder=conv", "encoder.widths=[8,8]", "decoder.widths=[8,8]")
PATCH += (
    "likelihood=squared_error",
    "latent_dim=4",
    "data.batch_size=101",
    "compile=false",
    "task.baselines=false",
    "task.nll_samples=2",
)


class Watched(AE):
    """An autoencoder, and a critic of its code that learns from the third step on to tell how bright an example is."""

    extra_phases = (Phase("critic", ("critic",), BEGINS),)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.critic = nn.Linear(self.latent.size, 1)
        self.seen: list[tuple[str, int]] = []

    def moves(self) -> dict[str, tuple[str, ...]]:
        return super().moves() | {"critic_loss": ("critic",), "brightness": ("critic",)}

    def phase_terms(self, phase: str, batch: Batch, scheduled: Any = None) -> Terms:
        self.seen.append((phase, self.step))
        if phase != "critic":
            return super().phase_terms(phase, batch, scheduled)
        with torch.no_grad():
            terms, code = self.terms(batch, scheduled), self.encode(batch.x)
        error = (self.critic(code).squeeze(1) - batch.target.flatten(1).mean(1)).square()
        return Terms(error, terms.log_likelihood, None, {"brightness": error})


class Kept(Logger):
    """Keeps what is logged."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int | None, set[str]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.lines.append((step, set(metrics)))

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...


def model() -> Watched:
    torch.manual_seed(0)
    likelihood = Gaussian(SPEC, 0.5)
    encoder, decoder = MLPEncoder((1, 8, 8), 3, [8], "relu"), MLPDecoder(3, likelihood.raw_shape, [8], "relu")
    return Watched(encoder, decoder, likelihood, 3)


def fit(module: TrainingModule, folder: Path, steps: int, logger: Any = False, **settings: Any) -> L.Trainer:
    trainer = L.Trainer(
        default_root_dir=folder, accelerator="cpu", max_steps=steps, logger=logger, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        **settings,
    )  # fmt: skip
    module.clip = take_clipping(trainer, module.model)
    data = Digits(
        None,
        corruption=Identity(),
        batch_size=400,
        val_fraction=0.1,
        test_fraction=0.2,
        split_seed=0,
        seed=0,
        normal=None,
    )
    trainer.fit(module, datamodule=data)
    return trainer


def test_the_first_phase_alone_counts_steps_and_a_later_one_begins_at_its_start(tmp_path: Path) -> None:
    module, kept = TrainingModule(model()), Kept()
    trainer = fit(module, tmp_path, 7, kept)
    assert trainer.global_step == module.step == 7
    assert module.model.seen == [
        (phase, step) for step in range(7) for phase in ("model", "critic") if phase == "model" or step >= BEGINS
    ]
    steps = [int(next(iter(optimizer.state.values()))["step"]) for optimizer in trainer.optimizers]
    assert steps == [7, 7 - BEGINS]
    assert [config.scheduler.last_epoch for config in trainer.lr_scheduler_configs] == steps
    windows = [(step, names) for step, names in kept.lines if "train/loss_step" in names]
    assert [step for step, _ in windows] == list(range(7))
    assert all({"train/critic_loss_step", "train/brightness_step"} <= names for _, names in windows)


def test_a_phase_that_has_not_begun_moves_nothing(tmp_path: Path) -> None:
    module = TrainingModule(model())
    before = module.model.critic.weight.clone()
    fit(module, tmp_path, BEGINS)
    assert torch.equal(module.model.critic.weight, before)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_of_each_phase_are_clipped_by_themselves(tmp_path: Path, algorithm: str) -> None:
    sgd = {"_target_": "torch.optim.SGD", "lr": 1.0}
    constant = {"_target_": "vaelab.training.schedulers.Constant", "warmup_steps": 0}
    module = TrainingModule(model(), Optimization(sgd, constant, Builder()))
    before = {name: weight.detach().clone() for name, weight in module.model.named_parameters()}
    clip = {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm}
    fit(module, tmp_path, BEGINS + 1, **clip)  # the critic steps once, the others so often as there are steps
    moved = {name: (weight.detach() - before[name]) for name, weight in module.model.named_parameters()}
    critic = torch.cat([change.flatten() for name, change in moved.items() if name.startswith("critic")])
    size = critic.norm() if algorithm == "norm" else critic.abs().max()
    assert float(size) == pytest.approx(1e-3, rel=1e-2)
    others = torch.cat([change.flatten() for name, change in moved.items() if not name.startswith("critic")])
    size = others.norm() if algorithm == "norm" else others.abs().max()
    assert 0 < float(size) <= 1e-3 * (BEGINS + 1) * 1.01


class Whole(AE):
    """Says that a term is a statistic of the whole batch."""

    batch_terms: ClassVar[frozenset[str]] = frozenset({"total_correlation"})


def trainer_with(**settings: Any) -> Any:
    usual = {"accumulate_grad_batches": 1, "precision": "32-true", "precision_plugin": None, "strategy": None}
    return SimpleNamespace(**(usual | settings))


def test_what_several_phases_cannot_have_is_refused() -> None:
    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    for settings, key in (
        ({"accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches=2: training has several phases (model and"),
        ({"precision": "16-mixed", "precision_plugin": scaled}, "trainer.precision=16-mixed: training has several"),
        ({}, "trainer.strategy=NoneType: training has several phases"),
    ):
        with pytest.raises(ConfigError) as raised:
            refuse_misfit(trainer_with(**settings), model())
        assert str(raised.value).startswith(key)


def test_a_statistic_of_a_batch_refuses_accumulation(tmp_path: Path) -> None:
    likelihood = Gaussian(SPEC, 0.5)
    encoder, decoder = MLPEncoder((1, 8, 8), 3, [8], "relu"), MLPDecoder(3, likelihood.raw_shape, [8], "relu")
    whole = Whole(encoder, decoder, likelihood, 3)
    with pytest.raises(ConfigError, match="accumulate_grad_batches=2: total_correlation of Whole"):
        fit(TrainingModule(whole), tmp_path, 1, accumulate_grad_batches=2)
    fit(TrainingModule(whole), tmp_path, 1)


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)


@pytest.mark.long
def test_a_run_that_stopped_within_an_epoch_goes_on_bit_for_bit(train: Any) -> None:
    settings = (*PATCH, "trainer.log_every_n_steps=5", "adversary.start=3", "test=false")  # 13 steps an epoch
    whole = train(*settings, "trainer.max_epochs=2")
    stopped = train(*settings, "trainer.max_epochs=2", "trainer.max_steps=17")
    assert checkpoint(stopped)["global_step"] == 17
    train(f"resume={stopped}", "trainer.max_steps=-1")
    ours, theirs = checkpoint(stopped), checkpoint(whole)
    assert ours["global_step"] == theirs["global_step"] == 26
    assert len(ours["optimizer_states"]) == len(ours["lr_schedulers"]) == 2
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight), name
    curves, expected = read_curves(stopped / "metrics.csv"), read_curves(whole / "metrics.csv")
    assert curves.keys() == expected.keys()
    for name, points in expected.items():
        if not name.endswith("_step"):  # where training ends within an epoch, means of the part are logged too
            continue
        assert curves[name] == [(step, pytest.approx(value, rel=1e-9)) for step, value in points], name
    assert [step for step, _ in expected["train/discriminator_loss_step"]] == [4, 9, 17, 22]


@pytest.mark.long
def test_the_best_checkpoint_is_chosen_after_the_last_start(train: Any) -> None:
    late = train(*PATCH, "trainer.max_epochs=3", "adversary.start=30", "test=false")  # in the third epoch
    assert checkpoint(late, "best")["global_step"] == 39
    never = train(*PATCH, "trainer.max_epochs=1", "adversary.start=30")
    assert not (never / "checkpoints/best.ckpt").exists()
    assert "test/mse" in (never / "metrics.json").read_text()


@pytest.mark.long
def test_a_phase_takes_settings_and_an_optimizer_of_its_own(train: Any) -> None:
    fdr = (*PATCH, "trainer.max_epochs=1", "trainer.limit_train_batches=2", "test=false")
    run = train(*fdr, "+phases.discriminator.optimizer.lr=0.007")
    rates = [state["param_groups"][0]["lr"] for state in checkpoint(run)["optimizer_states"]]
    assert rates == [0.001, 0.007]
    run = train(
        *fdr, "+optimizer@phases.discriminator.optimizer=adam", "phases.discriminator.optimizer.betas=[0.5,0.9]"
    )
    groups = [state["param_groups"][0] for state in checkpoint(run)["optimizer_states"]]
    assert [tuple(group["betas"]) for group in groups] == [(0.9, 0.999), (0.5, 0.9)]
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+phases.critic.optimizer.lr=1"], "phases.critic: there is no such phase, only model and discriminator"),
        (["+phases.discriminator.optimizer.lrr=1"], "unknown key phases.discriminator.optimizer.lrr"),
        (["+phases.discriminator.optimiser.lr=1"], "unknown key phases.discriminator.optimiser; did you mean"),
        (["+phases.discriminator.scheduler._target_=torch.optim.Adam"], "should be a LearningRate"),
        (["trainer.accumulate_grad_batches=2"], "cannot be accumulated"),
        (["compile=true"], "compile=true: training has several phases"),
        (["optimizer._target_=torch.optim.LBFGS", "~optimizer.betas", "~optimizer.eps", "~optimizer.fused",
          "~optimizer.weight_decay"], "evaluates the objective itself"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_phases_is_one_line(train: Any, capsys: Any, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit):
        train(*PATCH, *words)
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def launch(folder: Path, *overrides: str) -> Path:
    folder.mkdir()
    command = [sys.executable, str(REPOSITORY / "train.py"), "logger=none", *PATCH, *overrides]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = {path.parent for path in folder.rglob("config.yaml")}
    return run


@pytest.mark.long
def test_two_processes_are_one(tmp_path: Path) -> None:
    # Batches of 101 examples split unevenly, and so does the last, short one.
    settings = ("trainer.max_epochs=2", "trainer.gradient_clip_val=1", "optimizer.eps=1e-4", "adversary.start=2")
    settings += ("trainer.precision=32-true",)
    one = launch(tmp_path / "one", *settings, "trainer=cpu")
    two = launch(tmp_path / "two", *settings, "trainer=ddp_sim")
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    assert ours.keys() == theirs.keys()
    assert {"train/discriminator_loss", "train/adversarial"} <= ours.keys()
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    weights, others = checkpoint(one)["state_dict"], checkpoint(two)["state_dict"]
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-4, msg=name)
