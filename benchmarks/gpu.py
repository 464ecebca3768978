"""What one GPU can show, checked and measured by one command in under six minutes, without a network.

    python benchmarks/gpu.py                          # writes gpu.json, prints the table of docs/performance.md
    python benchmarks/gpu.py --device cpu --small     # every branch in small sizes, to try this script anywhere
    python benchmarks/gpu.py --only resume,nll        # some of it

Data are generated. Each measurement stands alone: one that fails, lacks a package or finds the time used up is named
with the reason, and the others still run. The file is written after each of them. The exit status is 1 where a check
failed. Contenders of a race train in turns of one epoch within this process, and ratios are taken turn by turn.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vaelab.config.builder import Builder
from vaelab.config.location import config_dir
from vaelab.core import Batch, DataSpec
from vaelab.corruptions import Identity
from vaelab.data.examples import Examples, scale
from vaelab.data.module import DataModule
from vaelab.evaluation.distances import frechet_distance
from vaelab.evaluation.features.inception import Inception
from vaelab.evaluation.features.random_network import RandomNetwork
from vaelab.models import Model, Start
from vaelab.models.building import PARTS, build_model
from vaelab.tasks import Task
from vaelab.training.compilation import Compilation
from vaelab.training.compiled import CompiledWeights
from vaelab.training.epoch_loop import EpochLoop
from vaelab.training.last_checkpoint import LastCheckpoint
from vaelab.training.module import TrainingModule
from vaelab.training.optimization import Optimization
from vaelab.training.precision import BFloat16Training, allow_clipping, lay_channels_last

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic products ask for
PACKAGES = ("vaelab", "torch", "lightning", "torchmetrics", "hydra-core", "wandb", "datasets", "triton", "numpy")


@dataclass(frozen=True)
class Case:
    """A model, its data, and how it is trained."""

    name: str
    shape: tuple[int, ...]
    examples: int  # of the train split
    batch: int
    encoder: dict[str, Any]  # options and settings; the decoder has the same
    latent_dim: int


@dataclass(frozen=True)
class Sizes:
    """What is trained, and for how long."""

    mlp: Case
    conv: Case
    matrix: int  # side of the products that the peak is taken with
    turns: int
    draws: int  # K of the importance-weighted bound
    images: int  # that features are taken of


MLP = {"option": "mlp", "hidden": [512]}
LARGE = Sizes(
    Case("MLP VAE 784-512-16-512-784, batch 128", (1, 28, 28), 38_400, 128, MLP, 16),
    Case("residual VAE 256 x 256 x 3, widths 64-512, batch 32", (3, 256, 256), 640, 32,
         {"option": "resnet", "widths": [64, 128, 256, 512, 512], "blocks": 2}, 256),
    matrix=8192, turns=5, draws=1000, images=10_000,
)  # fmt: skip
SMALL = Sizes(
    Case("MLP VAE 784-512-16-512-784, batch 128", (1, 28, 28), 512, 128, MLP, 16),
    Case("residual VAE 16 x 16 x 3, width 8, batch 8", (3, 16, 16), 32, 8,
         {"option": "resnet", "widths": [8], "blocks": 1}, 8),
    matrix=256, turns=2, draws=20, images=64,
)  # fmt: skip


class Generated(DataModule):
    """Smooth 8-bit images: a few random waves each, so that there is something to learn."""

    def __init__(self, shape: tuple[int, ...], count: int, batch_size: int) -> None:
        held_out = 0.1
        settings = {"batch_size": batch_size, "val_fraction": held_out, "test_fraction": held_out, "split_seed": 0}
        super().__init__(binarize=None, corruption=Identity(), seed=0, **settings)  # type: ignore[arg-type]
        self._shape, self._count = shape, round(count / (1 - held_out) ** 2) + 2

    def load(self) -> Examples:
        channels, height, width = self._shape
        generator = torch.Generator().manual_seed(0)
        rows, columns = torch.linspace(0, 6.28, height)[:, None], torch.linspace(0, 6.28, width)[None]
        values = torch.empty(self._count, *self._shape, dtype=torch.uint8)
        for image in values:
            a, b, phase = (6 * torch.rand(3, channels, 1, 1, generator=generator)).unbind()
            image.copy_((127.5 * (1 + torch.sin(a * rows + b * columns + phase))).round())
        label = torch.randint(10, (self._count,), generator=generator)
        spec = DataSpec("waves", "image", self._shape, "unit", 256, tuple("0123456789"))
        return Examples(values, label, spec, {"train": range(self._count)})


@dataclass
class Bench:
    """What the measurements share."""

    device: torch.device
    sizes: Sizes
    folder: Path
    inception: Path | None
    peaks: dict[str, float] = field(default_factory=dict)  # floating-point operations a second, by precision

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done what was asked of it."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], Any], repeats: int = 3) -> float:
        """Median of a few calls after one that is not counted."""
        taken = []
        for _ in range(1 + repeats):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken[1:])


Measurement = Callable[[Bench], dict[str, Any]]
MEASUREMENTS: dict[str, tuple[Measurement, tuple[str, ...], bool]] = {}


class SkippedError(Exception):
    """A measurement that cannot be taken here, and why."""


def measurement(*needs: str, gpu: bool = False) -> Callable[[Measurement], Measurement]:
    """Register a measurement that needs some packages, or a CUDA device."""

    def register(function: Measurement) -> Measurement:
        MEASUREMENTS[function.__name__] = (function, needs, gpu)
        return function

    return register


# Models, data and trainers


def option(group: str, name: str, **settings: Any) -> dict[str, Any]:
    """A config node as Hydra would compose it; read without Hydra, which may be absent."""
    node = yaml.safe_load((config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in node.items() if key != "defaults"} | settings


def made(case: Case) -> tuple[DataModule, Model]:
    """The data and an untrained model with fixed initial weights."""
    data = Generated(case.shape, case.examples, case.batch)
    data.prepare_data()
    data.setup()
    settings = {key: value for key, value in case.encoder.items() if key != "option"}
    nodes = {
        "model": option("model", "vae", schedule=option("model/schedule", "constant")),
        "encoder": option("encoder", case.encoder["option"], **settings),
        "decoder": option("decoder", case.encoder["option"], **settings),
        "likelihood": option("likelihood", "gaussian"),
    }
    assert nodes.keys() == PARTS.keys()
    torch.manual_seed(0)
    model = build_model({"latent_dim": case.latent_dim, "spec": data.spec.to_json()} | nodes, Builder())
    model.start(Start(len(data.split["train"]), data.mean(), data.mean().new_empty(0)))
    return data, model


def module(model: Model) -> TrainingModule:
    """What trains a model."""
    return TrainingModule(model, Optimization(option("optimizer", "adamw"), option("scheduler", "constant"), Builder()))


def trainer_of(
    bench: Bench, model: Model, callbacks: list[Callback], epochs: int, bfloat16: bool, **settings: Any
) -> L.Trainer:
    """Lightning's Trainer as a run sets it up, with a precision that is chosen here."""
    trainer = L.Trainer(
        accelerator=bench.device.type,
        devices=1,
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        default_root_dir=bench.folder,
        use_distributed_sampler=False,
        **{"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
           "num_sanity_val_steps": 0, "limit_val_batches": 0} | settings,
    )  # fmt: skip
    if bfloat16:
        trainer.strategy.precision_plugin = BFloat16Training(bench.device.type)
    allow_clipping(trainer)
    lay_channels_last(trainer, model)
    trainer.fit_loop.epoch_loop = EpochLoop(trainer)
    return trainer


