"""`compile=auto|true|false`: what is compiled, where the run is long enough to repay it."""

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

WATCHED = 3.0  # seconds of steps from which `auto` learns the pace
WORTH = 600.0  # seconds of steps left from which compiling, 10 to 40 s on a CPU, is repaid by the least gain seen, 7 %
WORTH_IN_TEST = 120.0  # seconds of test left; weights take 5 to 10 s to compile, and a quarter less time then

Compile = bool | Literal["auto", "reduce-overhead", "max-autotune"]


class Compilation(Callback):
    """Compiles the objective at the start, never, or, for `auto`, once the steps left would repay it.

    A compiled objective gives the same numbers up to rounding. So `auto` depends on how fast the machine is in its
    last bits; `trainer.deterministic=true` makes it mean `false`, and a resumed run does as it did before.
    """

    def __init__(self, choice: Compile) -> None:
        self.choice = choice
        self._decided: bool | None = None if choice == "auto" else bool(choice)
        self.since: int | None = None  # the step from which the objective was compiled
        self._began: tuple[float, int] | None = None
        self._paused = self._tested = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compile now where that is asked for."""
        assert isinstance(pl_module, TrainingModule)
        self._began = None
        # On a processor bfloat16 convolutions are as fast without: docs/performance.md.
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
        """Watch the pace of the first seconds, then decide; called once a block of steps."""
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
        """Stop the clock."""
        self._paused = perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the clock go on."""
        if self._began is not None:
            self._began = (self._began[0] + perf_counter() - self._paused, self._began[1])

    def _compile(self, module: TrainingModule) -> None:
        module.objective = CompiledObjective(module.model, self._mode, required=self.choice != "auto")

    @property
    def _mode(self) -> str:
        return "default" if self.choice in (True, "auto") else str(self.choice)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model as it came."""
        assert isinstance(pl_module, TrainingModule)
        pl_module.objective = None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of the test, or compile now where that is asked for."""
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
        """After the first batch, decide on the importance weights, which are most of a long test."""
        assert isinstance(pl_module, TrainingModule)
        never = not pl_module.model.has_rate or self._never(trainer, pl_module)
        if batch_idx or self.choice != "auto" or never:
            return
        left = (sum(trainer.num_test_batches) - 1) * (perf_counter() - self._tested)
        if left >= WORTH_IN_TEST:  # each device for itself: one without a test example never comes here
            pl_module.model.weigh = CompiledWeights(pl_module.model, self._mode, required=False)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model as it came."""
        assert isinstance(pl_module, TrainingModule)
        pl_module.model.weigh = None

    @staticmethod
    def _never(trainer: L.Trainer, module: TrainingModule) -> bool:
        deterministic = torch.are_deterministic_algorithms_enabled()
        divided = isinstance(trainer.strategy, Sharded)
        untried = trainer.strategy.root_device.type == "mps"  # torch's compiler for Apple's GPU is a prototype
        return deterministic or divided or untried or _obstacle(module.model, trainer.datamodule) is not None  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """What was decided."""
        return {"decided": self._decided}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do as before."""
        if self.choice == "auto":
            self._decided = state_dict["decided"]


def check_compilation(choice: Compile, model: Model, data: DataModule) -> None:
    """Refuse what cannot be compiled before anything runs.

    Raises:
        ConfigError: says what stands against it.
    """
    obstacle = _obstacle(model, data)
    if choice not in (False, "auto") and obstacle:
        raise ConfigError(f"compile={str(choice).lower()}: {obstacle}; compile=auto leaves such a run as it is")


def _obstacle(model: Model, data: DataModule) -> str | None:
    """Why this objective cannot be compiled; None if it can."""
    if data.lengths_vary:
        return "batches of these sequences differ in length, and each length would be compiled anew"
    if len(model.phases) > 1:
        return "training has several phases, and only the objective of a single one is compiled"
    if model.perceptual is not None:
        return "a perceptual term looks through a network of its own, which is not compiled"
    if model.takes_gradients:
        return "the objective takes a gradient of its own, which torch.compile cannot differentiate again"
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    if not any(map(shutil.which, names)):
        return f"there is no C++ compiler ({' or '.join(names)}) on this machine"
    return None
