"""Means of loss terms, kept on the device until somebody asks."""

from typing import Any

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from vaelab.errors import DivergenceError


class TermMeter:
    """Adds up per-example terms and finds the first step at which one was not a number.

    A `self.log` call costs about as much as a small model's forward pass, and reading a number from
    the device stops it; so a step stores one short row of sums, and rows are read once a window.
    """

    def __init__(self, stage: str = "train") -> None:
        self._stage = stage
        self._names: tuple[str, ...] = ()
        self._rows: list[Tensor] = []  # one a step: the sum of each term
        self._counts: list[int] = []
        self._steps: list[int] = []
        self._epoch: Tensor | None = None

    def add(self, terms: dict[str, Tensor], step: int, counts: bool = True) -> None:
        """Take the terms of one batch, `(B,)` each; nothing is read back from the device.

        A device that has no row of a batch and repeats another's adds a row that does not count.
        """
        self._names = tuple(terms)
        values = torch.stack(list(terms.values())).detach()
        row = values.sum(1)
        self._rows.append(row if counts else 0 * row)
        self._counts.append(values.shape[1] if counts else 0)
        self._steps.append(step)

    def window(self, strategy: Strategy) -> dict[str, float]:
        """Means over all devices since the last call; empty if there were no steps.

        Raises:
            DivergenceError: a term was not a number; names it and the step.
        """
        total = self._pending(strategy)
        if total is None:
            return {}
        self._epoch = total if self._epoch is None else self._epoch + total
        self._rows, self._counts, self._steps = [], [], []
        return self._means(total)

    def epoch(self, strategy: Strategy) -> dict[str, float]:
        """Means over all devices since the last call to this method."""
        self.window(strategy)
        total, self._epoch = self._epoch, None
        return {} if total is None else self._means(total)

    def state(self, strategy: Strategy) -> dict[str, Any]:
        """The open window and the epoch before it, over all devices, as plain data.

        Raises:
            DivergenceError: a term was not a number; such a state is not worth keeping.
        """
        pending = self._pending(strategy)
        return {
            "names": list(self._names),
            "epoch": [] if self._epoch is None else self._epoch.tolist(),
            "window": [] if pending is None else pending.tolist(),
            "step": self._steps[-1] if self._steps else 0,
        }

    def load_state(self, state: dict[str, Any], strategy: Strategy) -> None:
        """Go on with the window and the epoch that a checkpoint interrupted."""
        device = strategy.root_device
        self._names = tuple(state["names"])
        self._epoch = torch.tensor(state["epoch"], dtype=torch.float64, device=device) if state["epoch"] else None
        self._rows, self._counts, self._steps = [], [], []
        if state["window"]:  # the first device stands for all; the others have a row too, since all reduce together
            *sums, count = [value * strategy.is_global_zero for value in state["window"]]
            self._rows = [torch.tensor(sums, dtype=torch.float64, device=device)]
            self._counts, self._steps = [int(count)], [state["step"]]

    def _pending(self, strategy: Strategy) -> Tensor | None:
        """Sums over the rows of the open window, on all devices."""
        if not self._rows:
            return None
        rows = torch.stack([row.double() for row in self._rows])
        total = strategy.reduce(torch.cat([rows.sum(0), rows.new_tensor([sum(self._counts)])]), reduce_op="sum")
        assert isinstance(total, Tensor)
        if not bool(torch.isfinite(total).all()):
            self._raise(rows)
        return total

    def _means(self, total: Tensor) -> dict[str, float]:
        *sums, count = total.tolist()
        return {name: value / count for name, value in zip(self._names, sums, strict=True)}

    def _raise(self, rows: Tensor) -> None:
        bad = (~torch.isfinite(rows)).nonzero()
        if len(bad) == 0:  # on another device only
            raise DivergenceError(f"{self._stage} loss is not a number by step {self._steps[-1]}, on another device")
        row, column = bad[0].tolist()
        # The loss is a sum of the others: name the term that it comes from.
        columns = [c for r, c in bad.tolist() if r == row and self._names[c] not in ("loss", "elbo")]
        term = self._names[columns[0] if columns else column]
        raise DivergenceError(
            f"{self._stage}/{term} is not a number at step {self._steps[row]}. Checkpoints written before it are kept; "
            "try a lower optimizer.lr, trainer.gradient_clip_val=1, or check the data"
        )

    def check_weights(self, weights: dict[str, Any], step: int) -> None:
        """Refuse weights that are not numbers.

        Raises:
            DivergenceError: names the first such weight.
        """
        for name, value in weights.items():
            if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                raise DivergenceError(
                    f"weight {name} is not a number at step {step}. Checkpoints written before it are kept; "
                    "try a lower optimizer.lr or trainer.gradient_clip_val=1"
                )