# Races: contenders in threads of this process, one of them at a time


class Turn:
    """Lets a contender's epochs wait for their turns; `begin` and `end` are called in its thread."""

    def __init__(self, bench: Bench, turns: int) -> None:
        self._bench, self.turns = bench, turns
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.taken: list[float] = []
        self.error: BaseException | None = None

    def begin(self) -> None:
        self.go.acquire()
        self._bench.wait()
        self._began = time.perf_counter()

    def end(self) -> None:
        self._bench.wait()
        self.taken.append(time.perf_counter() - self._began)
        self.done.release()


class EpochTurn(Callback):
    """Tells a turn of a Trainer's epochs."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._turn.begin()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._turn.end()


Contender = Callable[[Bench, Case, Turn], None]


def race(bench: Bench, case: Case, contenders: Mapping[str, Contender]) -> dict[str, Any]:
    """Samples a second of each, and how many times as fast the first is as each other one."""
    warm_up = 2  # turns that are not counted: the first compiles
    turns = {name: Turn(bench, warm_up + bench.sizes.turns) for name in contenders}
    failed: dict[str, str] = {}
    for name, contender in contenders.items():
        threading.Thread(target=_contend, args=(contender, bench, case, turns[name]), daemon=True).start()
    for _ in range(warm_up + bench.sizes.turns):
        for name, turn in turns.items():
            if name not in failed:
                turn.go.release()
                turn.done.acquire()
                if turn.error is not None:
                    failed[name] = _reason(turn.error)
    first, *_ = turns
    if first in failed:
        raise RuntimeError(f"{first}: {failed[first]}")
    taken = {name: turn.taken[warm_up:] for name, turn in turns.items() if name not in failed}
    steps = len(range(0, case.examples, case.batch))
    found: dict[str, Any] = {"samples_per_second": {}, "ratio_to": {}, "failed": failed, "steps_per_turn": steps}
    for name, seconds in taken.items():
        found["samples_per_second"][name] = case.examples / statistics.median(seconds)
        ratios = [theirs / ours for theirs, ours in zip(seconds, taken[first], strict=True)]
        found["ratio_to"][name] = [statistics.median(ratios), min(ratios), max(ratios)]
    return found


def _contend(contender: Contender, bench: Bench, case: Case, turn: Turn) -> None:
    try:
        contender(bench, case, turn)
    except BaseException as error:
        turn.error = error
        turn.done.release()


def the_run(bfloat16: bool, compiled: Any, storage: Any = "auto") -> Contender:
    """The ordinary run's Trainer, data and model."""

    def contend(bench: Bench, case: Case, turn: Turn) -> None:
        data, model = made(case)
        data.storage = storage
        trainer = trainer_of(bench, model, [Task(), EpochTurn(turn), Compilation(compiled)], turn.turns, bfloat16)
        trainer.fit(module(model), datamodule=data)

    return contend


