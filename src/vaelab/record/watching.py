"""Histograms of gradients and weights during training, in every tracker that supports histograms."""

from typing import Literal

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.optim import Optimizer

from vaelab.record.trackers import trackers_among
from vaelab.record.trackers.contents import Histogram

What = Literal["gradients", "weights", "all"]

BINS = 64


class Watching(Callback):
    """Sends histograms of gradients, weights or both every `every_n_steps` steps.

    All steps then use Lightning's hooks, which slows down small models.

    Args:
        what: what to watch.
        every_n_steps: optimizer steps between two histograms.
    """

    def __init__(self, what: What, every_n_steps: int) -> None:
        self._what, self._every = what, every_n_steps

    @rank_zero_only
    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Send histograms, if they are due."""
        step, trackers = trainer.global_step, trackers_among(trainer.loggers)
        if step % self._every or not trackers:
            return
        found: dict[str, Histogram] = {}
        for name, weight in pl_module.named_parameters():
            name = name.removeprefix("model.")
            if self._what != "weights" and weight.grad is not None:
                found[f"gradients/{name}"] = histogram(weight.grad)
            if self._what != "gradients":
                found[f"weights/{name}"] = histogram(weight)
        for tracker in trackers:
            tracker.log_histograms(found, step)


def histogram(values: Tensor) -> Histogram:
    """Return the histogram of the finite values of a tensor."""
    flat = values.detach().float().flatten().cpu().double()
    flat = flat[torch.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 0.0)
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-30):  # NumPy cannot make bins between equal numbers
        low, high = low - max(abs(low), 1e-30), high + max(abs(high), 1e-30)
    counts, edges = np.histogram(flat.numpy(), BINS, (low, high))
    return Histogram(counts.astype(np.int64), edges)
