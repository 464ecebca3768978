"""Means of loss terms, kept on the device until they are needed."""

from itertools import groupby
from typing import Any
from zlib import crc32

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy
from torch import Tensor

from vaelab.errors import DivergenceError, UserError

WIDTH = 64  # length of the vector that is summed over devices, independent of the number of terms


class TermMeter:
    """Sums per-example terms and finds the first step at which one was not a number.

    A `self.log` call costs about as much as a small model's forward pass, and reading a number from the device stops
    it. So a step stores one short row of sums on the device. Rows are moved to the CPU once per window and summed there
    in double precision, which not every accelerator has.

    A term that a step does not have counts as 0 at that step: a penalty may begin later than the first step.
    """

    def __init__(self, stage: str = "train") -> None:
        self._stage = stage
        self._names: tuple[str, ...] = ()  # of all terms so far, in the order of their first use
        self._rows: list[tuple[tuple[str, ...], Tensor]] = []  # for each step its terms and the sum of each
        self._counts: list[int] = []
        self._steps: list[int] = []
        # Totals are float64 on the CPU: the number of examples, then the sum of each term.
        self._resumed: Tensor | None = None  # totals of the open window from before a checkpoint
        self._epoch: Tensor | None = None

    def add(self, terms: dict[str, Tensor], step: int, counts: bool = True) -> None:
        """Add the terms of one batch, `(B,)` each; nothing is read from the device.

        A device without a row of the batch, which has a copy of another's row, adds a row that does not count.
        """
        names = tuple(terms)
        if names != self._names:
            self._names = tuple(dict.fromkeys((*self._names, *names)))
        values = torch.stack(list(terms.values())).detach()
        row = values.sum(1)
        self._rows.append((names, row if counts else 0 * row))
        self._counts.append(values.shape[1] if counts else 0)
        self._steps.append(step)

    def window(self, strategy: Strategy) -> dict[str, float]:
        """Means over all devices since the last call; empty if there were no steps.

        Raises:
            DivergenceError: a term was not a number; names it and the step.
            UserError: devices have different terms.
        """
        total = self._pending(strategy)
        if total is None:
            return {}
        self._epoch = total if self._epoch is None else self._padded(self._epoch) + total
        self._rows, self._counts, self._steps, self._resumed = [], [], [], None
        return self._means(total)

    def epoch(self, strategy: Strategy) -> dict[str, float]:
        """Means over all devices since the last call to this method."""
        self.window(strategy)
        total, self._epoch = self._epoch, None
        return {} if total is None else self._means(total)

    def state(self, strategy: Strategy) -> dict[str, Any]:
        """The open window and the epoch before it, over all devices, as plain data.

        Raises:
            DivergenceError: a term was not a number; such a state is not saved.
        """
        totals = {"epoch": self._epoch, "window": self._pending(strategy)}
        plain = {key: [] if total is None else self._padded(total).roll(-1).tolist() for key, total in totals.items()}
        return {"names": list(self._names), **plain, "step": self._steps[-1] if self._steps else 0}

    def load_state(self, state: dict[str, Any], strategy: Strategy) -> None:
        """Continue with the window and the epoch that a checkpoint interrupted."""
        self._names = tuple(state["names"])
        self._rows, self._counts, self._steps = [], [], []
        self._epoch, self._resumed = (
            torch.tensor(state[key], dtype=torch.float64).roll(1) if state[key] else None for key in ("epoch", "window")
        )
        if self._resumed is not None:  # the first device has the total; the others have zeros, since all are summed
            self._resumed = self._resumed * strategy.is_global_zero

    def _pending(self, strategy: Strategy) -> Tensor | None:
        """The total of the open window, over all devices."""
        if not self._rows and self._resumed is None:
            return None
        rows = self._table()
        total = torch.cat([rows.new_tensor([sum(self._counts)]), rows.sum(0)])
        if self._resumed is not None:
            total += self._padded(self._resumed)
        total = self._over_devices(total, strategy)
        if not bool(torch.isfinite(total).all()):
            self._raise(rows)
        return total

    def _table(self) -> Tensor:
        """The rows of the open window, `(steps, terms)` float64 on the CPU."""
        table = torch.zeros(len(self._rows), len(self._names), dtype=torch.float64)
        first = 0
        for names, group in groupby(self._rows, key=lambda row: row[0]):
            rows = torch.stack([row for _, row in group]).cpu().double()
            table[first : first + len(rows), [self._names.index(name) for name in names]] = rows
            first += len(rows)
        return table

    def _padded(self, total: Tensor) -> Tensor:
        """A total, padded with zeros for terms that were added after it."""
        return torch.nn.functional.pad(total, (0, 1 + len(self._names) - len(total)))

    def _over_devices(self, total: Tensor, strategy: Strategy) -> Tensor:
        """The sum of the totals of all devices; a single process keeps its own on the CPU."""
        if isinstance(strategy, SingleDeviceStrategy):
            return total
        # Summed together with a digest of the names, since sums of different terms would be meaningless.
        digest = crc32("/".join(self._names).encode())
        sent = torch.cat([total.new_tensor([1, digest]), total])
        sent = torch.nn.functional.pad(sent, (0, -len(sent) % WIDTH)).to(strategy.root_device)
        summed = strategy.reduce(sent, reduce_op="sum")
        assert isinstance(summed, Tensor)
        devices, digests, *_ = (summed := summed.cpu()).tolist()
        if digests != devices * digest:
            raise UserError(
                f"{self._stage}: the loss has other terms on other devices, on this one {', '.join(self._names)}; "
                "terms() should name the same terms on every device, with zeros where one does not apply"
            )
        return summed[2 : 2 + len(total)]

    def _means(self, total: Tensor) -> dict[str, float]:
        count, *sums = total.tolist()
        return {name: value / count for name, value in zip(self._names, sums, strict=True)}

    def _raise(self, rows: Tensor) -> None:
        bad = (~torch.isfinite(rows)).nonzero()
        if len(bad) == 0:  # only on another device
            raise DivergenceError(f"{self._stage} loss is not a number by step {self._steps[-1]}, on another device")
        row, column = bad[0].tolist()
        # The loss is a sum of the others: name the term that causes it.
        columns = [c for r, c in bad.tolist() if r == row and self._names[c] not in ("loss", "elbo")]
        term = self._names[columns[0] if columns else column]
        raise DivergenceError(
            f"{self._stage}/{term} is not a number at step {self._steps[row]}. Checkpoints written before it are kept; "
            "try a lower optimizer.lr, trainer.gradient_clip_val=1, or check the data"
        )

    def check_weights(self, weights: dict[str, Any], step: int) -> None:
        """Refuse weights that are not finite.

        Raises:
            DivergenceError: names the first such weight.
        """
        for name, value in weights.items():
            if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                raise DivergenceError(
                    f"weight {name} is not a number at step {step}. Checkpoints written before it are kept; "
                    "try a lower optimizer.lr or trainer.gradient_clip_val=1"
                )