def by_hand(bfloat16: bool, mode: str | None) -> Contender:
    """Examples on the device, shuffle, gather, scale, forward, backward, fused AdamW; compiled in a mode, or eager."""

    def contend(bench: Bench, case: Case, turn: Turn) -> None:
        data, model = made(case)
        rows = data.split["train"]
        values = data._loaded.values[rows].to(bench.device)
        model.to(bench.device).train()
        if bfloat16 and len(case.shape) == 3 and case.shape[0] == 3:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

        def loss_of(x: Tensor, noise: Tensor) -> Tensor:
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=bfloat16):
                return objective(model, x, noise)

        step = torch.compile(loss_of, mode=mode) if mode else loss_of
        for _ in range(turn.turns):
            turn.begin()
            order = torch.randperm(len(values), device=bench.device)
            for chosen in order.split(case.batch):
                x = scale(values.index_select(0, chosen), data.spec)
                optimizer.zero_grad(set_to_none=True)
                step(x, torch.randn(len(x), 1, case.latent_dim, device=bench.device)).backward()
                optimizer.step()
            turn.end()

    return contend


def objective(model: Model, x: Tensor, noise: Tensor) -> Tensor:
    """The mean loss of a batch under given noise."""
    label = torch.zeros(len(x), dtype=torch.long, device=x.device)
    return model.terms(Batch(x, x, label, x, Given(noise), 1.0), {"beta": 1.0}).loss.mean()


class Given:
    """Noise that has been drawn."""

    def __init__(self, drawn: Tensor) -> None:
        self._drawn = drawn

    def normal(self, stream: str, shape: Any, device: torch.device) -> Tensor:
        """What was drawn."""
        return self._drawn

    uniform = normal


def operations(bench: Bench, case: Case) -> int:
    """Floating-point operations of matrix products and convolutions for one example, forward and backward."""
    data, model = made(case)
    model.to(bench.device).train()
    x = scale(data._loaded.values[:2].to(bench.device), data.spec)
    with FlopCounterMode(display=False) as counter:
        objective(model, x, torch.randn(2, 1, case.latent_dim, device=bench.device)).backward()
    return counter.get_total_flops() // 2


# The measurements, in the order of what is wanted most


@measurement()
def matrix_peak(bench: Bench) -> dict[str, Any]:
    """Teraflops a second of large square products, which no model can exceed."""
    side = bench.sizes.matrix
    found = {}
    for name, dtype, tf32 in (("bfloat16", torch.bfloat16, True), ("tf32", torch.float32, True),
                              ("float32", torch.float32, False)):  # fmt: skip
        if name == "tf32" and not bench.on_gpu:
            continue
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        left, right = torch.randn(2, side, side, device=bench.device, dtype=dtype).unbind()
        seconds = bench.seconds(lambda left=left, right=right: [left @ right for _ in range(5)])
        bench.peaks[name] = 5 * 2 * side**3 / seconds
        found[name] = bench.peaks[name] / 1e12
    torch.set_float32_matmul_precision("highest")
    return {"teraflops": found, "side": side}


