"""What of this machine each of several jobs at once may use: threads of torch, and GPUs."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaelab.launch.outcome import LaunchedJob

if TYPE_CHECKING:
    from vaelab.launch.settings import Joblib

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """CPU cores that this process may use, which a container or a scheduler may restrict."""
    from joblib import cpu_count

    return int(cpu_count())


def at_once(settings: "Joblib", available: int) -> int:
    """How many jobs run at once."""
    return max(1, available // 2) if settings.jobs == "auto" else settings.jobs


def shares(
    settings: "Joblib",
    job: LaunchedJob,
    slot: int,
    several: int,
    available: int,
    gpus: list[str],
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """Environment variables of a job.

    Args:
        settings: of the launcher.
        job: that begins.
        slot: its place among the jobs that run at once, from 0.
        several: jobs that run at once.
        available: CPU cores.
        gpus: names of those that this process sees.
        inherited: the variables of this process, which win over what is `auto`.
    """
    found = {}
    if settings.threads != "auto":
        found = dict.fromkeys(THREADS, str(settings.threads))
    elif "OMP_NUM_THREADS" not in inherited:
        found = dict.fromkeys(THREADS, str(max(1, available // (several * max(1, job.devices)))))
    if settings.gpus == "auto" and len(gpus) > 1 and job.devices == 1:
        found["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return found


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]
