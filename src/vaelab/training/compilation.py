"""`compile=auto|true|false`: what is compiled, if the run is long enough to make up for the compilation time."""

import os
import shutil
from time import perf_counter
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.models import Model
from vaelab.training.compiled import CompiledObjective, CompiledWeights
from vaelab.training.module import TrainingModule
from vaelab.training.precision import BFloat16Training, convolves
from vaelab.training.sharding import Sharded

WATCHED = 3.0  # seconds of steps from which `auto` estimates the speed
WORTH = 600.0  # seconds of steps left from which compilation (10 to 40 s on a CPU) pays off at the smallest gain, 7 %
WORTH_IN_TEST = 120.0  # seconds of test left; compiling the weights takes 5 to 10 s and then saves a quarter

Compile = bool | Literal["auto", "reduce-overhead", "max-autotune"]


class Compilation(Callback):
    """Compiles the objective at the start, never, or, for `auto`, once enough steps are left to make up for it.

    A compiled objective gives the same numbers up to rounding. With `auto` the last bits therefore depend on the speed
    of the machine. With `trainer.deterministic=true`, `auto` means `false`. A resumed run keeps its decision.
    """

    def __init__(self, choice: Compile) -> None:
        self.choice = choice
        self._decided: bool | None = None if choice == "auto" else bool(choice)
        self.since: int | None = None  # the step from which the objective was compiled
        self._began: tuple[float, int] | None = None
        self._paused = self._tested = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compile now if `compile=true`."""
        assert isinstance(pl_module, TrainingModule)
        self._began = None
        # On a CPU, bfloat16 convolutions gain nothing from compilation: docs/performance.md.
        half = isinstance(trainer.precision_plugin, BFloat16Training) and trainer.strategy.root_device.type == "cpu"
        as_fast = half and convolves(pl_module)
        if self._decided is None and (as_fast or self._never(trainer, pl_module)):
            self._decided = False
        if self._decided:
            self.since = trainer.global_step
            self._compile(pl_module)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Measure the speed of the first seconds, then decide; called once per block of steps."""
        if self._decided is not None:
            return
        if self._began is None:
            self._began = (perf_counter(), trainer.global_step)
            return
        seconds, steps = perf_counter() - self._began[0], trainer.global_step - self._began[1]
        if trainer.strategy.broadcast(seconds) < WATCHED or not steps:
            return
        left = (trainer.estimated_stepping_batches - trainer.global_step) * seconds / steps
        self._decided = trainer.strategy.broadcast(left >= WORTH)
        if self._decided:
            assert isinstance(pl_module, TrainingModule)
            if trainer.is_global_zero:
                Console().print(f"compiling the objective: {left / 60:.0f} min of training are left (compile=auto)")
            self.since = trainer.global_step
            self._compile(pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock during validation."""
        self._paused = perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock again."""
        if self._began is not None:
            self._began = (self._began[0] + perf_counter() - self._paused, self._began[1])

    def _compile(self, module: TrainingModule) -> None:
        module.objective = CompiledObjective(module.model, self._mode, required=self.choice != "auto")

    @property
    def _mode(self) -> str:
        return "default" if self.choice in (True, "auto") else str(self.choice)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the compiled objective from the model."""
        assert isinstance(pl_module, TrainingModule)
        pl_module.objective = None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of the test, or compile now if `compile=true`."""
        self._tested = perf_counter()
        assert isinstance(pl_module, TrainingModule)
        if self.choice not in (False, "auto") and pl_module.model.has_rate:
            pl_module.model.weigh = CompiledWeights(pl_module.model, self._mode, required=True)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """After the first batch, decide whether to compile the importance weights, the main cost of a long test."""
        assert isinstance(pl_module, TrainingModule)
        never = not pl_module.model.has_rate or self._never(trainer, pl_module)
        if batch_idx or self.choice != "auto" or never:
            return
        left = (sum(trainer.num_test_batches) - 1) * (perf_counter() - self._tested)
        if left >= WORTH_IN_TEST:  # decided by each device, since a device without test examples is not called
            pl_module.model.weigh = CompiledWeights(pl_module.model, self._mode, required=False)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the compiled weights from the model."""
        assert isinstance(pl_module, TrainingModule)
        pl_module.model.weigh = None

    @staticmethod
    def _never(trainer: L.Trainer, module: TrainingModule) -> bool:
        deterministic = torch.are_deterministic_algorithms_enabled()
        divided = isinstance(trainer.strategy, Sharded)
        untried = trainer.strategy.root_device.type == "mps"  # torch's compiler for Apple's GPU is a prototype
        return deterministic or divided or untried or _obstacle(module.model, trainer.datamodule) is not None  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """The decision."""
        return {"decided": self._decided}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the decision."""
        if self.choice == "auto":
            self._decided = state_dict["decided"]


def check_compilation(choice: Compile, model: Model, data: DataModule) -> None:
    """Refuse an objective that cannot be compiled, before anything runs.

    Raises:
        ConfigError: gives the reason.
    """
    obstacle = _obstacle(model, data)
    if choice not in (False, "auto") and obstacle:
        raise ConfigError(f"compile={str(choice).lower()}: {obstacle}; compile=auto does not compile such a run")


def _obstacle(model: Model, data: DataModule) -> str | None:
    """The reason why this objective cannot be compiled; None if it can."""
    if data.lengths_vary:
        return "batches of these sequences differ in length, and each length would be compiled again"
    if len(model.phases) > 1:
        return "training has several phases, and only the objective of a single one is compiled"
    if model.perceptual is not None:
        return "a perceptual term uses a network of its own, which is not compiled"
    if model.takes_gradients:
        return "the objective contains a gradient, which torch.compile cannot differentiate again"
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    if not any(map(shutil.which, names)):
        return f"there is no C++ compiler ({' or '.join(names)}) on this machine"
    return None