@measurement()
def trains_and_evaluates(bench: Bench) -> dict[str, Any]:
    """Loss falls; what is measured on the device is what the processor measures of the same weights."""
    data, model = made(bench.sizes.mlp)
    trainer = trainer_of(bench, model, [Task()], 3, bfloat16=False, limit_val_batches=None)
    before = _tested(trainer, model, data)
    trainer.fit(module(model), datamodule=data)
    after = _tested(trainer, model, data)
    cpu = Bench(torch.device("cpu"), bench.sizes, bench.folder, None)
    on_cpu = _tested(trainer_of(cpu, model.cpu(), [Task()], 1, bfloat16=False), model, data)
    difference = max(abs(after[name] - on_cpu[name]) / abs(on_cpu[name]) for name in on_cpu)
    return {
        "elbo": [before["test/elbo"], after["test/elbo"]],
        "relative_difference_to_cpu": difference,
        "checks": {
            "learns": after["test/elbo"] > before["test/elbo"],
            "finite": all(map(isfinite, after.values())),
            "device and processor agree to 1e-3": difference < 1e-3,
        },
    }


def _tested(trainer: L.Trainer, model: Model, data: DataModule) -> dict[str, float]:
    (numbers,) = trainer.test(module(model), datamodule=data, verbose=False)
    return dict(numbers)


@measurement()
def bfloat16_reaches_what_float32_does(bench: Bench) -> dict[str, Any]:
    """The same training in both precisions, evaluated in float32."""
    elbos = {}
    for name, half in (("float32", False), ("bfloat16", True)):
        data, model = made(bench.sizes.mlp)
        trainer = trainer_of(bench, model, [Task()], 3, half)
        trainer.fit(module(model), datamodule=data)
        elbos[name] = _tested(trainer, model, data)["test/elbo"]
    difference = abs(elbos["bfloat16"] - elbos["float32"]) / abs(elbos["float32"])
    return {"elbo": elbos, "relative_difference": difference, "checks": {"within 5 %": difference < 0.05}}


@measurement()
def resume(bench: Bench) -> dict[str, Any]:
    """A run that stops within an epoch and goes on from its checkpoint has the weights of one that did not."""
    found: dict[str, Any] = {"checks": {}}
    for case in (bench.sizes.mlp, bench.sizes.conv):
        steps = 2 * len(range(0, case.examples, case.batch))
        stop = steps * 2 // 3
        whole = _stepped(bench, case, bench.folder / f"{case.name}-whole", steps, stop)
        _stepped(bench, case, bench.folder / f"{case.name}-cut", steps, stop, killed=True)
        again = _stepped(bench, case, bench.folder / f"{case.name}-cut", steps, stop, go_on=True)
        equal = all(torch.equal(whole[name], again[name]) for name in whole)
        found["checks"][f"bit-exact: {case.name}"] = equal
        found[case.name] = {"largest_difference": max(float((whole[n] - again[n]).abs().max()) for n in whole)}
    return found


class _KilledError(Exception):
    """In place of a kill."""


class _KilledAfterSaving(LastCheckpoint):
    """Ends a run within an epoch, once its checkpoint is written."""

    def _save(self, trainer: L.Trainer) -> None:
        super()._save(trainer)
        raise _KilledError


def _stepped(
    bench: Bench, case: Case, folder: Path, steps: int, save: int, killed: bool = False, go_on: bool = False
) -> dict[str, Tensor]:
    """The weights after so many steps."""
    data, model = made(case)
    last = (_KilledAfterSaving if killed else LastCheckpoint)(
        str(folder), every_n_train_steps=save, every_n_minutes=None
    )
    last.path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"max_steps": steps, "deterministic": "warn", "benchmark": False, "enable_checkpointing": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trainer_of(bench, model, [Task(), last], 2, True, **settings)
        path = str(last.path) if go_on else None
        with suppress(_KilledError):
            trainer.fit(module(model), datamodule=data, ckpt_path=path, weights_only=True)
    torch.use_deterministic_algorithms(False)
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


@measurement()
def mlp_throughput(bench: Bench) -> dict[str, Any]:
    """The run eager, compiled and with CUDA graphs, and loops by hand; batches are small, so launches decide."""
    contenders: dict[str, Contender] = {
        "run, CUDA graphs" if bench.on_gpu else "run, compiled": the_run(
            True, "reduce-overhead" if bench.on_gpu else True
        ),
        "run, eager": the_run(True, False),
        "by hand, eager": by_hand(True, None),
    }
    if bench.on_gpu:
        contenders["run, compiled"] = the_run(True, True)
        contenders["by hand, CUDA graphs"] = by_hand(True, "reduce-overhead")
    return race(bench, bench.sizes.mlp, contenders) | _share_of_peak(bench, bench.sizes.mlp)


