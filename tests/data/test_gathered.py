"""A statistic of a whole batch has the same value and the same gradient on two devices as on one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROCESS = '''
import sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from vaelab.core.devices import gathered
from vaelab.data.loader import _share

rank, devices, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
if devices > 1:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=devices)


class Correlated(nn.Module):
    """The logarithm of the determinant of a covariance, in every row or as each row's distance from the mean."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()

    def forward(self, x, weight, each):
        z = self.net(x)
        whole = gathered(z, weight)
        if each:
            return (z - whole.mean(0)).pow(4).sum(1)
        return torch.logdet(whole.T.cov() + torch.eye(3)).expand(len(z))


results = []
for total in (8, 7, 1):  # the last two split unevenly, and of one row a device has none
    for each in (False, True):
        model = Correlated()
        wrapped = DistributedDataParallel(model) if devices > 1 else model
        x = torch.randn(total, 5, generator=torch.Generator().manual_seed(total)).double()
        if total == 1 and not each:
            continue  # one row has no covariance
        rows, weight = _share(total, rank, devices)
        loss = wrapped(x[rows], weight, each).mean() * weight
        loss.backward()
        summed = loss.detach().clone()
        if devices > 1:
            torch.distributed.all_reduce(summed)
        results.append([summed / devices, *(w.grad for w in model.parameters())])
        with torch.no_grad():
            assert gathered(x[rows], weight).shape == x[rows].shape
torch.save(results, f"{folder}/of_{devices}_{rank}.pt")
'''


@pytest.mark.long
def test_loss_and_gradients_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    started = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(devices), str(tmp_path)])
        for rank, devices in ((0, 1), (0, 2), (1, 2))
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    alone, first, second = (torch.load(tmp_path / f"of_{name}.pt") for name in ("1_0", "2_0", "2_1"))
    assert len(alone) == 5
    for one, two, other in zip(alone, first, second, strict=True):
        torch.testing.assert_close(two, one)
        torch.testing.assert_close(other, one)
