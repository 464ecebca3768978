"""One step on several devices is one step on one: the loss that is minimised and the means that are logged."""

from types import SimpleNamespace

import pytest
import torch

from vaelab.core import Batch
from vaelab.data.loader import TrainLoader
from vaelab.data.storage import Store
from vaelab.training.module import TrainingModule


class OneDevice:
    root_device = torch.device("cpu")

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        return tensor


class Collected:
    """Sums over the devices whose totals were collected."""

    root_device = torch.device("cpu")

    def __init__(self) -> None:
        self.totals: list[torch.Tensor] = []

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        self.totals.append(tensor)
        return torch.stack(self.totals).sum(0)


def shares(x: torch.Tensor, world_size: int) -> list[list[Batch]]:
    """The batches of each device: four rows each, the last one short."""
    label = torch.full((len(x),), -1)
    devices = []
    for rank in range(world_size):
        loader = TrainLoader(Store(x, label), torch.arange(len(x)), 4, 0, lambda: 0, rank, world_size)
        devices.append([Batch(raw.values, raw.values, raw.label, raw.values, raw.noise, raw.weight) for raw in loader])
    return devices


@pytest.mark.parametrize("world_size", [2, 3, 5, 8])
@pytest.mark.parametrize("kind", ["make_vae", "make_ae"])
def test_devices_share_one_loss_gradient_and_log(request, rows, kind: str, world_size: int) -> None:
    build, x = request.getfixturevalue(kind), rows.double()
    alone = TrainingModule(build()).double()
    alone._trainer = SimpleNamespace(global_step=0, log_every_n_steps=1000)
    expected = [alone.training_step(batch, i) for i, batch in enumerate(shares(x, 1)[0])]
    wanted = [torch.autograd.grad(loss, list(alone.parameters())) for loss in expected]

    models, losses = [], []
    for batches in shares(x, world_size):
        model = TrainingModule(build()).double()
        model._trainer = SimpleNamespace(global_step=0, log_every_n_steps=1000)
        losses.append([model.training_step(batch, i) for i, batch in enumerate(batches)])
        models.append(model)
    for number, whole in enumerate(expected):
        mean = sum(device[number] for device in losses) / world_size  # as DDP averages
        torch.testing.assert_close(mean, whole, rtol=1e-12, atol=0)
        each = [
            torch.autograd.grad(device[number], list(model.parameters()))
            for device, model in zip(losses, models, strict=True)
        ]
        for i, gradient in enumerate(wanted[number]):
            torch.testing.assert_close(sum(g[i] for g in each) / world_size, gradient, rtol=1e-10, atol=1e-12)

    strategy = Collected()
    # The last device always has a row, so it comes first; the one read last sees the totals of all.
    logged = [model._meter.epoch(strategy) for model in reversed(models)][-1]
    assert logged == pytest.approx(alone._meter.epoch(OneDevice()), rel=1e-12)