@measurement()
def conv_throughput(bench: Bench) -> dict[str, Any]:
    """The same of a model of a size that people train, where arithmetic decides."""
    contenders = {
        "run, eager": the_run(True, False),
        "run, compiled": the_run(True, True),
        "by hand, compiled": by_hand(True, "default"),
    }
    case = bench.sizes.conv
    found = race(bench, case, contenders) | _share_of_peak(bench, case)
    found["parameters"] = sum(p.numel() for p in made(case)[1].parameters())
    if "bfloat16" in bench.peaks:
        found["share_of_matrix_peak"] = {
            name: rate * found["operations_per_sample"] / bench.peaks["bfloat16"]
            for name, rate in found["samples_per_second"].items()
        }
    return found


def _share_of_peak(bench: Bench, case: Case) -> dict[str, Any]:
    return {"case": case.name, "operations_per_sample": operations(bench, case)}


@measurement()
def conv_precision(bench: Bench) -> dict[str, Any]:
    """What bfloat16 gains over float32 in eager training."""
    return race(bench, bench.sizes.conv, {"bfloat16": the_run(True, False), "float32": the_run(False, False)})


@measurement()
def storage(bench: Bench) -> dict[str, Any]:
    """Examples on the device, and gathered in page-locked memory ahead of time."""
    contenders = {where: the_run(True, False, where) for where in ("device", "memory")}
    return {case.name: race(bench, case, contenders) for case in (bench.sizes.mlp, bench.sizes.conv)}


@measurement(gpu=True)
def memory(bench: Bench) -> dict[str, Any]:
    """Peak memory of the run's training beside that of the loop by hand, MiB; examples lie on the device in both."""
    found = {}
    for name, contender in (("run", the_run(True, False, "device")), ("by hand", by_hand(True, None))):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
        before = torch.cuda.memory_allocated(bench.device)
        turn = Turn(bench, 2)
        turn.go.release(2)
        contender(bench, bench.sizes.conv, turn)
        found[name] = (torch.cuda.max_memory_allocated(bench.device) - before) / 2**20
    return {"case": bench.sizes.conv.name, "MiB": found, "run_over_by_hand": found["run"] / found["by hand"]}


@measurement()
def nll(bench: Bench) -> dict[str, Any]:
    """Codes decoded a second in the importance-weighted bound, eager and compiled; both give the same bound."""
    data, model = made(bench.sizes.mlp)
    model.to(bench.device).eval()
    batch = next(data.batches("test", bench.device, bench.sizes.mlp.batch))
    draws = len(batch.x) * bench.sizes.draws
    rates, bounds = {}, {}
    for name, compiled in (("eager", False), ("compiled", True)):
        model.weigh = CompiledWeights(model, "default", required=True) if compiled else None  # type: ignore[arg-type]
        with torch.no_grad():
            bounds[name] = model.log_evidence(batch, bench.sizes.draws)
            rates[name] = draws / bench.seconds(lambda: model.log_evidence(batch, bench.sizes.draws), 2)
    difference = float((bounds["eager"] - bounds["compiled"]).abs().max())
    close = difference < 1e-3 * float(bounds["eager"].abs().max())
    return {"codes_per_second": rates, "largest_difference": difference, "checks": {"compiled agrees": close}}


