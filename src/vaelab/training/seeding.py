"""One seed for a run and all of its processes."""

import os
import secrets

import lightning.pytorch as L
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback

from vaelab.data.module import DataModule


def choose_seed(seed: int | None) -> int:
    """The seed, or a random one if it is None. 0 is a valid seed.

    A process that Lightning starts after the first one of its run uses the seed that was drawn there.
    """
    if seed is not None:
        return seed
    beside = os.environ.get("LOCAL_RANK", "0") != "0"
    return int(os.environ["PL_GLOBAL_SEED"]) if beside and "PL_GLOBAL_SEED" in os.environ else secrets.randbelow(2**31)


class OneSeed(Callback):
    """Gives all processes of a run the seed that the first one drew, however they were started.

    Args:
        seed: the seed that this process drew.
        data: of the run, before its loaders are built.
    """

    def __init__(self, seed: int, data: DataModule) -> None:
        self.seed, self._data = seed, data

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Receive the seed of the first process."""
        first = trainer.strategy.broadcast(self.seed)
        if first != self.seed:
            seed_everything(first, verbose=False)
            if self._data.seed == self.seed:
                self._data.seed = first
            self.seed = first


def seed_all(seed: int | None) -> int:
    """Seed Python, NumPy and torch; draws a seed if it is None. Returns the seed."""
    chosen = choose_seed(seed)
    seed_everything(chosen, verbose=False)
    return chosen
