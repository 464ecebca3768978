"""The share of this machine for each of several parallel jobs: threads of torch, and GPUs."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaelab.launch.outcome import LaunchedJob

if TYPE_CHECKING:
    from vaelab.launch.settings import Joblib

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """The number of CPU cores that this process may use; a container or a scheduler may restrict it."""
    from joblib import cpu_count

    return int(cpu_count())


def at_once(settings: "Joblib", available: int) -> int:
    """The number of jobs that run in parallel: `launcher.jobs`, or half the cores for `auto`, at least 1."""
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
        settings: the settings of the launcher.
        job: the job to start.
        slot: its index among the parallel jobs, from 0.
        several: the number of parallel jobs.
        available: the number of CPU cores.
        gpus: the names of the GPUs that this process sees.
        inherited: the environment variables of this process; `threads=auto` does not override `OMP_NUM_THREADS`.
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
    """The names of the GPUs that this process sees, in the form of `CUDA_VISIBLE_DEVICES`."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if len(named) >= count else [str(number) for number in range(count)]