@measurement()
def fid(bench: Bench) -> dict[str, Any]:
    """Images a second through a random network, and through Inception where its file is there; one distance."""
    data, _ = made(bench.sizes.conv)
    count = bench.sizes.images
    extractors: dict[str, Any] = {"random": RandomNetwork(data, bench.device)}
    if bench.inception is not None and bench.inception.is_file():
        extractors["inception"] = Inception(bench.inception, bench.device)
    rates = {}
    images = torch.rand(64, *bench.sizes.conv.shape)
    for name, extractor in extractors.items():
        batches = max(1, count // 64 // (10 if name == "inception" else 1))
        features = extractor.extract([images])
        rates[name] = 64 * batches / bench.seconds(lambda e=extractor, n=batches: e.extract([images] * n), 1)
    real, generated = torch.randn(2, 4096, features.shape[1]).unbind()
    return {
        "images_per_second": rates,
        "inception": "measured" if "inception" in rates else "skipped: --inception names no file",
        "distance_seconds": bench.seconds(lambda: frechet_distance(real, generated), 1),
        "features": features.shape[1],
    }


@measurement("hydra-core", "wandb")
def command_line(bench: Bench) -> dict[str, Any]:
    """The default run and one of each task by `train.py` on the device, as a user starts them."""
    trainer = "gpu" if bench.on_gpu else "cpu"
    common = [f"trainer={trainer}", "logger=none", "trainer.max_epochs=2", f"paths.log_dir={bench.folder / 'logs'}"]
    seconds: dict[str, float] = {}
    failed: dict[str, str] = {}
    for words in ("task=generation task.nll_samples=5", "task=anomaly data.normal=[0] encoder=conv"):
        began = time.perf_counter()
        script = Path(__file__).resolve().parents[1] / "train.py"
        done = subprocess.run([sys.executable, script, *common, *words.split()], capture_output=True, text=True)
        seconds[words] = time.perf_counter() - began
        if done.returncode:
            failed[words] = (done.stderr or done.stdout).strip().splitlines()[-1]
    return {"seconds": seconds, "failed": failed, "checks": {"all end well": not failed}}


# The report


def environment(bench: Bench) -> dict[str, Any]:
    """What the numbers were taken on."""

    def known(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "absent"

    about: dict[str, Any] = {"python": platform.python_version(), "packages": {name: known(name) for name in PACKAGES}}
    if bench.on_gpu:
        properties = torch.cuda.get_device_properties(bench.device)
        about |= {
            "device": properties.name,
            "memory_GiB": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return about | ({} if bench.on_gpu else {"device": str(bench.device), "threads": torch.get_num_threads()})


def measured(bench: Bench, names: list[str], out: Path, small: bool, budget: float) -> dict[str, Any]:
    """Take the measurements that are asked for, writing the file after each; none begins after `budget` seconds."""
    report: dict[str, Any] = {"environment": environment(bench), "small": small, "measurements": {}}
    began = time.perf_counter()
    for name in names:
        function, needs, gpu = MEASUREMENTS[name]
        started = time.perf_counter()
        missing = [need for need in needs if report["environment"]["packages"].get(need, "absent") == "absent"]
        try:
            if missing:
                raise SkippedError(f"needs {', '.join(missing)}")
            if gpu and not bench.on_gpu:
                raise SkippedError("needs a CUDA device")
            if started - began > budget:
                raise SkippedError(f"--budget {budget:.0f}: its seconds were used up")
            found = function(bench)
            bad = [check for check, passed in found.get("checks", {}).items() if not passed]
            found["status"] = f"failed: {', '.join(bad)}" if bad else "ok"
        except SkippedError as reason:
            found = {"status": f"skipped: {reason}"}
        except Exception as error:  # the others are worth having
            found = {"status": f"failed: {_reason(error)}"}
        found["seconds"] = round(time.perf_counter() - started, 1)
        report["measurements"][name] = found
        print(f"{name}: {found['status']} ({found['seconds']} s)", flush=True)
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if bench.on_gpu:
            torch.cuda.empty_cache()
    return report


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300] or type(error).__name__


def table(report: dict[str, Any]) -> str:
    """Markdown rows of every number, for docs/performance.md."""
    lines = ["| what | number |", "|---|---|"]
    for name, found in report["measurements"].items():
        rows = list(_flat({key: value for key, value in found.items() if key not in ("seconds", "checks")}))
        lines += [f"| {name}: {key} | {value} |" for key, value in rows]
    return "\n".join(lines)


def _flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}, ")
        elif isinstance(value, list):
            yield f"{prefix}{key}", " to ".join(_shown(part) for part in value)
        else:
            yield f"{prefix}{key}", _shown(value)


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="small sizes, to try the script itself")
    parser.add_argument("--only", help=f"some of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--inception", type=Path, help="the TorchScript of Inception-v3, see docs/tasks/generation.md")
    parser.add_argument("--budget", type=float, default=340.0, help="seconds after which no measurement begins")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        parser.error(f"--only {','.join(unknown)}: there is {', '.join(MEASUREMENTS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is here; --device cpu --small tries the script on a processor")
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        sizes = SMALL if options.small else LARGE
        bench = Bench(torch.device(options.device), sizes, Path(folder), options.inception)
        report = measured(bench, names, options.out, options.small, options.budget)
    print("\n" + table(report))
    sys.exit(any(found["status"].startswith("failed") for found in report["measurements"].values()))


if __name__ == "__main__":
    main()
