"""Facts about the machine that may affect the last bits of results."""

import os
import platform
import re
from typing import Any

import torch

from vaelab.record.threads import thread_variables

_BEGINNING = 2**13  # bytes of /proc/cpuinfo, which include the first processor


def machine(device: torch.device, devices: int) -> dict[str, Any]:
    """Return processor, instruction set used by torch, GPU libraries, and environment variables that set threads.

    Args:
        device: the device of the run.
        devices: the number of devices.
    """
    on_gpu = device.type == "cuda"
    return {
        "cpu": _cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cpus": os.cpu_count(),
        "thread_variables": thread_variables(),
        "devices": devices,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            found = re.search(r"^(?:model name|cpu model|Hardware)\s*:\s*(.+)$", file.read(_BEGINNING), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
